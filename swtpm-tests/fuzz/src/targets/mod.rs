//! The targets.

mod answers;
#[cfg(feature = "programs")]
mod bus;
mod certificates;
mod enrolment;
mod envelope;
#[cfg(feature = "programs")]
mod http;
#[cfg(feature = "programs")]
mod keys;
#[cfg(feature = "programs")]
mod pkcs11;
mod sealed;
#[cfg(feature = "programs")]
mod state;
mod text;
mod tpm;
mod trades;
#[cfg(feature = "programs")]
mod wire;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    #[cfg(feature = "programs")]
    pkcs11::CALLS,
    #[cfg(feature = "programs")]
    pkcs11::ANSWERS,
    envelope::ENVELOPE,
    envelope::MESSAGES,
    tpm::STRUCTURES,
    tpm::CREDENTIAL,
    certificates::EK_CERTIFICATES,
    enrolment::MESSAGES,
    enrolment::CLAIM,
    enrolment::SIGNED,
    answers::ANSWERS,
    trades::CONTENTS,
    trades::RECEIPTS,
    trades::STORED,
    tpm::ATTESTATIONS,
    text::USER_INFO,
    text::LINK,
    #[cfg(feature = "programs")]
    keys::KEY_FILE,
    #[cfg(feature = "programs")]
    state::STORED_KEYS,
    #[cfg(feature = "programs")]
    state::STATE_FILE,
    #[cfg(feature = "programs")]
    bus::ARGUMENTS,
    #[cfg(feature = "programs")]
    http::BODIES,
];
