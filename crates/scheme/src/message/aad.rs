//! What every layer authenticates besides its content (docs/scheme.md section 6).

use crate::Reason;
use crate::bond::Bond;
use crate::cbor;
use crate::direction::Direction;
use crate::epoch::{ClosedEpoch, EpochKeys};
use crate::label;
use crate::message::{Outer, Route};
use crate::secret::Secret;

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
    pub epoch: u64,
    pub sequence: u64,
    pub open_hash: &'a [u8; 32],
    /// K_dir of the direction.
    pub key: &'a Secret,
    pub outer: Outer,
    pub direction: Direction,
    pub seq: u32,
}

impl<'a> Frame<'a> {
    /// The frame of a message that is about to be sealed.
    pub(crate) fn new(
        bond: &'a Bond,
        keys: &'a EpochKeys,
        outer: Outer,
        direction: Direction,
        seq: u32,
    ) -> Frame<'a> {
        let EpochKeys { epoch, sequence, open_hash, .. } = keys;
        let key = keys.direction(direction);
        Frame { bond, epoch: *epoch, sequence: *sequence, open_hash, key, outer, direction, seq }
    }

    /// The frame in which a received message must stand.
    ///
    /// # Errors
    /// [`Reason::WrongRoute`] when its routing header says something else than the records, or
    /// has the seq of an epoch-open.
    pub(crate) fn of_route(
        bond: &'a Bond,
        keys: &'a EpochKeys,
        direction: Direction,
        route: &Route,
    ) -> Result<Frame<'a>, Reason> {
        Frame::new(bond, keys, route.outer, direction, route.seq).expecting(route)?.numbered()
    }

    /// The frame in which an epoch-open must stand: seq 0, up, and the key layer outside.
    ///
    /// # Errors
    /// [`Reason::WrongRoute`].
    pub(crate) fn of_opening(
        bond: &'a Bond,
        keys: &'a EpochKeys,
        route: &Route,
    ) -> Result<Frame<'a>, Reason> {
        if route.epoch == 0 {
            return Err(Reason::WrongRoute);
        }
        Frame::new(bond, keys, Outer::Key, Direction::Up, 0).expecting(route)
    }

    /// The same for a message up of a closed epoch.
    pub(crate) fn of_closed(
        bond: &'a Bond,
        closed: &'a ClosedEpoch,
        route: &Route,
    ) -> Result<Frame<'a>, Reason> {
        let ClosedEpoch { epoch, sequence, open_hash, up } = closed;
        let (epoch, sequence, direction) = (*epoch, *sequence, Direction::Up);
        let (outer, seq) = (route.outer, route.seq);
        Frame { bond, epoch, sequence, open_hash, key: up, outer, direction, seq }
            .expecting(route)?
            .numbered()
    }

    fn expecting(self, route: &Route) -> Result<Frame<'a>, Reason> {
        if *route == self.route() { Ok(self) } else { Err(Reason::WrongRoute) }
    }

    fn numbered(self) -> Result<Frame<'a>, Reason> {
        if self.seq == 0 { Err(Reason::WrongRoute) } else { Ok(self) }
    }

    pub(crate) fn route(&self) -> Route {
        Route {
            outer: self.outer,
            direction: self.direction,
            device_id: self.bond.device_id,
            generation: self.bond.generation,
            keyset: self.bond.keyset,
            sequence: self.sequence,
            epoch: self.epoch,
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
            self.sequence,
            self.bond.device_id,
            self.bond.serial.as_bytes(),
            self.bond.generation,
            self.bond.keyset,
            self.epoch,
            self.open_hash,
            self.seq,
            self.bond.signing.id(),
            self.bond.decryption.id()
        )
    }
}
