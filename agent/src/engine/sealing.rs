//! The sealing lane: one message after the other gets its number, the chip's signature and its
//! place in the outbox. No number is ever given twice.

use std::sync::Arc;

use rand_core::OsRng;
use tokio::sync::MutexGuard;
use twinseal_hardware::{Caller as Turn, ChipKeys};
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::EpochKeys;
use twinseal_scheme::epoch::judge::CounterState;
use twinseal_scheme::message::{Outer, seal_up};
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_scheme::trade::Content;

use super::{Engine, OWN_LANE, lock};
use crate::store::{Sealed, TradeRow};
use crate::{Error, Kind};

/// What an epoch works with. Wiped when the last user of it is done.
pub(super) struct OpenEpoch {
    pub bond: Bond,
    pub keys: EpochKeys,
    pub device_keys: ChipKeys,
    pub server_keys: ServerKeys,
    /// How the chip's counter stood when the epoch began.
    pub found: CounterState,
}

/// The state of the lane: whoever holds it may seal, change trades, and begin and end epochs.
#[derive(Default)]
pub(super) struct Lane {
    /// The last number that was given.
    seq: u32,
}

impl Lane {
    /// The next number. It is given before anything can fail, so it is never given again.
    fn next_seq(&mut self) -> Result<u32, Error> {
        self.seq = self.seq.checked_add(1).ok_or_else(|| {
            Error::new(Kind::Busy, "this epoch has no numbers left").and("restart the agent")
        })?;
        Ok(self.seq)
    }
}

impl Engine {
    /// The epoch that is open.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) fn epoch(&self) -> Result<Arc<OpenEpoch>, Error> {
        let open = lock(&self.open_epoch).clone();
        open.map_or_else(
            || {
                self.current_status().state.active()?;
                Err(Error::new(Kind::Busy, "a new epoch is being opened"))
            },
            Ok,
        )
    }

    pub(super) fn begin_epoch(&self, lane: &mut Lane, epoch: OpenEpoch) {
        *lane = Lane::default();
        *lock(&self.open_epoch) = Some(Arc::new(epoch));
    }

    pub(super) fn end_epoch(&self, _lane: &mut Lane) {
        *lock(&self.open_epoch) = None;
    }

    /// The lane, where trades can be made now.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) async fn open_lane(&self) -> Result<MutexGuard<'_, Lane>, Error> {
        let lane = self.lane.lock().await;
        self.epoch()?;
        Ok(lane)
    }

    /// Seals one content. Nothing is stored yet.
    pub(super) async fn seal_in(
        &self,
        lane: &mut Lane,
        turn: Turn,
        outer: Outer,
        content: Content,
    ) -> Result<Sealed, Error> {
        let epoch = self.epoch()?;
        let seq = lane.next_seq()?;
        let encoded = content.encode();
        let unsigned = seal_up(&epoch.bond, &epoch.keys, outer, seq, &encoded, &mut OsRng)?;
        let chip = self.hardware.lane(turn);
        let signature = chip.sign(epoch.device_keys.signing(), unsigned.digest()).await?;
        Ok(Sealed {
            generation: epoch.bond.generation,
            epoch: epoch.keys.epoch,
            envelope: unsigned.finish(&signature)?,
            outer,
            content,
        })
    }

    /// Seals a trade's messages and makes them, and the trade as it is after them, durable.
    /// Until then nothing has happened; the numbers are used up.
    pub(super) async fn seal_and_keep(
        &self,
        lane: &mut Lane,
        turn: Turn,
        row: TradeRow,
        contents: Vec<Content>,
        receipt: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let mut sealed = vec![];
        for content in contents {
            sealed.push(self.seal_in(lane, turn, row.trade.outer(), content).await?);
        }
        let epoch = self.epoch()?.keys.epoch;
        let limit = self.config.limits.outbox;
        let keep = self.store.run(move |tx| {
            if tx.pending()? >= limit {
                return Err(Error::new(Kind::Busy, "the outbox is full")
                    .and("let the courier reach the server"));
            }
            tx.put_trade(&row, epoch)?;
            sealed.iter().try_for_each(|sealed| tx.push(sealed))?;
            if let Some(receipt) = receipt {
                tx.put_receipt(row.trade.id(), &receipt)?;
            }
            tx.pending()
        });
        self.set_pending(keep.await?);
        Ok(())
    }

    /// Seals again, in the present epoch, what the server could not accept as it was.
    pub(super) async fn seal_anew(&self, lane: &mut Lane) -> Result<(), Error> {
        while let Some((id, outer, content)) = self.store.run(|tx| tx.next_to_seal_anew()).await? {
            let sealed = self.seal_in(lane, OWN_LANE, outer, content).await?;
            let keep = self.store.run(move |tx| {
                tx.take_out(id)?;
                tx.push(&sealed)?;
                tx.pending()
            });
            self.set_pending(keep.await?);
        }
        Ok(())
    }
}
