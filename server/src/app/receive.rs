//! Messages from devices: opened, judged, and accepted together with their effect.

use std::sync::Arc;

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::enrol;
use twinseal_scheme::epoch::judge::{self, Arrival};
use twinseal_scheme::epoch::{ClosedEpoch, EpochKeys};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::message::{Envelope, Opened, Outer, open_up, open_up_closed};
use twinseal_scheme::trade::Content;

use super::bells::Bell;
use super::{App, Error, ledger};
use crate::store::{Caller, Entry, Standing, Uplink, Write};

/// An envelope, and the record that it is judged by.
pub(super) struct Request<'a> {
    pub bytes: &'a [u8],
    pub envelope: Envelope,
    pub standing: Standing,
}

/// The keys that an envelope is opened with.
enum Keys {
    Open(Arc<EpochKeys>),
    Closed(Arc<ClosedEpoch>),
}

impl App {
    /// An envelope from a device, to its answer.
    ///
    /// # Errors
    /// The reasons of form. Everything that depends on the record is [`Error::Hidden`]: whoever
    /// cannot sign as the device does not learn whether there is one.
    pub async fn message(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let envelope = Envelope::decode(bytes)?;
        if envelope.route.direction != Direction::Up {
            return Err(Error::Refused(Reason::WrongRoute));
        }
        let standing = self.standing(&envelope.route.device_id, envelope.route.generation).await?;
        let request = Request { bytes, envelope, standing };
        match request.envelope.route.seq {
            0 => self.open_epoch(&request).await,
            _ => self.receive(&request).await,
        }
    }

    /// The record of a device. For one that is not known it is a decoy, with keys that nobody
    /// has: the same work is done for it, and fails.
    pub(super) async fn standing(
        &self,
        device: &DeviceId,
        generation: u32,
    ) -> Result<Standing, Error> {
        let found = self.store.read().await?.standing(device, &self.server_id()).await?;
        let found = found.filter(|found| found.bond.generation == generation);
        Ok(found.unwrap_or_else(|| self.decoy.standing(device, generation)))
    }

    async fn receive(&self, request: &Request<'_>) -> Result<Vec<u8>, Error> {
        let (route, hash) = (&request.envelope.route, request.envelope.hash);
        let (device, generation) = (route.device_id, route.generation);
        let mut tx = self.store.read().await?;
        let taken = tx.uplink(route).await?;
        let last = tx.last_epoch(&device, generation).await?;
        let own = tx.epoch(&device, generation, route.epoch).await?;
        drop(tx);
        let has_closed_key = own.as_ref().is_some_and(|own| own.upward.is_some());
        let taken_hash = taken.as_ref().map(|taken| taken.hash);
        let open = last.as_ref().map(|last| last.opening.epoch);
        let arrival = judge::arrival(route.epoch, open, has_closed_key, taken_hash, hash);
        let keys = match (arrival, taken, own) {
            (Ok(Arrival::StoredAnswer), Some(taken), _) => return Ok(taken.answer),
            (Ok(Arrival::OpenEpoch), _, Some(own)) => {
                Keys::Open(self.epoch_keys(&request.standing, &own).await?)
            }
            (Ok(Arrival::ClosedEpoch), _, Some(own)) => {
                Keys::Closed(Arc::new(self.closed_epoch(own).await?))
            }
            (Err(reason), ..) => {
                // As much work as for a device that is known.
                let keys = Keys::Open(self.decoy.epoch_keys(route.epoch, route.sequence));
                let _ = self.unseal(request, &keys).await?;
                return Err(Error::Hidden(reason));
            }
            _ => return Err(Error::Hidden(Reason::DeviceUnknown)),
        };
        let opened = self.unseal(request, &keys).await?.map_err(Error::Hidden)?;
        // Sealed by the chip, signed by its key: from here on the device itself is told.
        if let Err(reason) = judge::sealing(taken_hash, hash) {
            self.alarm(&device, reason).await?;
            return Err(Error::Hidden(reason));
        }
        match self.refusal(&request.standing, route.sequence)? {
            None => self.accept(request, &keys, &opened.content).await,
            Some(answer) => self.answer(&answer, request, &keys),
        }
    }

    /// What a device is told that may not trade, or not under the statement of this sequence, since
    /// the server was restored after it. Before an operator has approved it, it is unknown.
    pub(super) fn refusal(
        &self,
        standing: &Standing,
        sequence: u64,
    ) -> Result<Option<Answer>, Error> {
        match enrol::judge::device(Some(standing.state)) {
            Ok(()) if sequence < self.server_keys.min_sequence => {
                Ok(Some(Answer::Refused(Reason::StatementStale.code().to_owned())))
            }
            Ok(()) => Ok(None),
            Err(Reason::DeviceRevoked) => Ok(Some(Answer::Revoked)),
            Err(Reason::DeviceQuarantined) => Ok(Some(Answer::Quarantined)),
            Err(reason) => Err(Error::Hidden(reason)),
        }
    }

    async fn unseal(
        &self,
        request: &Request<'_>,
        keys: &Keys,
    ) -> Result<Result<Opened, Reason>, Error> {
        let (bond, envelope) = (request.standing.bond.clone(), request.envelope.clone());
        match keys {
            Keys::Open(keys) => {
                let keys = keys.clone();
                self.compute(move || open_up(&bond, &keys, &envelope)).await
            }
            Keys::Closed(closed) => {
                let closed = closed.clone();
                self.compute(move || open_up_closed(&bond, &closed, &envelope)).await
            }
        }
    }

    /// One transaction: the effect, the answer, and the record of it.
    async fn accept(
        &self,
        request: &Request<'_>,
        keys: &Keys,
        content: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (route, standing) = (&request.envelope.route, &request.standing);
        let device = route.device_id;
        let mut write = self.store.write(&Caller::Device(device)).await?;
        self.check_unchanged(&mut write, standing).await?;
        let taken = match Content::decode(content) {
            Ok(content) => self.take(&mut write, standing, &content, route.outer).await,
            Err(reason) => Err(Error::Refused(reason)),
        };
        let (answer, subject) = match taken {
            Ok(trade) => (Answer::Accepted, format!("trade {trade}")),
            Err(Error::Refused(reason)) => {
                tracing::warn!(%device, reason = reason.code(), "message refused");
                if is_alarming(reason) {
                    write.set_alarm(&device, reason.code()).await?;
                }
                (Answer::Refused(reason.code().to_owned()), reason.code().to_owned())
            }
            Err(error) => return Err(error),
        };
        let answer = self.answer(&answer, request, keys)?;
        let uplink = Uplink { hash: request.envelope.hash, answer: answer.clone() };
        write.add_uplink(route, &uplink).await.map_err(|error| match error.is_conflict() {
            true => Error::Busy,
            false => error.into(),
        })?;
        let subject = format!("epoch {} seq {}: {subject}", route.epoch, route.seq);
        write.commit(Entry::of("message.receive", device, subject)).await?;
        for bell in [Bell::Up(device), Bell::Inbox, Bell::Down(device)] {
            self.bells.ring(bell);
        }
        Ok(answer)
    }

    /// Takes a message into its trade; nothing is written when it is refused.
    async fn take(
        &self,
        write: &mut Write<'_>,
        standing: &Standing,
        content: &Content,
        outer: Outer,
    ) -> Result<twinseal_scheme::id::TradeId, Error> {
        let device = standing.bond.device_id;
        if write.inbox_len(&device).await? >= self.limits.inbox_max {
            return Err(Error::Busy);
        }
        if let Some(mut trade) = ledger::take(self, write, &device, content, outer).await? {
            ledger::settle(self, write, standing, &mut trade).await?;
        }
        Ok(content.trade)
    }

    /// The record must be the one that the request was judged by.
    pub(super) async fn check_unchanged(
        &self,
        write: &mut Write<'_>,
        standing: &Standing,
    ) -> Result<(), Error> {
        let bond = &standing.bond;
        let now = write.standing(&bond.device_id, &bond.server_id).await?.ok_or(Error::Busy)?;
        let then = (bond.generation, bond.keyset, standing.state);
        match (now.bond.generation, now.bond.keyset, now.state) == then {
            true => Ok(()),
            false => Err(Error::Busy),
        }
    }

    /// Notes an alarm.
    pub(super) async fn alarm(&self, device: &DeviceId, reason: Reason) -> Result<(), Error> {
        let mut write = self.store.write(&Caller::Device(*device)).await?;
        write.set_alarm(device, reason.code()).await?;
        Ok(write.commit(Entry::of("device.alarm", *device, reason.code())).await?)
    }

    fn answer(&self, answer: &Answer, to: &Request<'_>, keys: &Keys) -> Result<Vec<u8>, Error> {
        match keys {
            Keys::Open(keys) => Ok(answer.seal(&keys.answer_key(), to.bytes, &mut OsRng)?),
            // The downward key of a closed epoch is gone.
            Keys::Closed(_) => self.signed_answer(answer, to),
        }
    }

    /// An answer where no epoch is shared; only to what the device's key has signed.
    pub(super) fn signed_answer(
        &self,
        answer: &Answer,
        to: &Request<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.sign(answer.unsigned(&to.standing.bond.device_id, to.bytes))
    }
}

/// Whether only a fault or an attack explains it.
fn is_alarming(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DiskRollback
            | Reason::ChainMismatch
            | Reason::ReceiptMismatch
            | Reason::ReceiptOfAnother
            | Reason::BadDeviceSignature
    )
}
