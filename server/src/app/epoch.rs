//! Epochs: how they are opened, and where their keys come from (docs/scheme.md section 5).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::epoch::judge::{self, Opening, OpeningArrival};
use twinseal_scheme::epoch::{ClosedEpoch, EpochKeys, EpochOpen, EpochSecret, VerifiedEpochOpen};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::keys::P256Public;
use twinseal_scheme::message::Envelope;
use twinseal_scheme::tpm::{Certification, ClockInfo, verify_epoch_attest};

use super::{App, Error};
use crate::store::{Agreement, Caller, Entry, Epoch, Standing, State, StoreError, Tx};

/// Keys of open epochs that are remembered; more are computed again.
const REMEMBERED_MAX: usize = 10_000;

/// Keys of open epochs, for speed only: they can be computed again.
#[derive(Default)]
pub(super) struct EpochCache(Mutex<HashMap<DeviceId, (u32, EpochKeys)>>);

impl EpochCache {
    fn find(&self, device: &DeviceId, generation: u32, hash: &[u8; 32]) -> Option<EpochKeys> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, keys) = cache.get(device)?;
        (*of == generation && keys.open_hash == *hash).then(|| keys.clone())
    }

    fn remember(&self, device: DeviceId, generation: u32, keys: EpochKeys) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= REMEMBERED_MAX {
            cache.clear();
        }
        cache.insert(device, (generation, keys));
    }
}

/// An epoch-open that has passed every check, and what follows from it.
struct Checked {
    open: EpochOpen,
    opening: Opening,
    chain: twinseal_scheme::epoch::ChainKey,
    keys: EpochKeys,
}

impl App {
    /// Opens an epoch.
    ///
    /// # Errors
    /// The reasons of form, layers and attests: the device is told one word. Who has proven the
    /// device's signing key is told more, by a signed answer.
    pub(super) async fn open_epoch(
        &self,
        envelope: &Envelope,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let route = &envelope.route;
        let mut tx = self.store.read().await?;
        let standing = self.standing(&mut tx, &route.device_id).await?;
        let (device, generation) = (&route.device_id, standing.bond.generation);
        let verified = VerifiedEpochOpen::verify(&standing.bond, envelope)?;
        match standing.state {
            State::Active => (),
            State::Awaiting => return Err(Error::Refused(Reason::DeviceUnknown)),
            State::Revoked => return self.signed(&Answer::Revoked, device, bytes),
            State::Quarantined => return self.signed(&Answer::Quarantined, device, bytes),
        }
        let last = tx.last_epoch(device, generation).await?;
        let known = tx.epoch(device, generation, route.epoch).await?;
        let (last_number, known_hash) = (
            last.as_ref().map(|epoch| epoch.opening.epoch),
            known.as_ref().map(|epoch| epoch.opening.hash),
        );
        match judge::opening_arrival(route.epoch, last_number, known_hash, envelope.hash) {
            Ok(OpeningArrival::StoredAnswer) => {
                return known.map(|epoch| epoch.answer).ok_or(Error::Busy);
            }
            Ok(OpeningArrival::Verify) => (),
            Err(reason) => return self.refuse_epoch(device, reason, bytes).await,
        }
        let checked = match self.check_epoch(&mut tx, &standing, &verified, last.as_ref()).await {
            // Without the serial layer nobody has shown that he is the device.
            Err(Error::Refused(reason @ (Reason::BadCommitment | Reason::BadSerialLayer))) => {
                return Err(Error::Refused(reason));
            }
            Err(Error::Refused(reason)) => return self.refuse_epoch(device, reason, bytes).await,
            checked => checked?,
        };
        let last_upward = match &last {
            Some(last) => Some(self.close_epoch(&mut tx, &standing, last).await?),
            None => None,
        };
        drop(tx);
        self.store_epoch(&standing, checked, last_number, last_upward, bytes).await
    }

    /// The keys of the open epoch, if it is this one.
    ///
    /// # Errors
    /// [`Reason::EpochNotOpen`], [`Reason::EpochClosed`].
    pub(super) async fn open_epoch_keys(
        &self,
        tx: &mut Tx<'_>,
        standing: &Standing,
        epoch: u64,
    ) -> Result<EpochKeys, Error> {
        let device = &standing.bond.device_id;
        let last = tx.last_epoch(device, standing.bond.generation).await?;
        match last {
            Some(last) if last.opening.epoch == epoch => {
                Ok(self.keys_of(tx, standing, &last).await?.0)
            }
            Some(last) if last.opening.epoch > epoch => Err(Error::Refused(Reason::EpochClosed)),
            _ => Err(Error::Refused(Reason::EpochNotOpen)),
        }
    }

    /// Everything that an epoch-open must show, the cheap things first.
    async fn check_epoch(
        &self,
        tx: &mut Tx<'_>,
        standing: &Standing,
        verified: &VerifiedEpochOpen<'_>,
        last: Option<&Epoch>,
    ) -> Result<Checked, Error> {
        let bond = &standing.bond;
        let route = verified.route();
        let current = &self.server_keys;
        if route.sequence < current.min_sequence || route.sequence > current.sequence {
            return Err(Error::Refused(Reason::StatementStale));
        }
        let chain = tx.chain(&bond.device_id, bond.generation).await?;
        let chain = chain.ok_or(StoreError::Corrupt("chains"))?.ratchet(route.epoch)?;
        let open = verified.open(&chain)?;
        let clock = attested_clock(standing, &open, route.sequence, route.epoch)?;
        let opening = Opening { epoch: route.epoch, hash: verified.hash(), clock };
        judge::opening(&opening, last.map(|last| &last.opening))?;
        if (open.p256_id, open.kem_id) != (current.encryption.id(), current.kem.id()) {
            return Err(Error::Refused(Reason::UnknownKey));
        }
        let ecdh = self.secrets.encryption.agree(&open.epoch_key)?;
        let kem = self.secrets.kem.decapsulate(&open.kem_ciphertext)?;
        let keys = verified.keys(&chain, &ecdh, &kem);
        Ok(Checked { open, opening, chain, keys })
    }

    async fn store_epoch(
        &self,
        standing: &Standing,
        checked: Checked,
        last: Option<u64>,
        last_upward: Option<Vec<u8>>,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (device, generation) = (standing.bond.device_id, standing.bond.generation);
        let answer = Answer::Accepted.seal(&checked.keys.answer_key(), bytes, &mut OsRng)?;
        let epoch = Epoch {
            opening: checked.opening,
            sequence: checked.keys.sequence,
            agreement: Some(Agreement {
                epoch_key: checked.open.epoch_key.point().to_vec(),
                kem: checked.open.kem_ciphertext,
                p256_id: checked.open.p256_id,
                kem_id: checked.open.kem_id,
            }),
            upward: None,
            answer: answer.clone(),
        };
        let mut write = self.store.write(&Caller::Device(device)).await?;
        let now = self.standing(&mut write, &device).await?;
        let last_now = write.last_epoch(&device, generation).await?.map(|e| e.opening.epoch);
        if last_now != last || now.bond.generation != generation || now.state != State::Active {
            return Err(Error::Busy);
        }
        write.open_epoch(&device, generation, &checked.chain, &epoch, last_upward).await?;
        let subject = format!("epoch {}", epoch.opening.epoch);
        write.commit(Entry::of("epoch.open", device, subject)).await?;
        self.epochs.remember(device, generation, checked.keys);
        self.wakes.wake(&device);
        Ok(answer)
    }

    /// Refuses with a signed answer, and does to the device what the refusal means.
    async fn refuse_epoch(
        &self,
        device: &DeviceId,
        reason: Reason,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        tracing::warn!(%device, reason = reason.code(), "epoch-open refused");
        let is_quarantine = matches!(reason, Reason::EpochClone | Reason::EpochRollback);
        if is_quarantine || reason == Reason::EpochClock {
            let mut write = self.store.write(&Caller::Server).await?;
            write.set_alarm(device, reason.code()).await?;
            if is_quarantine {
                write.set_state(device, State::Quarantined).await?;
            }
            write.commit(Entry::of("device.alarm", *device, reason.code())).await?;
        }
        let answer = match is_quarantine {
            true => Answer::Quarantined,
            false => Answer::Refused(reason.code().to_owned()),
        };
        self.signed(&answer, device, bytes)
    }

    /// The upward key of an epoch that is about to be closed, wrapped.
    async fn close_epoch(
        &self,
        tx: &mut Tx<'_>,
        standing: &Standing,
        last: &Epoch,
    ) -> Result<Vec<u8>, Error> {
        let (keys, secret) = self.keys_of(tx, standing, last).await?;
        Ok(ClosedEpoch::wrap(&keys, &secret, &mut OsRng)?)
    }

    /// The keys and the secret of the open epoch.
    async fn keys_of(
        &self,
        tx: &mut Tx<'_>,
        standing: &Standing,
        epoch: &Epoch,
    ) -> Result<(EpochKeys, EpochSecret), Error> {
        let (device, generation) = (standing.bond.device_id, standing.bond.generation);
        let secret = self.epoch_secret(epoch)?;
        let hash = epoch.opening.hash;
        if let Some(keys) = self.epochs.find(&device, generation, &hash) {
            return Ok((keys, secret));
        }
        let chain = tx.chain(&device, generation).await?;
        let chain = chain.ok_or(StoreError::Corrupt("chains"))?;
        let keys = EpochKeys::new(&chain, &secret, epoch.sequence, hash);
        self.epochs.remember(device, generation, keys.clone());
        Ok((keys, secret))
    }

    /// The epoch secret, from the server's private keys.
    fn epoch_secret(&self, epoch: &Epoch) -> Result<EpochSecret, Error> {
        let agreement = epoch.agreement.as_ref().ok_or(StoreError::Corrupt("epochs"))?;
        let epoch_key = P256Public::from_point(&agreement.epoch_key)?;
        let ecdh = self.secrets.encryption.agree(&epoch_key)?;
        let kem = self.secrets.kem.decapsulate(&agreement.kem)?;
        Ok(EpochSecret::new(&ecdh, &kem, &epoch.opening.hash))
    }

    /// An answer for a device that has proven its signing key and shares no epoch.
    fn signed(&self, answer: &Answer, device: &DeviceId, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign(answer.unsigned(device, request))
    }
}

/// The chip's clock, out of the attest; nothing for a token, which has none.
fn attested_clock(
    standing: &Standing,
    open: &EpochOpen,
    sequence: u64,
    epoch: u64,
) -> Result<Option<ClockInfo>, Reason> {
    let Some(attester) = &standing.attester else { return Ok(None) };
    let (attest, signature) = open.attest.as_ref().ok_or(Reason::AttestMissing)?;
    let chip = verify_epoch_attest(
        &attester.ak_public,
        &attester.srk_name,
        &attester.signing_name,
        Certification { attest, signature },
        &open.extra_data(&standing.bond, sequence, epoch),
    )?;
    Ok(Some(chip.clock))
}
