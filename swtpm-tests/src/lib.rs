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

mod abrmd;
mod authority;
mod bus;
mod child;
mod chip;
mod daemon;
mod desk;
mod device;
mod disk;
mod door;
mod ek_certificate;
pub mod forge;
mod http;
pub mod module;
mod monitor;
mod openssl;
mod own;
mod plan;
mod ports;
pub mod probe;
mod programs;
mod recorder;
mod refusal;
mod relay;
mod served;
mod server;
mod stolen;
mod swtpm;
mod tap;
pub mod till;
mod token;
mod world;

pub use abrmd::Abrmd;
pub use authority::{EkAuthority, Vendor};
pub use bus::{Bus, BusBuilder, User};
pub use child::{is_child, rerun, rerun_command};
pub use chip::{Chip, ChipKind};
pub use daemon::Daemon;
pub use desk::Desk;
pub use device::{Device, DeviceBuilder, ENROL, UNLOCK, bytes, keys};
pub use disk::{Disk, DiskMishap};
pub use ek_certificate::EkCertificate;
pub use http::{Api, Reply};
pub use module::{Module, ModuleMishap};
pub use monitor::Monitor;
pub use openssl::{OpenSsl, ecdsa_der};
pub use own::SavedDisk;
pub use programs::program;
pub use recorder::{Call, Recorder, Tape};
pub use refusal::Refusal;
pub use relay::{Relay, WireMishap};
pub use served::Served;
pub use server::Server;
pub use stolen::StolenState;
pub use swtpm::{Builder, EkKind, Snapshot, Swtpm};
pub use tap::{ChipMishap, Exchange, Tap};
pub use token::{Token, TokenKind};
pub use world::{World, enrol};
