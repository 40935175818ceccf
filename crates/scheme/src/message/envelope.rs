//! The envelope: a routing header in clear, and the outer layer's COSE object.

use ciborium::value::Value;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::SIZE_MAX;
use crate::direction::Direction;
use crate::id::DeviceId;
use crate::secret::sha256;

const VERSION: u8 = 1;

/// Which layer stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outer {
    /// `Es(Ea(m))`: claims 6, 7, 10, 11. The default.
    Serial = 1,
    /// `Ea(Es(m))`: claims 4, 5, 8, 9.
    Key = 2,
}

impl Outer {
    /// The number on the wire and in every layer's external_aad.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The order of a number.
    ///
    /// # Errors
    /// [`Reason::WrongShape`] for any other number.
    pub fn of_number(number: u8) -> Result<Outer, Reason> {
        match number {
            1 => Ok(Outer::Serial),
            2 => Ok(Outer::Key),
            _ => Err(Reason::WrongShape),
        }
    }

    /// The word for people and configuration files: `serial` or `key`.
    pub fn word(self) -> &'static str {
        match self {
            Outer::Serial => "serial",
            Outer::Key => "key",
        }
    }

    /// The order of a word.
    pub fn of_word(word: &str) -> Option<Outer> {
        [Outer::Serial, Outer::Key].into_iter().find(|outer| outer.word() == word)
    }
}

/// The routing header: what a receiver needs to find his record. Nothing in it is believed;
/// every layer is bound to what the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which layer stands outside.
    pub outer: Outer,
    /// Which way the message goes.
    pub direction: Direction,
    /// The device that sent it, or that it is for.
    pub device_id: DeviceId,
    /// See [`crate::bond::Bond::generation`].
    pub generation: u32,
    /// See [`crate::bond::Bond::keyset`].
    pub keyset: u32,
    /// See [`crate::epoch::EpochKeys::sequence`].
    pub sequence: u64,
    /// The epoch.
    pub epoch: u64,
    /// Counts the envelopes of one direction within an epoch; 0 is the epoch-open.
    pub seq: u32,
}

/// An envelope taken apart, nothing of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The routing header.
    pub route: Route,
    /// The outer layer's COSE object.
    pub body: Vec<u8>,
    /// SHA-256 of the whole envelope: its name in outboxes, answers and acknowledgements.
    pub hash: [u8; 32],
}

impl Envelope {
    /// Reads an envelope of at most 256 KiB.
    ///
    /// # Errors
    /// The reasons of form (`malformed`).
    pub fn decode(bytes: &[u8]) -> Result<Envelope, Reason> {
        let mut items = Items::decode(bytes, SIZE_MAX, 2)?;
        let route = Route::decode(items.any()?)?;
        let body = items.bytes(SIZE_MAX)?;
        Ok(Envelope { route, body, hash: sha256(&[bytes]) })
    }

    /// The bytes of an envelope.
    pub(crate) fn encode(route: &Route, body: Vec<u8>) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![route.encode(), Value::Bytes(body)]))
    }
}

impl Route {
    fn encode(&self) -> Value {
        cbor::value!(
            VERSION,
            self.outer.number(),
            self.direction.number(),
            self.device_id,
            self.generation,
            self.keyset,
            self.sequence,
            self.epoch,
            self.seq
        )
    }

    fn decode(value: Value) -> Result<Route, Reason> {
        let mut items = Items::of(value, 9)?;
        if items.uint::<u64>()? != u64::from(VERSION) {
            return Err(Reason::WrongVersion);
        }
        Ok(Route {
            outer: Outer::of_number(items.uint()?)?,
            direction: Direction::of_number(items.uint()?)?,
            device_id: DeviceId(items.fixed()?),
            generation: items.uint()?,
            keyset: items.uint()?,
            sequence: items.uint()?,
            epoch: items.uint()?,
            seq: items.uint()?,
        })
    }
}
