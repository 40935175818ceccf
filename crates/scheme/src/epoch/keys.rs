//! The keys of one epoch: one a direction, from the chain key and the epoch secret.

use crate::direction::Direction;
use crate::epoch::ChainKey;
use crate::label;
use crate::secret::{Secret, expand, extract, kdf};

/// What the serial layer works with during one epoch. Both sides hold it in memory; the
/// server can compute it again, the device cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochKeys {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The sequence of the `server_keys` statement that the epoch was opened under.
    pub sequence: u64,
    /// SHA-256 of the epoch-open's envelope; 32 zero bytes for the epoch-open itself.
    pub open_hash: [u8; 32],
    up: Secret,
    down: Secret,
}

impl EpochKeys {
    /// The keys that seal an epoch-open: they need the chip, and no epoch secret yet.
    pub fn opening(chain: &ChainKey, sequence: u64) -> EpochKeys {
        EpochKeys::new(chain, &Secret::new([0; 32]), sequence, [0; 32])
    }

    /// The keys of an epoch: `z` is Z_e.
    pub(crate) fn new(
        chain: &ChainKey,
        z: &Secret,
        sequence: u64,
        open_hash: [u8; 32],
    ) -> EpochKeys {
        let prk = extract(z.expose(), chain.key().expose());
        let direction = |direction: Direction| {
            expand(
                &prk,
                &[
                    label::DIRECTION.as_bytes(),
                    &[direction.number()],
                    &chain.epoch().to_be_bytes(),
                    &sequence.to_be_bytes(),
                ],
            )
        };
        EpochKeys {
            epoch: chain.epoch(),
            sequence,
            open_hash,
            up: direction(Direction::Up),
            down: direction(Direction::Down),
        }
    }

    /// K_dir.
    pub(crate) fn direction(&self, direction: Direction) -> &Secret {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// The key that authenticated answers of this epoch are under. The device keeps it, encrypted,
    /// as long as the epoch has envelopes without an answer.
    pub fn answer_key(&self) -> Secret {
        kdf(&self.down, label::ANSWER)
    }

    /// The key that this epoch's fetches are under.
    pub fn fetch_key(&self) -> Secret {
        kdf(&self.up, label::FETCH)
    }
}
