//! What every layer authenticates besides its content (docs/scheme.md section 6).

use crate::Reason;
use crate::bond::Bond;
use crate::cbor;
use crate::direction::Direction;
use crate::epoch::EpochKeys;
use crate::label;
use crate::message::{Outer, Route};

/// The place of a layer in a message.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    Outer = 1,
    Inner = 2,
    ServerSignature = 3,
}

/// The receiver's and the sender's own view of a message: the source of every external_aad.
pub(crate) struct Frame<'a> {
    pub bond: &'a Bond,
    pub keys: &'a EpochKeys,
    pub outer: Outer,
    pub direction: Direction,
    pub seq: u32,
}

impl<'a> Frame<'a> {
    /// The frame in which a received message must stand.
    ///
    /// # Errors
    /// [`Reason::WrongRoute`] when its routing header says something else than the records.
    pub(crate) fn of_route(
        bond: &'a Bond,
        keys: &'a EpochKeys,
        direction: Direction,
        route: &Route,
    ) -> Result<Frame<'a>, Reason> {
        let frame = Frame { bond, keys, outer: route.outer, direction, seq: route.seq };
        if *route == frame.route() { Ok(frame) } else { Err(Reason::WrongRoute) }
    }

    pub(crate) fn route(&self) -> Route {
        Route {
            outer: self.outer,
            direction: self.direction,
            device_id: self.bond.device_id,
            generation: self.bond.generation,
            keyset: self.bond.keyset,
            sequence: self.keys.sequence,
            epoch: self.keys.epoch,
            seq: self.seq,
        }
    }

    pub(crate) fn aad(&self, layer: Layer) -> Vec<u8> {
        cbor::array!(
            label::MESSAGE,
            layer as u8,
            self.outer.number(),
            self.direction.number(),
            self.bond.server_id,
            self.keys.sequence,
            self.bond.device_id,
            self.bond.serial.as_bytes(),
            self.bond.generation,
            self.bond.keyset,
            self.keys.epoch,
            self.keys.open_hash,
            self.seq,
            self.bond.signing.id(),
            self.bond.decryption.id()
        )
    }
}
