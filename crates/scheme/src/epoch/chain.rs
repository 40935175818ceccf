//! The chain key: the half of the serial layer's keys that only the chip can compute.

use crate::Reason;
use crate::bond::Bond;
use crate::cbor;
use crate::id::{DeviceId, ServerId};
use crate::label;
use crate::secret::{Secret, expand, extract, sha256};
use crate::serial::HardwareSerial;

/// CK_e, the chain key of one epoch. It goes forward only; the one before is wiped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainKey {
    epoch: u64,
    key: Secret,
}

impl ChainKey {
    /// CK_0, from what the serial key makes of E: `z` is the X coordinate of ECDH(serial key, E), or
    /// what was encrypted in E by RSA.
    pub fn first(
        z: &Secret,
        server_id: &ServerId,
        device_id: &DeviceId,
        serial: &HardwareSerial,
        generation: u32,
    ) -> ChainKey {
        let context = cbor::array!(
            label::SERIAL_CONTEXT,
            server_id,
            device_id,
            serial.as_bytes(),
            generation
        );
        let prk = extract(label::SERIAL_KEY.as_bytes(), z.expose());
        ChainKey { epoch: 0, key: expand(&prk, &[&sha256(&[&context])]) }
    }

    /// CK_0 of a bond; see [`ChainKey::first`].
    pub fn of_bond(z: &Secret, bond: &Bond) -> ChainKey {
        ChainKey::first(z, &bond.server_id, &bond.device_id, &bond.serial, bond.generation)
    }

    /// A chain key that was kept.
    pub fn kept(epoch: u64, key: Secret) -> ChainKey {
        ChainKey { epoch, key }
    }

    /// The epoch that this key belongs to; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key itself, for those who keep it encrypted.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// Walks forward to a later epoch, or stays. A step costs half a microsecond; callers bound
    /// the distance before they walk.
    ///
    /// # Errors
    /// [`Reason::EpochStale`] when it would have to walk back.
    pub fn ratchet(&self, epoch: u64) -> Result<ChainKey, Reason> {
        let steps = epoch.checked_sub(self.epoch).ok_or(Reason::EpochStale)?;
        let mut key = self.key.clone();
        for step in 1..=steps {
            key = expand(&key, &[label::CHAIN.as_bytes(), &(self.epoch + step).to_be_bytes()]);
        }
        Ok(ChainKey { epoch, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_and_never_go_back() {
        let first = ChainKey::kept(0, Secret::new([1; 32]));
        let third = first.ratchet(3).unwrap();
        assert_eq!(first.ratchet(1).unwrap().ratchet(3), Ok(third.clone()));
        assert_eq!(third.ratchet(3), Ok(third.clone()));
        assert_eq!(third.ratchet(2), Err(Reason::EpochStale));
    }
}
