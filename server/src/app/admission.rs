//! Whether a claim may enrol at all: looked up before anything costs much, used up at the end.

use std::fmt;
use std::str::FromStr;

use twinseal_scheme::Reason;
use twinseal_scheme::enrol::Claim;
use twinseal_scheme::serial::HardwareSerial;

use super::{App, Error, codes};
use crate::clock::now_unix_seconds;
use crate::store::{Device, Standing, State, StoreError, Tx, Write};

/// Why a device may enrol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has a code, of this id.
    Code(String),
    /// The operator expects its serial.
    Listed,
    /// The operator will be asked.
    ByHand,
    /// It is enrolled, and signs so with the key of before.
    Proof,
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
    /// Looks up why a claim may enrol.
    pub(super) async fn admit(&self, claim: &Claim) -> Result<Admitted, Error> {
        let mut tx = self.store.read().await?;
        let devices = tx.devices_of(&claim.serial).await?;
        let is_listed = tx.registration(&claim.serial).await?.is_some();
        let invited = match good_code(&mut tx, claim).await? {
            Some(id) => Ok(Admission::Code(id)),
            None if is_listed => Ok(Admission::Listed),
            None if claim.code.is_some() => Err(Reason::CodeNotGood),
            None => Err(Reason::NotAdmitted),
        };
        if let Some(live) = devices.iter().find(|device| device.state != State::Revoked) {
            let before = tx.standing(&live.id, &self.server_id()).await?;
            let admission = self.admit_again(claim, live, invited)?;
            let is_listed = is_listed || live.assurance == LISTED;
            return Ok(Admitted { admission, is_listed, before });
        }
        if !devices.is_empty() && !is_listed {
            return Err(Error::Refused(Reason::SerialRevoked));
        }
        let admission = match invited {
            Err(Reason::NotAdmitted) if self.policy.approve_by_hand => Admission::ByHand,
            invited => invited?,
        };
        // Who approves by hand compares the short check, and so vouches for the serial.
        let is_listed = is_listed || admission == Admission::ByHand;
        Ok(Admitted { admission, is_listed, before: None })
    }

    /// A chip that is enrolled already needs the proof of its key, and in quarantine an operator.
    fn admit_again(
        &self,
        claim: &Claim,
        live: &Device,
        invited: Result<Admission, Reason>,
    ) -> Result<Admission, Error> {
        let proof = claim.re_enrolment.as_ref().ok_or(Reason::SerialLive)?;
        if proof.device_id != live.id || proof.generation != live.generation {
            return Err(Error::Refused(Reason::SerialLive));
        }
        match live.state {
            State::Active => Ok(Admission::Proof),
            State::Quarantined => invited.map_err(|_| Error::Refused(Reason::DeviceQuarantined)),
            State::Awaiting | State::Revoked => Err(Error::Refused(Reason::SerialLive)),
        }
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
    let is_good = match admission {
        Admission::Code(id) => write.use_code(id, device).await?,
        Admission::Listed => was_listed,
        Admission::ByHand | Admission::Proof => true,
    };
    match (is_good, admission) {
        (true, _) => Ok(()),
        (false, Admission::Code(_)) => Err(Error::Refused(Reason::CodeNotGood)),
        (false, _) => Err(Error::Refused(Reason::NotAdmitted)),
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
        match self {
            Admission::Code(id) => write!(f, "code:{id}"),
            Admission::Listed => f.write_str("listed"),
            Admission::ByHand => f.write_str("by-hand"),
            Admission::Proof => f.write_str("proof"),
        }
    }
}

impl FromStr for Admission {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Admission, StoreError> {
        match (text, text.strip_prefix("code:")) {
            (_, Some(id)) => Ok(Admission::Code(id.to_owned())),
            ("listed", _) => Ok(Admission::Listed),
            ("by-hand", _) => Ok(Admission::ByHand),
            ("proof", _) => Ok(Admission::Proof),
            _ => Err(StoreError::Corrupt("enrolments.admission")),
        }
    }
}
