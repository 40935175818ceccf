//! What the server says to messages and fetches. Only what it sealed or signed is believed;
//! everything else leaves the outbox as it was.

use std::sync::Arc;

use rand_core::OsRng;
use tokio::time::Instant;
use twinseal_scheme::answer::{Ack, Answer, Fetch, FetchRoute};
use twinseal_scheme::trade::Stage;
use twinseal_scheme::{Reason, Secret};

use super::carrier::{Cargo, Worth};
use super::sealing::OpenEpoch;
use super::{Engine, lock, now};
use crate::store::{OutRow, Standing};
use crate::{CarryKind, Error, Event, Kind, State, TradeId};

/// Refusals that are not about what a message says, but about when it was sealed.
const SEAL_ANEW: [Reason; 5] = [
    Reason::EpochNotOpen,
    Reason::EpochClosed,
    Reason::EpochStale,
    Reason::EpochOvertaken,
    Reason::StatementStale,
];

impl Engine {
    /// The envelope to carry next. What is finished can travel without the chip.
    pub(super) async fn next_message(&self) -> Result<Option<OutRow>, Error> {
        let has_ended = matches!(self.current_status().state, State::Suspended | State::Revoked);
        if has_ended || !self.is_carried_home() {
            return Ok(None);
        }
        self.store.run(|tx| tx.first()).await
    }

    /// A fetch, once the server knows the epoch.
    pub(super) async fn fetch(&self) -> Result<Option<(CarryKind, Vec<u8>, Cargo)>, Error> {
        let Ok(epoch) = self.epoch() else { return Ok(None) };
        if !self.is_carried_home() {
            return Ok(None);
        }
        let (generation, number) = (epoch.bond.generation, epoch.keys.epoch);
        let (waits, acks) = self
            .store
            .run(move |tx| Ok((tx.waits_for_opening(generation, number)?, tx.acks()?)))
            .await?;
        if waits {
            return Ok(None);
        }
        let device_id = epoch.bond.device_id;
        let route = FetchRoute { device_id, generation, epoch: number };
        let fetch = Fetch { wait_ms: self.config.limits.fetch_wait_ms, acks };
        let request = fetch.seal(&route, &epoch.keys, &mut OsRng)?;
        let cargo = Cargo::Fetch { epoch, request: request.clone(), acks: fetch.acks };
        Ok(Some((CarryKind::Fetch, request, cargo)))
    }

    pub(super) async fn message_answered(&self, row: &OutRow, body: &[u8]) -> Result<Worth, Error> {
        let asked = row.clone();
        let key = self
            .store
            .run(move |tx| match tx.out_row(asked.id)? {
                Some(_) => tx.answer_key(&asked).map(Some),
                None => Ok(None),
            })
            .await?;
        // Sealed anew, or dropped, meanwhile.
        let Some(key) = key else { return Ok(Worth::Proven) };
        let Some(answer) = self.verified(&key, &row.envelope, body).await? else {
            return Ok(Worth::Nothing);
        };
        let id = row.id;
        match answer {
            Answer::Accepted => {
                let heard = now();
                let keep = self.store.run(move |tx| {
                    tx.take_out(id)?;
                    tx.put_last_contact(heard)?;
                    tx.pending()
                });
                self.set_pending(keep.await?);
                if row.trade.is_none() {
                    lock(&self.contact).epoch_accepted();
                }
                self.news.send_replace(());
            }
            Answer::Refused(code) => self.message_refused(row, &code).await?,
            Answer::Revoked => self.stop_with(Standing::Revoked).await?,
            Answer::Quarantined => self.stop_with(Standing::Suspended).await?,
            Answer::Downlink(_) | Answer::Nothing => return Ok(Worth::Nothing),
        }
        Ok(Worth::Proven)
    }

    pub(super) async fn fetch_answered(
        &self,
        epoch: &Arc<OpenEpoch>,
        request: &[u8],
        acks: &[Ack],
        body: &[u8],
    ) -> Result<Worth, Error> {
        let Some(answer) = self.verified(&epoch.keys.answer_key(), request, body).await? else {
            return Ok(Worth::Nothing);
        };
        if !acks.is_empty() {
            let acks = acks.to_vec();
            self.store.run(move |tx| tx.take_acks(&acks)).await?;
        }
        match answer {
            Answer::Nothing => Ok(Worth::Proven),
            Answer::Downlink(envelope) => {
                let delivered = self.deliver_fetched(epoch, &envelope).await;
                if let Err(error) = &delivered
                    && error.kind == Kind::Rejected
                {
                    // The server may have keys that this device has not heard of.
                    lock(&self.contact).want_statement();
                }
                delivered.map(|()| Worth::Proven)
            }
            Answer::Refused(code) => {
                tracing::warn!(code, "the server refuses a fetch");
                lock(&self.contact).want_statement();
                Ok(Worth::Nothing)
            }
            Answer::Revoked => self.stop_with(Standing::Revoked).await.map(|()| Worth::Proven),
            Answer::Quarantined => {
                self.stop_with(Standing::Suspended).await.map(|()| Worth::Proven)
            }
            Answer::Accepted => Ok(Worth::Nothing),
        }
    }

    /// The answer, if the server made it to this very request.
    async fn verified(
        &self,
        key: &Secret,
        request: &[u8],
        body: &[u8],
    ) -> Result<Option<Answer>, Error> {
        let answer = match Answer::open(key, request, body) {
            Ok(answer) => Some(answer),
            Err(_) => {
                let device = self.store.run(|tx| tx.device()).await?;
                device.and_then(|device| {
                    let signing = &device.server_keys.signing;
                    Answer::verify(signing, &device.bond.device_id, request, body).ok()
                })
            }
        };
        if answer.is_some() {
            lock(&self.status).last_contact = now();
            lock(&self.contact).heard(Instant::now());
        }
        Ok(answer)
    }

    async fn message_refused(&self, row: &OutRow, code: &str) -> Result<(), Error> {
        tracing::warn!(code, epoch = row.epoch, "the server refuses an envelope");
        let is_about_time = SEAL_ANEW.iter().any(|reason| reason.code() == code);
        match row.trade {
            Some(trade) if !is_about_time => self.refuse_trade(row.id, trade).await,
            _ => self.refuse_epoch(row).await,
        }
    }

    /// The trade is over; the application hears of it.
    async fn refuse_trade(&self, id: i64, trade: TradeId) -> Result<(), Error> {
        let lane = self.lane.lock().await;
        let epoch = lock(&self.open_epoch).as_ref().map_or(0, |epoch| epoch.keys.epoch);
        let keep = self.store.run(move |tx| {
            tx.take_out(id)?;
            let found = tx.trade(trade)?.filter(|row| row.trade.stage() != Stage::Ended);
            let owner = match found {
                Some(mut row) => {
                    row.trade.refuse();
                    tx.put_trade(&row, epoch)?;
                    row.owner
                }
                None => None,
            };
            Ok((owner, tx.pending()?))
        });
        let (owner, pending) = keep.await?;
        drop(lane);
        self.set_pending(pending);
        self.news.send_replace(());
        if let Some(uid) = owner {
            self.tell(Event::Closed { uid, trade });
        }
        Ok(())
    }

    /// The epoch cannot be used: what it sealed is sealed again in another.
    async fn refuse_epoch(&self, row: &OutRow) -> Result<(), Error> {
        let mut lane = self.lane.lock().await;
        let (generation, number) = (row.generation, row.epoch);
        let keep = self.store.run(move |tx| {
            tx.seal_anew(generation, number)?;
            tx.pending()
        });
        self.set_pending(keep.await?);
        let is_present = lock(&self.open_epoch).as_ref().is_some_and(|open| {
            open.bond.generation == row.generation && open.keys.epoch == row.epoch
        });
        if is_present {
            lock(&self.contact).epoch_refused(Instant::now());
            self.end_epoch(&mut lane);
        }
        self.unsettled.notify_one();
        Ok(())
    }

    /// The server has ended or suspended the enrolment.
    async fn stop_with(&self, standing: Standing) -> Result<(), Error> {
        let mut lane = self.lane.lock().await;
        self.store.run(move |tx| tx.put_standing(standing)).await?;
        self.end_epoch(&mut lane);
        drop(lane);
        let kind = match standing {
            Standing::Revoked => Kind::Revoked,
            _ => Kind::Suspended,
        };
        self.note(&kind.into());
        self.news.send_replace(());
        Ok(())
    }
}
