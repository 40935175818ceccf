//! Answers that change a device's state, and fetches (docs/scheme.md section 7).
//!
//! An answer is bound to the very request, so nobody on the network can empty an outbox. Where
//! device and server share an epoch it is encrypted under the epoch's answer key; where they do
//! not, it is signed, and made only for requests whose device signature was verified.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::Unsigned;
use crate::cose::{SIZE_MAX, encrypt0};
use crate::epoch::EpochKeys;
use crate::id::DeviceId;
use crate::keys::P256Public;
use crate::label;
use crate::secret::{Secret, sha256};
use crate::server_keys::{by_server, signed_by_server};
use crate::trade::Index;

const VERSION: u8 = 1;
const NAME: &str = "answer";
/// Acknowledgements in one fetch.
pub const ACKS_MAX: usize = 64;
/// The longest fetch, bytes.
const FETCH_MAX: usize = 16 * 1024;
/// The longest code of a refusal, bytes.
const CODE_MAX: usize = 64;

/// What the server says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The envelope is accepted, durably; or it was, earlier.
    Accepted,
    /// The envelope is not accepted and will not be: the code of the [`Reason`].
    Refused(String),
    /// To a fetch: one sealed message down.
    Downlink(Vec<u8>),
    /// To a fetch: nothing waits.
    Nothing,
    /// This enrolment has ended: the operator revoked it.
    Revoked,
    /// Something contradicts the chip's history; the operator must approve a re-enrolment.
    Quarantined,
}

impl Answer {
    fn encode(&self) -> Vec<u8> {
        let (kind, body): (u8, Vec<u8>) = match self {
            Answer::Accepted => (0, vec![]),
            Answer::Refused(code) => (1, code.clone().into_bytes()),
            Answer::Downlink(envelope) => (2, envelope.clone()),
            Answer::Nothing => (3, vec![]),
            Answer::Revoked => (4, vec![]),
            Answer::Quarantined => (5, vec![]),
        };
        cbor::array!(kind, body)
    }

    fn decode(bytes: &[u8]) -> Result<Answer, Reason> {
        let mut items = Items::decode(bytes, SIZE_MAX + 16, 2)?;
        let (kind, body) = (items.uint::<u8>()?, items.bytes(SIZE_MAX)?);
        match (kind, body.is_empty()) {
            (0, true) => Ok(Answer::Accepted),
            (1, false) if body.len() <= CODE_MAX && body.iter().all(is_of_code) => {
                String::from_utf8(body).map(Answer::Refused).map_err(|_| Reason::WrongShape)
            }
            (2, false) => Ok(Answer::Downlink(body)),
            (3, true) => Ok(Answer::Nothing),
            (4, true) => Ok(Answer::Revoked),
            (5, true) => Ok(Answer::Quarantined),
            _ => Err(Reason::WrongShape),
        }
    }

    /// Encrypts the answer to `request` under the answer key of the request's epoch.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn seal(
        &self,
        answer_key: &Secret,
        request: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        encrypt0::seal(answer_key, &self.encode(), &sha256(&[request]), rng)
    }

    /// Opens an answer to `request`.
    ///
    /// # Errors
    /// The reasons of form, and [`Reason::BadSerialLayer`].
    pub fn open(answer_key: &Secret, request: &[u8], bytes: &[u8]) -> Result<Answer, Reason> {
        Answer::decode(&encrypt0::open(answer_key, bytes, &sha256(&[request]))?)
    }

    /// The answer to `request`, to be signed by the server's signing key.
    pub fn unsigned(&self, device_id: &DeviceId, request: &[u8]) -> Unsigned {
        let payload = cbor::array!(device_id, sha256(&[request]), self.encode());
        Unsigned::new(payload, &by_server(NAME))
    }

    /// Verifies a signed answer to `request`.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadServerSignature`], and [`Reason::WrongRoute`] when it
    /// answers another device or request.
    pub fn verify(
        signing: &P256Public,
        device_id: &DeviceId,
        request: &[u8],
        bytes: &[u8],
    ) -> Result<Answer, Reason> {
        let payload = signed_by_server(bytes, NAME, signing)?;
        let mut items = Items::decode(&payload, SIZE_MAX, 3)?;
        if DeviceId(items.fixed()?) != *device_id || items.fixed()? != sha256(&[request]) {
            return Err(Reason::WrongRoute);
        }
        Answer::decode(&items.bytes(SIZE_MAX)?)
    }
}

/// A byte of a [`Reason`]'s code: nothing that a log or a terminal could take for more.
fn is_of_code(byte: &u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-'
}

/// An acknowledgement of one message down, by what was received; acknowledging twice is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The trade.
    pub trade_id: [u8; 16],
    /// The message's index in it, from 1.
    pub index: u32,
    /// Its inner hash ([`crate::trade::Content::inner_hash`]), which is the same in every sealing.
    pub inner_hash: [u8; 32],
}

/// A device asks for the next message down, and acknowledges what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// How long the server may wait for something to send, milliseconds.
    pub wait_ms: u32,
    /// At most [`ACKS_MAX`].
    pub acks: Vec<Ack>,
}

/// Where a fetch belongs, in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRoute {
    /// The device.
    pub device_id: DeviceId,
    /// Its generation.
    pub generation: u32,
    /// The epoch whose key it is under.
    pub epoch: u64,
}

impl FetchRoute {
    fn aad(&self) -> Vec<u8> {
        cbor::array!(label::FETCH_CONTEXT, VERSION, self.device_id, self.generation, self.epoch)
    }
}

impl Fetch {
    /// Seals a fetch.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] with more than [`ACKS_MAX`] acknowledgements.
    pub fn seal(
        &self,
        route: &FetchRoute,
        keys: &EpochKeys,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        if self.acks.len() > ACKS_MAX {
            return Err(Reason::TooLarge);
        }
        let acks: Vec<_> = self
            .acks
            .iter()
            .map(|ack| cbor::value!(ack.trade_id, ack.index, ack.inner_hash))
            .collect();
        let plaintext = cbor::array!(self.wait_ms, ciborium::value::Value::Array(acks));
        let sealed = encrypt0::seal(&keys.fetch_key(), &plaintext, &route.aad(), rng)?;
        Ok(cbor::array!(VERSION, route.device_id, route.generation, route.epoch, sealed))
    }

    /// Reads where a fetch belongs, and what is to be opened with [`Fetch::open`].
    ///
    /// # Errors
    /// The reasons of form.
    pub fn route(bytes: &[u8]) -> Result<(FetchRoute, Vec<u8>), Reason> {
        let mut items = Items::decode(bytes, FETCH_MAX, 5)?;
        if items.uint::<u64>()? != u64::from(VERSION) {
            return Err(Reason::WrongVersion);
        }
        let route = FetchRoute {
            device_id: DeviceId(items.fixed()?),
            generation: items.uint()?,
            epoch: items.uint()?,
        };
        Ok((route, items.bytes(FETCH_MAX)?))
    }

    /// Opens what [`Fetch::route`] gave.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadSerialLayer`], [`Reason::BadIndex`].
    pub fn open(route: &FetchRoute, sealed: &[u8], keys: &EpochKeys) -> Result<Fetch, Reason> {
        let plaintext = encrypt0::open(&keys.fetch_key(), sealed, &route.aad())?;
        let mut items = Items::decode(&plaintext, FETCH_MAX, 2)?;
        let wait_ms = items.uint()?;
        let acks = items.list(ACKS_MAX)?.into_iter().map(|ack| {
            let mut ack = Items::of(ack, 3)?;
            let trade_id = ack.fixed()?;
            let index = Index::new(ack.uint()?)?.number();
            Ok(Ack { trade_id, index, inner_hash: ack.fixed()? })
        });
        Ok(Fetch { wait_ms, acks: acks.collect::<Result<_, Reason>>()? })
    }
}
