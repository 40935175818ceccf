//! Whether a claim may enrol at all: looked up before anything costs much, used up at the end.

use std::fmt;
use std::str::FromStr;

use twinseal_scheme::Reason;
use twinseal_scheme::enrol::judge::{self, ChipState, ClaimFacts, CodeState, Ground, SerialState};
use twinseal_scheme::enrol::{Claim, ClaimedHardware, DeviceState};
use twinseal_scheme::serial::HardwareSerial;

use super::{App, Error, codes};
use crate::clock::now_unix_seconds;
use crate::store::{Standing, StoreError, Tx, Write};

/// Why a device may enrol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub ground: Ground,
    /// The id of its code, on the ground of which it may.
    code: Option<String>,
}

/// What was looked up about a claim.
pub(super) struct Admitted {
    pub admission: Admission,
    /// The operator vouches for this serial.
    pub is_listed: bool,
    /// The device that this chip is already.
    pub before: Option<Standing>,
}

impl App {
    /// Looks up what is known about a claim, and has it judged.
    pub(super) async fn admit(&self, claim: &Claim) -> Result<Admitted, Error> {
        let mut tx = self.store.read().await?;
        let devices = tx.devices_of(&claim.serial).await?;
        let live = devices.iter().find(|device| device.state != DeviceState::Revoked);
        let code = good_code(&mut tx, claim).await?;
        let is_listed = tx.registration(&claim.serial).await?.is_some();
        let facts = ClaimFacts {
            code: match (&code, &claim.code) {
                (Some(_), _) => CodeState::Good,
                (None, Some(_)) => CodeState::Bad,
                (None, None) => CodeState::Missing,
            },
            is_listed,
            approves_by_hand: self.policy.approve_by_hand,
            serial: match live {
                Some(live) => {
                    let proof = claim.re_enrolment.as_ref();
                    let is_named =
                        proof.is_some_and(|proof| proof.is_of(&live.id, live.generation));
                    SerialState::Live { device: live.state, is_named }
                }
                None if devices.is_empty() => SerialState::New,
                None => SerialState::Revoked,
            },
            chip: match &claim.hardware {
                ClaimedHardware::Tpm(_) => ChipState::Tpm,
                ClaimedHardware::Token(_) => {
                    ChipState::Token { is_accepted: self.policy.accept_tokens }
                }
            },
        };
        let ground = judge::admission(&facts)?;
        let before = match live {
            Some(live) => tx.standing(&live.id, &self.server_id()).await?,
            None => None,
        };
        // Who approves by hand compares the short check, and so vouches for the serial.
        let is_listed = is_listed
            || ground == Ground::ByHand
            || live.is_some_and(|live| live.assurance == LISTED);
        let code = code.filter(|_| ground == Ground::Code);
        Ok(Admitted { admission: Admission { ground, code }, is_listed, before })
    }
}

/// Uses an admission up.
pub(super) async fn consume(
    write: &mut Write<'_>,
    admission: &Admission,
    serial: &HardwareSerial,
    device: &twinseal_scheme::id::DeviceId,
) -> Result<(), Error> {
    let was_listed = write.use_registration(serial).await?;
    match (admission.ground, &admission.code) {
        (Ground::Code, Some(id)) if write.use_code(id, device).await? => Ok(()),
        (Ground::Code, _) => Err(Error::Refused(Reason::CodeNotGood)),
        (Ground::Listed, _) if !was_listed => Err(Error::Refused(Reason::NotAdmitted)),
        (Ground::Listed | Ground::ByHand | Ground::Proof, _) => Ok(()),
    }
}

const LISTED: &str = "tpm-ek-listed";

async fn good_code(tx: &mut Tx<'_>, claim: &Claim) -> Result<Option<String>, StoreError> {
    let Some(code) = &claim.code else { return Ok(None) };
    let code = tx.code(&codes::normalised(code)).await?;
    Ok(code.filter(|code| code.is_good(now_unix_seconds())).map(|code| code.id))
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ground, &self.code) {
            (Ground::Code, code) => write!(f, "code:{}", code.as_deref().unwrap_or_default()),
            (Ground::Listed, _) => f.write_str("listed"),
            (Ground::ByHand, _) => f.write_str("by-hand"),
            (Ground::Proof, _) => f.write_str("proof"),
        }
    }
}

impl FromStr for Admission {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Admission, StoreError> {
        let (ground, code) = match (text, text.strip_prefix("code:")) {
            (_, Some(id)) => (Ground::Code, Some(id.to_owned())),
            ("listed", _) => (Ground::Listed, None),
            ("by-hand", _) => (Ground::ByHand, None),
            ("proof", _) => (Ground::Proof, None),
            _ => return Err(StoreError::Corrupt("enrolments.admission")),
        };
        Ok(Admission { ground, code })
    }
}
