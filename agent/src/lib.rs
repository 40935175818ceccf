//! Keeps a device's keys in its chip, seals and opens; no network.
//!
//! [`Agent`] is the whole of it as plain functions: whoever calls hands in who he is, and what
//! must travel is given to a courier as opaque bytes. D-Bus is one way to call it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod agent;
pub mod bus;
mod chip_keys;
mod config;
mod courier;
mod engine;
mod error;
mod event;
mod job;
mod key;
mod pin;
mod status;
mod store;
mod trade;

pub use access::Caller;
pub use agent::Agent;
pub use config::{Config, HardwareConfig, LimitsConfig};
pub use courier::{Carry, CarryId, CarryKind, Outcome};
pub use engine::Holdings;
pub use error::{Error, Kind};
pub use event::Event;
pub use job::{Job, JobId, JobState};
pub use key::{KeyChange, KeyView, NewKey};
pub use status::{Hardware, Identity, State, Status};
pub use trade::{Exchanged, Message, Options, TradeView};
pub use twinseal_scheme::id::{ApplicationKeyId, TradeId};
