//! Messages to devices: sealed when they are fetched, the same bytes until acknowledged or until
//! the epoch ends.

use std::time::Duration;

use rand_core::OsRng;
use tokio::time::Instant;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::{Ack, Answer, Fetch, FetchRoute};
use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::EpochKeys;
use twinseal_scheme::id::{DeviceId, TradeId};
use twinseal_scheme::message::{Envelope, seal_down};
use twinseal_scheme::trade::{Content, Index, Row};

use super::receive::seal;
use super::{App, Error};
use crate::store::{Caller, Entry, MessageKey, Standing, State, StoreError};

impl App {
    /// Answers a fetch: takes its acknowledgements, then gives the next message down, at once or
    /// when there is one.
    ///
    /// # Errors
    /// [`Error`], of which a device is told one word.
    pub async fn fetch(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let (route, sealed) = Fetch::route(bytes)?;
        let (standing, keys) = self.fetching(&route).await?;
        let fetch = Fetch::open(&route, &sealed, &keys)?;
        match standing.state {
            State::Active => (),
            State::Revoked => return seal(&Answer::Revoked, &keys, bytes),
            State::Quarantined => return seal(&Answer::Quarantined, &keys, bytes),
            State::Awaiting => return Err(Error::Refused(Reason::DeviceUnknown)),
        }
        self.acknowledge(&route.device_id, &fetch.acks).await?;
        let wait = Duration::from_millis(fetch.wait_ms.into()).min(self.limits.poll_max);
        let deadline = Instant::now() + wait;
        let mut stopping = self.stopping.subscribe();
        loop {
            let waiter = self.wakes.waiter(route.device_id);
            // The device may have gone on, or have been revoked, while this one waited.
            let (standing, keys) = self.fetching(&route).await?;
            if standing.state == State::Active
                && let Some(envelope) = self.next_down(&standing, &keys).await?
            {
                return seal(&Answer::Downlink(envelope), &keys, bytes);
            }
            let is_over = tokio::select! {
                in_time = waiter.wait(deadline) => !in_time,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => true,
            };
            if is_over {
                return seal(&Answer::Nothing, &keys, bytes);
            }
        }
    }

    async fn fetching(&self, route: &FetchRoute) -> Result<(Standing, EpochKeys), Error> {
        let mut tx = self.store.read().await?;
        let standing = self.standing(&mut tx, &route.device_id).await?;
        if route.generation != standing.bond.generation {
            return Err(Error::Refused(Reason::WrongRoute));
        }
        let keys = self.open_epoch_keys(&mut tx, &standing, route.epoch).await?;
        Ok((standing, keys))
    }

    /// Takes messages off the device's queue that it has durably. Doing so twice is one.
    async fn acknowledge(&self, device: &DeviceId, acks: &[Ack]) -> Result<(), Error> {
        if acks.is_empty() {
            return Ok(());
        }
        let mut write = self.store.write(&Caller::Device(*device)).await?;
        for ack in acks {
            let key = MessageKey {
                device: *device,
                trade: TradeId(ack.trade_id),
                direction: Direction::Down,
                index: Index::new(ack.index)?,
            };
            // An acknowledgement of something else than was sent takes nothing off the queue.
            let is_this = write.message(&key).await?.is_some_and(|message| match message.row {
                Row::Message(content) => content.inner_hash(Direction::Down).0 == ack.inner_hash,
                Row::Withdrawn(_) => false,
            });
            if is_this {
                write.acknowledge(&key).await?;
            } else {
                tracing::warn!(%device, "an acknowledgement of something that was not sent");
            }
        }
        Ok(write.commit(Entry::of("message.acknowledge", *device, acks.len().to_string())).await?)
    }

    /// The message that has waited longest, sealed for this epoch.
    async fn next_down(
        &self,
        standing: &Standing,
        keys: &EpochKeys,
    ) -> Result<Option<Vec<u8>>, Error> {
        let (device, generation) = (standing.bond.device_id, standing.bond.generation);
        let mut tx = self.store.read().await?;
        let Some((key, _)) = tx.next_down(&device).await? else { return Ok(None) };
        if let Some(envelope) = tx.sealing(&key, generation, keys.epoch).await? {
            return Ok(Some(envelope));
        }
        drop(tx);
        let mut write = self.store.write(&Caller::Server).await?;
        let Some((key, content)) = write.next_down(&device).await? else { return Ok(None) };
        if let Some(envelope) = write.sealing(&key, generation, keys.epoch).await? {
            return Ok(Some(envelope));
        }
        let trade = write.trade(&device, &key.trade).await?;
        let outer = trade.ok_or(StoreError::Corrupt("trades"))?.trade.outer();
        let seq = write.next_seq_down(&device, generation, keys.epoch).await?;
        let envelope = self.seal_down(standing, keys, outer, seq, &content)?;
        let hash = Envelope::decode(&envelope)?.hash;
        write.add_sealing(&key, (generation, keys.epoch, seq), &envelope, &hash).await?;
        write.commit(Entry::of("message.seal", device, format!("seq {seq}"))).await?;
        Ok(Some(envelope))
    }

    fn seal_down(
        &self,
        standing: &Standing,
        keys: &EpochKeys,
        outer: twinseal_scheme::message::Outer,
        seq: u32,
        content: &Content,
    ) -> Result<Vec<u8>, Error> {
        let unsigned = seal_down(&standing.bond, keys, outer, seq, &content.encode());
        let signature = self.secrets.signing.sign(unsigned.to_sign())?;
        Ok(unsigned.finish(&signature, &mut OsRng)?)
    }
}
