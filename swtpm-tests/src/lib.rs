//! A world of private TPMs, buses, agents and servers to test in.
//!
//! Everything here lives as long as the value that stands for it, uses free ports and temporary
//! folders, and touches nothing of the machine: not its TPM, not its buses, not `/etc`. A fixture
//! that cannot do what it is asked panics and says what the programs behind it said, because it
//! runs in tests, where nobody could do anything about an error.
//!
//! ```
//! use twinseal_swtpm_tests::Swtpm;
//!
//! let chip = Swtpm::start();
//! assert!(chip.tool("tpm2_getcap", &["handles-persistent"]).contains("0x81010001"));
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod bus;
mod daemon;
mod ports;
mod swtpm;

pub use authority::{EkAuthority, Vendor};
pub use bus::{Bus, BusBuilder, User};
pub use daemon::Daemon;
pub use swtpm::{Builder, EkKind, Swtpm};
