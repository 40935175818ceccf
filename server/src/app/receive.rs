//! Messages from devices: accepted once, durably, together with their effect.

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::EpochKeys;
use twinseal_scheme::epoch::judge;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::message::{Envelope, open_up};
use twinseal_scheme::trade::Content;

use super::ledger::Ledger;
use super::{App, Error};
use crate::store::{Caller, Entry, Standing, State, Tx, Uplink};

impl App {
    /// Answers an envelope from a device: a message, or an epoch-open.
    ///
    /// # Errors
    /// [`Error`], of which a device is told one word. A device that has proven to be one gets an
    /// answer instead, of acceptance or refusal.
    pub async fn message(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let envelope = Envelope::decode(bytes)?;
        if envelope.route.direction != Direction::Up {
            return Err(Error::Refused(Reason::WrongRoute));
        }
        if envelope.route.seq == 0 {
            return self.open_epoch(&envelope, bytes).await;
        }
        let mut tx = self.store.read().await?;
        let standing = self.standing(&mut tx, &envelope.route.device_id).await?;
        if envelope.route.generation != standing.bond.generation {
            return Err(Error::Refused(Reason::WrongRoute));
        }
        if let Some(stored) = tx.uplink(&envelope.route).await?
            && stored.hash == envelope.hash
        {
            return Ok(stored.answer);
        }
        let keys = self.open_epoch_keys(&mut tx, &standing, envelope.route.epoch).await?;
        drop(tx);
        let opened = open_up(&standing.bond, &keys, &envelope)?;
        // From here on it is the device that speaks, and it is told.
        let answer = match standing.state {
            State::Active => self.accept(&standing, &keys, &envelope, &opened.content, bytes).await,
            State::Revoked => return seal(&Answer::Revoked, &keys, bytes),
            State::Quarantined => return seal(&Answer::Quarantined, &keys, bytes),
            State::Awaiting => return Err(Error::Refused(Reason::DeviceUnknown)),
        };
        match answer {
            Err(Error::Refused(reason)) => {
                self.refuse(&standing, &keys, &envelope, reason, bytes).await
            }
            answer => answer,
        }
    }

    /// A device that is known, with its keys.
    ///
    /// # Errors
    /// [`Reason::DeviceUnknown`].
    pub(super) async fn standing(
        &self,
        tx: &mut Tx<'_>,
        device: &DeviceId,
    ) -> Result<Standing, Error> {
        let standing = tx.standing(device, &self.server_id()).await?;
        standing.ok_or(Error::Refused(Reason::DeviceUnknown))
    }

    /// Accepts a message and its effect in one transaction.
    async fn accept(
        &self,
        standing: &Standing,
        keys: &EpochKeys,
        envelope: &Envelope,
        content: &[u8],
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let device = standing.bond.device_id;
        let content = Content::decode(content)?;
        let answer = seal(&Answer::Accepted, keys, bytes)?;
        let mut write = self.store.write(&Caller::Device(device)).await?;
        // Another request may have been faster since the first look.
        self.still(&mut write, standing, keys).await?;
        if let Some(stored) = write.uplink(&envelope.route).await? {
            judge::sealing(Some(stored.hash), envelope.hash)?;
            return Ok(stored.answer);
        }
        let mut ledger = Ledger::new(self, standing, &mut write);
        ledger.receive(&content, envelope.route.outer).await?;
        let has_queued = ledger.has_queued;
        let uplink = Uplink { hash: envelope.hash, answer: answer.clone() };
        write.add_uplink(&envelope.route, &uplink).await?;
        let subject = format!("trade {} index {}", content.trade, content.index);
        write.commit(Entry::of("message.accept", device, subject)).await?;
        if has_queued {
            self.wakes.wake(&device);
        }
        self.arrivals.wake(&(device, content.trade));
        Ok(answer)
    }

    /// Stores a refusal as the answer to these bytes: the device need not send them again.
    async fn refuse(
        &self,
        standing: &Standing,
        keys: &EpochKeys,
        envelope: &Envelope,
        reason: Reason,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let device = standing.bond.device_id;
        tracing::warn!(%device, reason = reason.code(), "message refused");
        let answer = seal(&Answer::Refused(reason.code().to_owned()), keys, bytes)?;
        let mut write = self.store.write(&Caller::Server).await?;
        self.still(&mut write, standing, keys).await?;
        if matches!(reason, Reason::SeqReused | Reason::DiskRollback | Reason::ChainMismatch) {
            write.set_alarm(&device, reason.code()).await?;
        }
        // Under a number that is taken, the first bytes keep their answer.
        if write.uplink(&envelope.route).await?.is_none() {
            let uplink = Uplink { hash: envelope.hash, answer: answer.clone() };
            write.add_uplink(&envelope.route, &uplink).await?;
        }
        write.commit(Entry::of("message.refuse", device, reason.code())).await?;
        Ok(answer)
    }

    /// Whether device and epoch are still what they were when the message was opened.
    async fn still(
        &self,
        tx: &mut Tx<'_>,
        standing: &Standing,
        keys: &EpochKeys,
    ) -> Result<(), Error> {
        let now = self.standing(tx, &standing.bond.device_id).await?;
        let last = tx.last_epoch(&now.bond.device_id, now.bond.generation).await?;
        let is_same = now.state == standing.state
            && now.bond.generation == standing.bond.generation
            && last.is_some_and(|last| last.opening.hash == keys.open_hash);
        if is_same { Ok(()) } else { Err(Error::Busy) }
    }
}

/// An answer under the epoch's answer key.
pub(super) fn seal(answer: &Answer, keys: &EpochKeys, request: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(answer.seal(&keys.answer_key(), request, &mut OsRng)?)
}
