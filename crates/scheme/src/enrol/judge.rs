//! What is decided about enrolments and devices, from facts alone (scheme, section 4, checks 1, 2
//! and 9).

use crate::Reason;

/// How a device stands with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// An operator has to approve it.
    Awaiting,
    /// It may open epochs and trade.
    Active,
    /// Its chip's history contradicts itself; only a re-enrolment helps.
    Quarantined,
    /// The operator wants no more of it, for ever.
    Revoked,
}

impl DeviceState {
    const ALL: [DeviceState; 4] = [
        DeviceState::Awaiting,
        DeviceState::Active,
        DeviceState::Quarantined,
        DeviceState::Revoked,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            DeviceState::Awaiting => "awaiting",
            DeviceState::Active => "active",
            DeviceState::Quarantined => "quarantined",
            DeviceState::Revoked => "revoked",
        }
    }

    /// The state of a stable word.
    pub fn from_word(word: &str) -> Option<DeviceState> {
        DeviceState::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// The code of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// The claim has none.
    Missing,
    /// Known, unused, in time.
    Good,
    /// Anything else.
    Bad,
}

/// What the server knows of the hardware serial of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialState {
    /// It was never enrolled.
    New,
    /// Whatever had it was revoked.
    Revoked,
    /// A device has it that is not revoked.
    Live {
        /// How this device stands.
        device: DeviceState,
        /// Whether the claim names this device and its generation, and so has a proof to show.
        is_named: bool,
    },
}

/// What sort of chip a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChipState {
    /// A TPM, whose keys prove which one it is.
    Tpm,
    /// A token, which can say that it is any.
    Token {
        /// Whether the operator accepts tokens at all.
        is_accepted: bool,
    },
}

/// What decides whether a claim may enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Its code.
    pub code: CodeState,
    /// Whether the operator expects its serial. Of a chip whose device trades that is his word
    /// that it may enrol again without a proof, which only he can give.
    pub is_listed: bool,
    /// Whether the operator approves strangers by hand.
    pub approves_by_hand: bool,
    /// Its serial.
    pub serial: SerialState,
    /// Its chip.
    pub chip: ChipState,
}

/// Why a claim may enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Its code.
    Code,
    /// Its listed serial.
    Listed,
    /// An operator will be asked.
    ByHand,
    /// The proof by the key of before, which has still to be verified.
    Proof,
}

/// Judges whether a claim may enrol, before its certificates and keys cost anything.
///
/// # Errors
/// [`Reason::SerialLive`], [`Reason::SerialRevoked`], [`Reason::DeviceQuarantined`],
/// [`Reason::CodeNotGood`], [`Reason::NotAdmitted`], which is also a token's that nobody has
/// invited: what is compared when a device is approved by hand, whoever knows a token can say.
/// [`Reason::TokenNotAccepted`].
pub fn admission(facts: &ClaimFacts) -> Result<Ground, Reason> {
    if facts.chip == (ChipState::Token { is_accepted: false }) {
        return Err(Reason::TokenNotAccepted);
    }
    let by_hand = facts.approves_by_hand && facts.chip == ChipState::Tpm;
    let invited = match (facts.code, facts.is_listed) {
        (CodeState::Good, _) => Ok(Ground::Code),
        (_, true) => Ok(Ground::Listed),
        (CodeState::Bad, false) => Err(Reason::CodeNotGood),
        (CodeState::Missing, false) => Err(Reason::NotAdmitted),
    };
    match facts.serial {
        SerialState::Live { device: DeviceState::Active, is_named: true } => Ok(Ground::Proof),
        // Only an operator ends a quarantine.
        SerialState::Live { device: DeviceState::Quarantined, is_named: true } => {
            invited.map_err(|_| Reason::DeviceQuarantined)
        }
        // Cleared, or without what its agent knew: the operator has readmitted it.
        SerialState::Live {
            device: DeviceState::Active | DeviceState::Quarantined,
            is_named: false,
        } if facts.is_listed => Ok(Ground::Listed),
        SerialState::Live { .. } => Err(Reason::SerialLive),
        SerialState::Revoked if !facts.is_listed => Err(Reason::SerialRevoked),
        SerialState::Revoked | SerialState::New => match invited {
            Err(Reason::NotAdmitted) if by_hand => Ok(Ground::ByHand),
            invited => invited,
        },
    }
}

/// Judges the nonce of a claim by whether it is used for the first time.
///
/// # Errors
/// [`Reason::NonceUsed`].
pub fn nonce(is_first: bool) -> Result<(), Reason> {
    if is_first { Ok(()) } else { Err(Reason::NonceUsed) }
}

/// Judges a message of an enrolment by the SHA-256 of the one that was answered in its place, if
/// one was. Says whether it is that one again, which gets the stored answer.
///
/// # Errors
/// [`Reason::EnrolmentOther`], [`Reason::EnrolmentUnknown`] when it is neither answered nor alive.
pub fn repetition(
    is_alive: bool,
    answered: Option<[u8; 32]>,
    this: [u8; 32],
) -> Result<bool, Reason> {
    match answered {
        Some(hash) if hash == this => Ok(true),
        Some(_) => Err(Reason::EnrolmentOther),
        None if is_alive => Ok(false),
        None => Err(Reason::EnrolmentUnknown),
    }
}

/// Judges whether a device may open epochs and trade; `None` is one that nobody knows, in this
/// generation.
///
/// # Errors
/// [`Reason::DeviceUnknown`], also before an operator has approved it,
/// [`Reason::DeviceRevoked`], [`Reason::DeviceQuarantined`].
pub fn device(state: Option<DeviceState>) -> Result<(), Reason> {
    match state {
        Some(DeviceState::Active) => Ok(()),
        Some(DeviceState::Revoked) => Err(Reason::DeviceRevoked),
        Some(DeviceState::Quarantined) => Err(Reason::DeviceQuarantined),
        Some(DeviceState::Awaiting) | None => Err(Reason::DeviceUnknown),
    }
}
