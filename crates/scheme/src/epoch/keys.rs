//! The keys of one epoch: one a direction, from the chain key and the epoch secret.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor;
use crate::cose::encrypt0;
use crate::direction::Direction;
use crate::epoch::ChainKey;
use crate::label;
use crate::secret::{Secret, expand, extract, kdf};

/// Z_e, the epoch secret: what keeps a stolen database, or a recording, closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSecret(Secret);

impl EpochSecret {
    /// From the two agreements and the SHA-256 of the epoch-open's envelope: `ecdh` is the X
    /// coordinate of ECDH(server's encryption key, epoch key), `kem` the decapsulated secret.
    pub fn new(ecdh: &Secret, kem: &Secret, open_hash: &[u8; 32]) -> EpochSecret {
        let mut input = zeroize::Zeroizing::new([0; 96]);
        input[..32].copy_from_slice(ecdh.expose());
        input[32..64].copy_from_slice(kem.expose());
        input[64..].copy_from_slice(open_hash);
        EpochSecret(extract(label::EPOCH.as_bytes(), &*input))
    }
}

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
        EpochKeys::new(chain, &EpochSecret(Secret::new([0; 32])), sequence, [0; 32])
    }

    /// The keys of an epoch; `chain` stands at it.
    pub fn new(chain: &ChainKey, z: &EpochSecret, sequence: u64, open_hash: [u8; 32]) -> EpochKeys {
        let prk = extract(z.0.expose(), chain.key().expose());
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

/// What the server keeps of a closed epoch: the upward key, for envelopes that applications
/// carry themselves and that arrive late. It opens; it seals and answers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedEpoch {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) open_hash: [u8; 32],
    pub(crate) up: Secret,
}

impl ClosedEpoch {
    /// Wraps the upward key of an epoch under its own secret, which only the server's private
    /// keys can compute again.
    ///
    /// # Errors
    /// [`Reason::TooLarge`]; it cannot happen.
    pub fn wrap(
        keys: &EpochKeys,
        z: &EpochSecret,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let aad = closed_aad(keys.epoch, keys.sequence, &keys.open_hash);
        encrypt0::seal(&kdf(&z.0, label::CLOSED), keys.up.expose(), &aad, rng)
    }

    /// Unwraps what [`ClosedEpoch::wrap`] made.
    ///
    /// # Errors
    /// The reasons of form, and [`Reason::BadSerialLayer`].
    pub fn unwrap(
        wrapped: &[u8],
        z: &EpochSecret,
        epoch: u64,
        sequence: u64,
        open_hash: [u8; 32],
    ) -> Result<ClosedEpoch, Reason> {
        let aad = closed_aad(epoch, sequence, &open_hash);
        let up = zeroize::Zeroizing::new(encrypt0::open(&kdf(&z.0, label::CLOSED), wrapped, &aad)?);
        let up = Secret::try_from(up.as_slice()).map_err(|_| Reason::WrongShape)?;
        Ok(ClosedEpoch { epoch, sequence, open_hash, up })
    }
}

fn closed_aad(epoch: u64, sequence: u64, open_hash: &[u8; 32]) -> Vec<u8> {
    cbor::array!(epoch, sequence, open_hash)
}
