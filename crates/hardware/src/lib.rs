//! The chip that an agent owns: a TPM 2.0, or a PKCS#11 token.
//!
//! [`Hardware`] is a handle to one owner thread; [`Hardware::lane`] gives the requests of one
//! caller, which take fair turns with those of others. Keys are kept at rest as [`DeviceKeys`]
//! and [`ChildKey`]; they are loaded when they are needed, stay loaded while there is room, and
//! nothing secret is ever put into the chip or taken out of it. What the chip holds of ours at
//! any time is at most two transient objects and three sessions, so a bare `/dev/tpm0` will do.
//!
//! ```no_run
//! # async fn device() -> Result<(), Box<dyn std::error::Error>> {
//! use twinseal_hardware::{Config, Hardware};
//!
//! let hardware = Hardware::open(Config::new("/dev/tpmrm0".parse()?))?;
//! let lane = hardware.lane(1000);
//! let ek = lane.endorsement_key(None).await?;
//! let keys = lane.create_keys(&ek).await?;
//! std::fs::write("keys", keys.to_bytes())?;
//! let first_epoch = lane.define_counter(&keys).await?;
//! let signature = lane.sign(&keys.signing, [0; 32]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Logs of the TSS library
//! tpm2-tss writes to standard error whatever a chip refuses, also where refusal is the normal
//! course, unless `TSS2_LOG=all+NONE` stands in the environment when it is first used. A library
//! cannot put it there, since changing the environment of a running process is unsafe: it belongs
//! into the service's unit file, and into the environment of every process that a test starts.
//! The same failures come as events of the crate `log` with the target [`TSS_LOG_TARGET`].

mod application;
mod at_rest;
mod chip;
mod config;
mod connected;
mod description;
mod error;
mod hardware;
mod key_file;
mod keys;
mod owner;
mod pss;
mod queue;
mod token;
mod tpm;

pub use application::{ApplicationKey, Hash, KeyAlgorithm, SignScheme, TpmApplicationKey, Uses};
pub use chip::{ChipKeys, MessageKey};
pub use config::{AuthValue, Config, Limits, Tcti};
pub use description::{Capacity, Description, Kind, Lockout};
pub use error::{Change, Error, Hierarchy};
pub use hardware::{Certification, Hardware, Lane};
pub use key_file::KeyFile;
pub use keys::{ChildKey, Counter, DeviceKeys, Ek, EkKind, Key, KeyFamily, PrimaryKey};
pub use queue::Caller;
pub use token::{
    TOKEN_MODULE, TokenAddress, TokenApplicationKey, TokenConfig, TokenFault, TokenId, TokenKey,
    TokenKeys, draw_token_ids, serve_token_module,
};
pub use tpm::TSS_LOG_TARGET;
