//! What a server must understand of a TPM 2.0, in safe Rust and without a TPM library.
//!
//! Everything here reads bytes that a device sent. Parsers take exactly one structure
//! and nothing behind it, never panic, and copy what they keep. A [`Name`] is always
//! computed from the public area, never received.
//!
//! Source: TCG, *Trusted Platform Module Library*, family 2.0, revision 1.59, called
//! "Part 1" (architecture), "Part 2" (structures) and "Part 3" (commands) below, and TCG,
//! *EK Credential Profile for TPM Family 2.0*, version 2.5, called "EK profile".

mod algorithm;
mod attest;
mod credential;
mod device_keys;
mod endorsement;
mod kdf;
mod name;
mod pattern;
mod public;
mod public_key;
mod reader;
mod roca;
mod signature;
#[cfg(test)]
pub(crate) mod testing;

pub use algorithm::{Curve, HashAlgorithm, Scheme};
pub use attest::{Attest, ClockInfo};
pub use credential::{Credential, make_credential};
pub use device_keys::{
    ApplicationKeyClaims, Certification, ChipState, DeviceKeyClaims, Role, VerifiedDeviceKeys,
    VerifiedKey, verify_application_key, verify_device_keys, verify_epoch_attest,
};
pub use endorsement::EndorsementKey;
pub use name::{Hierarchy, Name, QualifiedName};
pub use public::Public;
pub use public_key::PublicKey;
pub(crate) use roca::has_fingerprint;
pub use signature::Signature;
