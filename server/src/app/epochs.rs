//! The keys of epochs: computed from the database and the private keys, remembered for speed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use twinseal_scheme::Reason;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, ClosedEpoch, EpochKeys, EpochSecret};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::keys::P256Public;

use super::{App, Error};
use crate::keys::ServerSecrets;
use crate::store::{Agreement, Epoch, Standing, StoreError};

/// Epochs that are remembered; above that all are forgotten, which costs a computation each.
const REMEMBERED_MAX: usize = 65_536;

/// Keys of open epochs.
#[derive(Default)]
pub(super) struct Epochs {
    keys: Mutex<HashMap<DeviceId, (u32, Arc<EpochKeys>)>>,
}

impl Epochs {
    /// Remembers the keys of a device's open epoch, in the place of any before.
    pub(super) fn remember(&self, device: &DeviceId, generation: u32, keys: &Arc<EpochKeys>) {
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(*device, (generation, keys.clone()));
    }

    /// Forgets a device's keys.
    pub(super) fn forget(&self, device: &DeviceId) {
        self.lock().remove(device);
    }

    fn recall(&self, device: &DeviceId, generation: u32, epoch: &Epoch) -> Option<Arc<EpochKeys>> {
        let remembered = self.lock();
        let (of, keys) = remembered.get(device)?;
        (*of == generation && keys.open_hash == epoch.opening.hash).then(|| keys.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, (u32, Arc<EpochKeys>)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What a device's messages of its open epoch are opened with: for an operator who takes one
    /// apart.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a device that is not known or has no epoch.
    pub async fn inspect(&self, device: &DeviceId) -> Result<(Bond, Arc<EpochKeys>), Error> {
        let mut tx = self.store.read().await?;
        let standing = tx.standing(device, &self.server_id()).await?;
        let standing = standing.ok_or(Error::NotFound("device"))?;
        let epoch = tx.last_epoch(device, standing.bond.generation).await?;
        let epoch = epoch.ok_or(Error::NotFound("epoch"))?;
        drop(tx);
        let keys = self.epoch_keys(&standing, &epoch).await?;
        Ok((standing.bond, keys))
    }

    /// The keys of a device's open epoch.
    pub(super) async fn epoch_keys(
        &self,
        standing: &Standing,
        epoch: &Epoch,
    ) -> Result<Arc<EpochKeys>, Error> {
        let (device, generation) = (standing.bond.device_id, standing.bond.generation);
        if let Some(keys) = self.epochs.recall(&device, generation, epoch) {
            return Ok(keys);
        }
        let chain = self.store.read().await?.chain(&device, generation).await?;
        let chain = chain.filter(|chain| chain.epoch() == epoch.opening.epoch);
        // Between two reads the device may have opened the next epoch.
        let chain = chain.ok_or(Error::Busy)?;
        let (secrets, epoch) = (self.secrets.clone(), epoch.clone());
        let keys = self.compute(move || keys_of(&secrets, &epoch, &chain)).await??;
        let keys = Arc::new(keys);
        self.epochs.remember(&device, generation, &keys);
        Ok(keys)
    }

    /// What was kept of an epoch that is closed.
    pub(super) async fn closed_epoch(&self, epoch: Epoch) -> Result<ClosedEpoch, Error> {
        let secrets = self.secrets.clone();
        let unwrap = move || {
            let upward = epoch.upward.as_deref().ok_or(Reason::EpochClosed)?;
            let opening = &epoch.opening;
            let secret = secret_of(&secrets, &epoch)?;
            ClosedEpoch::unwrap(upward, &secret, opening.epoch, epoch.sequence, opening.hash)
        };
        Ok(self.compute(unwrap).await??)
    }
}

/// The epoch secret: needs the private keys that the device has chosen.
pub(super) fn secret_of(secrets: &ServerSecrets, epoch: &Epoch) -> Result<EpochSecret, Reason> {
    let agreement = epoch.agreement.as_ref().ok_or(Reason::EpochClosed)?;
    secret(secrets, agreement, &epoch.opening.hash)
}

/// The same, of an epoch that is about to be opened.
pub(super) fn secret(
    secrets: &ServerSecrets,
    agreement: &Agreement,
    hash: &[u8; 32],
) -> Result<EpochSecret, Reason> {
    let ours = (secrets.encryption.public().id(), secrets.kem.public().id());
    if (agreement.p256_id, agreement.kem_id) != ours {
        return Err(Reason::UnknownKey);
    }
    let epoch_key = P256Public::from_point(&agreement.epoch_key)?;
    let ecdh = secrets.encryption.agree(&epoch_key)?;
    let kem = secrets.kem.decapsulate(&agreement.kem)?;
    Ok(EpochSecret::new(&ecdh, &kem, hash))
}

/// The keys of an open epoch; the chain key stands at it.
pub(super) fn keys_of(
    secrets: &ServerSecrets,
    epoch: &Epoch,
    chain: &ChainKey,
) -> Result<EpochKeys, Error> {
    let failed = |_| Error::from(StoreError::Corrupt("epochs"));
    let secret = secret_of(secrets, epoch).map_err(failed)?;
    Ok(EpochKeys::new(chain, &secret, epoch.sequence, epoch.opening.hash))
}
