//! What a piece of hardware is and can do, as data.

use serde::{Deserialize, Serialize};

use crate::keys::EkKind;

/// What a piece of hardware is and can do. Holds nothing that tells one device from another of
/// the same make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// TPM or token.
    pub kind: Kind,
    /// Who made it: a TPM's four-letter vendor id (TCG Vendor ID Registry), such as `INTC`.
    pub manufacturer: String,
    /// What its maker calls it.
    pub model: String,
    /// Firmware version; a TPM's attests carry the same number.
    pub firmware_version: u64,
    /// What it can compute that this crate uses: `ecc-p256`, `ecc-p384`, `rsa-2048`, `rsa-3072`,
    /// `hmac-sha256`. Of a token, what its mechanisms say; each key is tried when it is made.
    pub algorithms: Vec<String>,
    /// The endorsement keys whose certificate it holds; empty for a token.
    pub certified_eks: Vec<EkKind>,
    /// How much it can hold, and holds now.
    pub capacity: Capacity,
    /// The state of its dictionary-attack protection, or of a token's PIN.
    pub lockout: Lockout,
    /// Whether the owner authorisation is set.
    pub owner_authorisation: bool,
    /// Whether the endorsement authorisation is set.
    pub endorsement_authorisation: bool,
}

/// What sort of hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A TPM 2.0.
    Tpm,
    /// A PKCS#11 token.
    Token,
}

/// How much a chip can hold, and holds now. Behind a resource manager only our own is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Transient objects that fit at least.
    pub objects: u32,
    /// Sessions that fit at least.
    pub sessions: u32,
    /// Transient objects that are loaded now.
    pub objects_loaded: u32,
    /// Sessions that are loaded now.
    pub sessions_loaded: u32,
}

/// The state of a chip's defence against guessing (TPM 2.0 Library Part 1, section 19.8). It is
/// only read: this crate never resets it, and its own keys are exempt from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockout {
    /// Whether it refuses everything that is protected.
    pub locked_out: bool,
    /// Failures counted.
    pub failures: u32,
    /// Failures at which it locks.
    pub failures_allowed: u32,
    /// Seconds after which one failure is forgotten.
    pub recovery_seconds: u32,
}
