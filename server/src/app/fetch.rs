//! Fetches: a device asks for the next message down, and waits for it (docs/scheme.md section 7).

use std::sync::Arc;
use std::time::Duration;

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::{Ack, Answer, Fetch};
use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::EpochKeys;
use twinseal_scheme::id::{InnerHash, TradeId};
use twinseal_scheme::message::seal_down;
use twinseal_scheme::trade::{Content, Index};

use super::bells::Bell;

use super::{App, Error};
use crate::store::{Caller, Entry, MessageKey, Standing};

impl App {
    /// A fetch, to an answer with at most one message.
    ///
    /// # Errors
    /// The reasons of form; all else is [`Error::Hidden`].
    pub async fn fetch(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let (route, sealed) = Fetch::route(bytes)?;
        let standing = self.standing(&route.device_id, route.generation).await?;
        let last = self.store.read().await?.last_epoch(&route.device_id, route.generation).await?;
        let last = last.filter(|last| last.opening.epoch == route.epoch);
        let keys = match &last {
            Some(last) => self.epoch_keys(&standing, last).await?,
            // As much work as for a device that is known.
            None => self.decoy.epoch_keys(route.epoch, 0),
        };
        let opened = Fetch::open(&route, &sealed, &keys);
        let fetch = match last {
            Some(_) => opened.map_err(Error::Hidden)?,
            None => return Err(Error::Hidden(Reason::EpochNotOpen)),
        };
        let answer = match self.refusal(&standing, keys.sequence)? {
            Some(answer) => answer,
            None => {
                self.acknowledge(&standing, &fetch.acks).await?;
                self.next_down(&standing, &keys, fetch.wait_ms).await?
            }
        };
        Ok(answer.seal(&keys.answer_key(), bytes, &mut OsRng)?)
    }

    /// Takes acknowledged messages off the queue. What is unknown, or acknowledged, is passed over.
    async fn acknowledge(&self, standing: &Standing, acks: &[Ack]) -> Result<(), Error> {
        if acks.is_empty() {
            return Ok(());
        }
        let device = standing.bond.device_id;
        let mut write = self.store.write(&Caller::Device(device)).await?;
        let mut taken = 0;
        for ack in acks {
            let Ok(index) = Index::new(ack.index) else { continue };
            let (trade, direction) = (TradeId(ack.trade_id), Direction::Down);
            let key = MessageKey { device, trade, direction, index };
            taken += u32::from(write.acknowledge(&key, &InnerHash(ack.inner_hash)).await?);
        }
        match taken {
            0 => Ok(()),
            _ => Ok(write
                .commit(Entry::of("message.acknowledge", device, taken.to_string()))
                .await?),
        }
    }

    /// Waits for the next message and seals it, or gives what it was sealed to in this epoch.
    async fn next_down(
        &self,
        standing: &Standing,
        keys: &Arc<EpochKeys>,
        wait_ms: u32,
    ) -> Result<Answer, Error> {
        let device = standing.bond.device_id;
        let (generation, epoch) = (standing.bond.generation, keys.epoch);
        // A fetch can be sent again by anybody who has seen it: copies must not use up all polls.
        let is_alone = self.bells.listeners(Bell::Down(device)) < self.limits.device_polls_max;
        let permit = self.polls.try_acquire().ok().filter(|_| is_alone);
        let wait = Duration::from_millis(wait_ms.into()).min(self.limits.poll_max);
        let wait = if permit.is_some() { wait } else { Duration::ZERO };
        let look = move || async move {
            let mut tx = self.store.read().await?;
            // A fetch of before would hold up the courier, who carries few things at once.
            if !tx.is_last_epoch(&device, generation, epoch).await? {
                return Err(Error::Hidden(Reason::EpochNotOpen));
            }
            let Some((key, content)) = tx.next_down(&device).await? else { return Ok(None) };
            let sealed = tx.sealing(&key, generation, epoch).await?;
            Ok(Some((key, content, sealed)))
        };
        match self.bells.wait(Bell::Down(device), wait, look).await? {
            None => Ok(Answer::Nothing),
            Some((_, _, Some(envelope))) => Ok(Answer::Downlink(envelope)),
            Some((key, content, None)) => {
                Ok(Answer::Downlink(self.seal(standing, keys, &key, &content).await?))
            }
        }
    }

    /// Seals a message for this epoch, once.
    async fn seal(
        &self,
        standing: &Standing,
        keys: &EpochKeys,
        key: &MessageKey,
        content: &Content,
    ) -> Result<Vec<u8>, Error> {
        let bond = &standing.bond;
        let (device, generation, epoch) = (bond.device_id, bond.generation, keys.epoch);
        let mut write = self.store.write(&Caller::Device(device)).await?;
        self.check_unchanged(&mut write, standing).await?;
        if let Some(envelope) = write.sealing(key, generation, epoch).await? {
            return Ok(envelope);
        }
        let open = write.last_epoch(&device, generation).await?;
        let trade = write.trade(&device, &key.trade).await?;
        let (Some(open), Some(stored)) = (open, trade) else { return Err(Error::Busy) };
        if open.opening.epoch != epoch {
            return Err(Error::Busy);
        }
        let seq = write.next_seq_down(&device, generation, epoch).await?;
        let unsigned = seal_down(bond, keys, stored.trade.outer(), seq, &content.encode());
        let signature = self.secrets.signing.sign(unsigned.to_sign())?;
        let envelope = unsigned.finish(&signature, &mut OsRng)?;
        write.put_sealing(key, (generation, epoch, seq), &envelope).await?;
        let subject = format!("trade {} index {}", key.trade, key.index);
        write.commit(Entry::of("message.seal", device, subject)).await?;
        Ok(envelope)
    }
}
