//! The targets.

mod answers;
mod bus;
mod certificates;
mod enrolment;
mod envelope;
mod http;
mod sealed;
mod state;
mod text;
mod tpm;
mod trades;
mod wire;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
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
    text::USER_INFO,
    text::LINK,
    state::STORED_KEYS,
    state::STATE_FILE,
    bus::ARGUMENTS,
    http::BODIES,
];
