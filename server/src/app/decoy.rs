//! A device that does not exist: what comes for an unknown one is judged against it, so that
//! unknown and known devices cost, and answer, the same.

use std::sync::Arc;

use rand_core::{OsRng, RngCore};
use twinseal_scheme::Secret;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::epoch::{ChainKey, EpochKeys};
use twinseal_scheme::id::{DeviceId, KeyId, ServerId};
use twinseal_scheme::keys::{DecryptionPublic, P256Private, P256Public, SigningPublic};
use twinseal_scheme::serial::HardwareSerial;

use crate::store::Standing;

/// Keys that nobody has: the private halves are gone.
pub(super) struct Decoy {
    server_id: ServerId,
    key: P256Public,
    chain: Secret,
}

impl Decoy {
    pub(super) fn new(server_id: ServerId) -> Decoy {
        let mut chain = zeroize::Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *chain);
        let key = P256Private::generate(&mut OsRng).public().clone();
        Decoy { server_id, key, chain: Secret::new(*chain) }
    }

    /// A record for a device that is not known.
    pub(super) fn standing(&self, device: &DeviceId, generation: u32) -> Standing {
        Standing {
            state: DeviceState::Revoked,
            bond: Bond {
                server_id: self.server_id,
                device_id: *device,
                serial: HardwareSerial::from_bytes([0; 32]),
                generation,
                keyset: 1,
                signing: SigningPublic::Es256(self.key.clone()),
                decryption: DecryptionPublic::EcdhEs(self.key.clone()),
            },
            serial_key: KeyId([0; 32]),
            attester: None,
            assurance: String::new(),
            verdict: String::new(),
            enrolled_at: 0,
        }
    }

    /// Keys of an epoch that was never opened.
    pub(super) fn epoch_keys(&self, epoch: u64, sequence: u64) -> Arc<EpochKeys> {
        let chain = ChainKey::kept(epoch, self.chain.clone());
        Arc::new(EpochKeys::opening(&chain, sequence))
    }
}
