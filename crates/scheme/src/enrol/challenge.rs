//! Q and M0: the device asks with a nonce, the server answers with its own and with its keys.

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::{Signed, Unsigned};
use crate::enrol::{ENROL_MAX, VERSION};
use crate::id::ServerId;
use crate::keys::P256Public;
use crate::secret::sha256;
use crate::server_keys::{ServerKeys, by_server, signed_by_server};

const NAME: &str = "M0";
/// The longest `server_keys` statement, bytes.
const STATEMENT_MAX: usize = 8192;

/// Q: freshness for a device that has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Random, 32 bytes.
    pub nonce_d: [u8; 32],
}

impl Request {
    /// The bytes of Q.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array!(VERSION, self.nonce_d)
    }

    /// Reads Q.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn decode(bytes: &[u8]) -> Result<Request, Reason> {
        let mut items = Items::decode(bytes, 64, 2)?;
        if items.uint::<u64>()? != u64::from(VERSION) {
            return Err(Reason::WrongVersion);
        }
        Ok(Request { nonce_d: items.fixed()? })
    }
}

/// M0: the server's challenge. It writes nothing down: the nonce carries its own expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    nonce_d: [u8; 32],
    nonce_s: [u8; 32],
    statement: Vec<u8>,
}

impl Challenge {
    /// Answers `request` with a nonce of 24 random bytes and its expiry in unix seconds, and with
    /// the server's present `server_keys` statement.
    pub fn new(request: &Request, random: [u8; 24], expiry: u64, statement: Vec<u8>) -> Challenge {
        let mut nonce_s = [0; 32];
        nonce_s[..24].copy_from_slice(&random);
        nonce_s[24..].copy_from_slice(&expiry.to_be_bytes());
        Challenge { nonce_d: request.nonce_d, nonce_s, statement }
    }

    /// M0, to be signed by the server's signing key.
    pub fn unsigned(&self) -> Unsigned {
        let payload = cbor::array!(self.nonce_d, self.nonce_s, self.statement);
        Unsigned::new(payload, &by_server(NAME))
    }

    /// The device's check: the statement is of the pinned server and not old, it names the key
    /// that signed, and the challenge answers this request. `least` is the lowest sequence that
    /// is still good: of the enrolment link, or the last one seen.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::UnknownServer`], [`Reason::StatementStale`],
    /// [`Reason::BadServerSignature`], [`Reason::WrongNonce`].
    pub fn accept(
        bytes: &[u8],
        request: &Request,
        server_id: &ServerId,
        least: u64,
    ) -> Result<AcceptedChallenge, Reason> {
        let signed = Signed::decode(bytes)?;
        let challenge = Challenge::decode(signed.unverified_payload())?;
        let server_keys = ServerKeys::verify(&challenge.statement, server_id)?;
        server_keys.at_least(least)?;
        signed.verify(&server_keys.signing, &by_server(NAME), Reason::BadServerSignature)?;
        if challenge.nonce_d != request.nonce_d {
            return Err(Reason::WrongNonce);
        }
        Ok(AcceptedChallenge {
            server_keys,
            statement: challenge.statement,
            nonce_s: challenge.nonce_s,
            m0: bytes.to_vec(),
        })
    }

    /// The server's check of its own challenge when it comes back in M1: gives the nonce, which
    /// may be used once.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadServerSignature`], [`Reason::ChallengeStale`].
    pub fn recognise(bytes: &[u8], signing: &P256Public, now: u64) -> Result<[u8; 32], Reason> {
        let challenge = Challenge::decode(&signed_by_server(bytes, NAME, signing)?)?;
        let mut expiry = [0; 8];
        expiry.copy_from_slice(&challenge.nonce_s[24..]);
        if u64::from_be_bytes(expiry) < now {
            return Err(Reason::ChallengeStale);
        }
        Ok(challenge.nonce_s)
    }

    fn decode(payload: &[u8]) -> Result<Challenge, Reason> {
        let mut items = Items::decode(payload, ENROL_MAX, 3)?;
        Ok(Challenge {
            nonce_d: items.fixed()?,
            nonce_s: items.fixed()?,
            statement: items.bytes(STATEMENT_MAX)?,
        })
    }
}

/// A challenge that the device has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedChallenge {
    /// The server's keys.
    pub server_keys: ServerKeys,
    /// The statement that says so, to be kept: receipts carry it.
    pub statement: Vec<u8>,
    pub(crate) nonce_s: [u8; 32],
    pub(crate) m0: Vec<u8>,
}

impl AcceptedChallenge {
    /// SHA-256 of M0.
    pub fn m0_hash(&self) -> [u8; 32] {
        sha256(&[&self.m0])
    }
}
