//! What the agent says of itself and of its chip.

use twinseal_scheme::serial::HardwareSerial;

use crate::{Error, Kind};

/// How the agent stands: a closed list, the same words on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No server has enrolled this device.
    NotEnrolled,
    /// An enrolment is under way.
    Enrolling,
    /// The server knows the device, an operator has to approve it.
    AwaitingApproval,
    /// Trades can be made.
    Active,
    /// The server has put the device in quarantine.
    Suspended,
    /// The operator has ended the enrolment.
    Revoked,
    /// No chip answers.
    ChipAbsent,
    /// The chip was cleared since the enrolment.
    ChipCleared,
    /// The chip is another one.
    ChipReplaced,
    /// The chip has gone back to an earlier state.
    ChipRolledBack,
    /// The chip is locked out.
    ChipLockedOut,
    /// The chip wants an authorisation, or a PIN, that is not configured.
    ChipUnauthorised,
}

impl State {
    /// The word on the bus.
    pub fn word(self) -> &'static str {
        match self {
            State::NotEnrolled => "NotEnrolled",
            State::Enrolling => "Enrolling",
            State::AwaitingApproval => "AwaitingApproval",
            State::Active => "Active",
            State::Suspended => "Suspended",
            State::Revoked => "Revoked",
            State::ChipAbsent => "ChipAbsent",
            State::ChipCleared => "ChipCleared",
            State::ChipReplaced => "ChipReplaced",
            State::ChipRolledBack => "ChipRolledBack",
            State::ChipLockedOut => "ChipLockedOut",
            State::ChipUnauthorised => "ChipUnauthorised",
        }
    }

    /// The state that a kind of error means, if it means one.
    pub(crate) fn of_error(kind: Kind) -> Option<State> {
        match kind {
            Kind::Suspended => Some(State::Suspended),
            Kind::Revoked => Some(State::Revoked),
            Kind::ChipAbsent => Some(State::ChipAbsent),
            Kind::ChipCleared => Some(State::ChipCleared),
            Kind::ChipReplaced => Some(State::ChipReplaced),
            Kind::ChipRolledBack => Some(State::ChipRolledBack),
            Kind::ChipLockedOut => Some(State::ChipLockedOut),
            Kind::ChipUnauthorised => Some(State::ChipUnauthorised),
            _ => None,
        }
    }

    /// What stands in the way of a trade.
    ///
    /// # Errors
    /// The kind that the state is, unless it is [`State::Active`].
    pub fn active(self) -> Result<(), Error> {
        let kind = match self {
            State::Active => return Ok(()),
            State::NotEnrolled | State::Enrolling => Kind::NotEnrolled,
            State::AwaitingApproval => Kind::AwaitingApproval,
            State::Suspended => Kind::Suspended,
            State::Revoked => Kind::Revoked,
            State::ChipAbsent => Kind::ChipAbsent,
            State::ChipCleared => Kind::ChipCleared,
            State::ChipReplaced => Kind::ChipReplaced,
            State::ChipRolledBack => Kind::ChipRolledBack,
            State::ChipLockedOut => Kind::ChipLockedOut,
            State::ChipUnauthorised => Kind::ChipUnauthorised,
        };
        Err(kind.into())
    }
}

/// The agent at one moment. Holds nothing that tells one device from another to a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The agent's version.
    pub version: &'static str,
    /// How it stands.
    pub state: State,
    /// The same in one sentence for people, with what to do next.
    pub message: String,
    /// The assurance class that the server gave, in its stable word; empty before.
    pub assurance: String,
    /// The pinned server, in hexadecimal digits; empty before enrolment.
    pub server_id: String,
    /// Sealed messages that wait for the server's answer.
    pub pending: u32,
    /// When the server last said something that could be verified, unix seconds; 0 for never.
    pub last_contact: u64,
    /// The longest payload of one message, bytes.
    pub max_message: u32,
}

/// What the chip is, without anything that names this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// `tpm` or `token`.
    pub kind: String,
    /// A TPM's four-letter vendor id, or what a token says.
    pub manufacturer: String,
    /// The maker's name for it.
    pub model: String,
    /// Firmware version.
    pub firmware: u64,
    /// The kind of endorsement key the serial comes from, such as `ecc-p384`; empty for a token.
    pub ek: String,
    /// What keys of applications it can have: `ecc-p256`, `ecc-p384`, `rsa-2048`, `rsa-3072`,
    /// `hmac-sha256`.
    pub algorithms: Vec<String>,
    /// Failures that its protection against guessing has counted.
    pub lockout_failures: u32,
    /// Failures at which it locks.
    pub lockout_allowed: u32,
}

/// What names this very chip: for root and the operators' group only.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The hardware serial.
    pub serial: HardwareSerial,
    /// The endorsement key's certificate, DER, as the chip holds it.
    pub ek_certificate: Option<Vec<u8>>,
}

/// Never shows the serial.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
