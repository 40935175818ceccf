//! The contact with the server: when it was last heard, and whether its keys have changed.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::time::Instant;
use twinseal_scheme::enrol::{Challenge, Request};

use super::carrier::{SlotName, Worth};
use super::{Engine, lock};
use crate::{Error, Event};

/// After so long without an answer that proves itself, and then as often, the server is asked
/// for its newest `server_keys` statement.
const SILENCE: Duration = Duration::from_secs(60);
/// Waits before another epoch after refused ones: the first, and the longest, since every epoch
/// wears the chip's counter.
const REOPEN_MIN: Duration = Duration::from_secs(5);
const REOPEN_MAX: Duration = Duration::from_secs(3600);

/// What is known of the contact, at this start.
pub(super) struct Contact {
    heard: Instant,
    asked: Option<Instant>,
    /// Something hints at keys that this device has not heard of.
    is_wanted: bool,
    /// Epochs in a row that the server has refused.
    refusals: u32,
    /// Before this, no other epoch is opened.
    reopen_at: Option<Instant>,
}

impl Contact {
    pub(super) fn new(now: Instant) -> Contact {
        Contact { heard: now, asked: None, is_wanted: false, refusals: 0, reopen_at: None }
    }

    /// The server has proven itself.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn want_statement(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn epoch_accepted(&mut self) {
        (self.refusals, self.reopen_at) = (0, None);
    }

    pub(super) fn epoch_refused(&mut self, now: Instant) {
        let pause = REOPEN_MIN.saturating_mul(1 << self.refusals.min(12)).min(REOPEN_MAX);
        self.refusals = self.refusals.saturating_add(1);
        self.reopen_at = Some(now + pause);
        self.is_wanted = true;
    }

    /// When another epoch may be opened, unless that is now.
    pub(super) fn reopen_at(&self, now: Instant) -> Option<Instant> {
        self.reopen_at.filter(|at| now < *at)
    }

    fn statement_is_new(&mut self) {
        self.reopen_at = None;
    }

    /// A question for the newest statement, when one is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Request> {
        let silent = now.duration_since(self.heard) >= SILENCE;
        let rested = self.asked.is_none_or(|asked| now.duration_since(asked) >= SILENCE);
        if !(rested && (silent || self.is_wanted)) {
            return None;
        }
        (self.asked, self.is_wanted) = (Some(now), false);
        let mut nonce_d = [0; 32];
        OsRng.fill_bytes(&mut nonce_d);
        Some(Request { nonce_d })
    }
}

impl Engine {
    /// A question for the newest statement, when one is due and there is a server to ask.
    pub(super) async fn inquiry(&self) -> Result<Option<Request>, Error> {
        if self.epoch().is_err() && lock(&self.contact).reopen_at(Instant::now()).is_none() {
            return Ok(None);
        }
        Ok(lock(&self.contact).due(Instant::now()))
    }

    /// M0 outside an enrolment: only its statement counts. A newer one begins a new epoch, and
    /// what was sealed under statements that are void now is sealed again.
    pub(super) async fn inquiry_answered(
        &self,
        request: &Request,
        body: &[u8],
    ) -> Result<Worth, Error> {
        let Some(device) = self.store.run(|tx| tx.device()).await? else {
            return Ok(Worth::Proven);
        };
        let last = device.server_keys.sequence;
        let accepted = Challenge::accept(body, request, &device.bond.server_id, last);
        let Ok(accepted) = accepted else { return Ok(Worth::Nothing) };
        lock(&self.contact).heard(Instant::now());
        if accepted.server_keys.sequence == last {
            return Ok(Worth::Proven);
        }
        tracing::info!(sequence = accepted.server_keys.sequence, "the server has new keys");
        let mut lane = self.lane.lock().await;
        // A rotation keeps what is least acceptable, a restore of the server raises it.
        let was_restored = accepted.server_keys.min_sequence > last;
        let epoch = lock(&self.open_epoch).as_ref().map_or(0, |epoch| epoch.keys.epoch);
        let keep = self.store.run(move |tx| {
            tx.put_statement(&accepted.statement)?;
            let ended = if was_restored { tx.end_trades_heard(epoch)? } else { vec![] };
            tx.seal_anew_below(accepted.server_keys.min_sequence)?;
            Ok((tx.pending()?, ended))
        });
        let (pending, ended) = keep.await?;
        self.set_pending(pending);
        self.end_epoch(&mut lane);
        drop(lane);
        if was_restored {
            let trades = ended.len();
            tracing::warn!(trades, "the server was restored; trades that it knew have ended");
        }
        self.news.send_replace(());
        for (uid, trade) in ended {
            self.tell(Event::Closed { uid, trade });
        }
        lock(&self.contact).statement_is_new();
        self.unsettled.notify_one();
        self.clear_slot(SlotName::Fetch);
        Ok(Worth::Proven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_asks_once_a_minute_and_a_hint_at_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut contact = Contact::new(start);
        assert_eq!(contact.due(at(59)), None);
        let first = contact.due(at(60)).unwrap();
        assert_eq!(contact.due(at(61)), None);
        assert_ne!(contact.due(at(120)), Some(first), "a new nonce each time");
        contact.heard(at(200));
        assert_eq!(contact.due(at(201)), None);
        contact.want_statement();
        assert!(contact.due(at(201)).is_some());
        assert_eq!(contact.due(at(202)), None);
    }

    #[test]
    fn refused_epochs_come_ever_more_slowly() {
        let start = Instant::now();
        let mut contact = Contact::new(start);
        let mut pauses = vec![];
        for _ in 0..15 {
            contact.epoch_refused(start);
            pauses.push(contact.reopen_at(start).unwrap() - start);
        }
        assert_eq!(pauses.first(), Some(&REOPEN_MIN));
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&REOPEN_MAX));
        contact.epoch_accepted();
        assert_eq!(contact.reopen_at(start), None);
    }
}
