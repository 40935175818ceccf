//! Epochs: the time between two starts of an agent (docs/scheme.md section 7).

mod chain;
pub mod judge;
mod keys;
mod open;

pub use chain::ChainKey;
pub use keys::{ClosedEpoch, EpochKeys, EpochSecret};
pub use open::{EpochOpen, EpochOpening, UnsignedEpochOpen, VerifiedEpochOpen};
