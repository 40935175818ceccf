//! What the courier gets to carry, and what becomes of what he brings back.
//!
//! Three slots, each with at most one thing under way: enrolment and inquiries, messages, and
//! fetches, which the server may hold for a while.

use std::sync::Arc;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::time::{Instant, timeout_at};
use twinseal_scheme::answer::Ack;
use twinseal_scheme::enrol::Request;

use super::sealing::OpenEpoch;
use super::{Engine, lock};
use crate::store::OutRow;
use crate::{Caller, Carry, CarryId, CarryKind, Error, Kind, Outcome};

/// After this time a courier that said nothing is taken to be gone.
const LEASE: Duration = Duration::from_secs(150);
/// Waits after answers that prove nothing: the first, and the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The courier has its own backoff where nobody answers.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// The slots, in the order in which they are looked at.
#[derive(Default)]
pub(super) struct Carrier {
    last: CarryId,
    slots: [Slot; 3],
}

const SLOTS: [SlotName; 3] = [SlotName::Enrolment, SlotName::Message, SlotName::Fetch];

#[derive(Clone, Copy)]
pub(super) enum SlotName {
    Enrolment = 0,
    Message = 1,
    Fetch = 2,
}

#[derive(Default)]
struct Slot {
    under_way: Option<UnderWay>,
    not_before: Option<Instant>,
    /// Answers in a row that prove nothing.
    failures: u32,
}

struct UnderWay {
    id: CarryId,
    connection: String,
    since: Instant,
    /// Taken out when it is answered.
    cargo: Option<Cargo>,
}

/// What is under way, as it is needed to judge the answer.
#[derive(Clone)]
pub(super) enum Cargo {
    /// The message of an enrolment that is durable and unanswered.
    Enrolment { kind: CarryKind, request: Vec<u8> },
    /// A question for the server's newest statement.
    Inquiry(Request),
    /// An envelope of the outbox.
    Message(OutRow),
    /// A fetch, the epoch it is under, and the acknowledgements in it.
    Fetch { epoch: Arc<OpenEpoch>, request: Vec<u8>, acks: Vec<Ack> },
}

/// What an answer was worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It proved itself: go on.
    Proven,
    /// It proved itself, and says to ask again later.
    Later(Duration),
    /// It proves nothing: the same bytes again, after a while.
    Nothing,
}

impl Carrier {
    fn slot(&mut self, name: SlotName) -> &mut Slot {
        // An array of three, and an enum of three.
        let [enrolment, message, fetch] = &mut self.slots;
        match name {
            SlotName::Enrolment => enrolment,
            SlotName::Message => message,
            SlotName::Fetch => fetch,
        }
    }

    /// Whether something may be put under way; else, when to look again.
    fn is_free(&mut self, name: SlotName, now: Instant) -> Result<(), Option<Instant>> {
        let slot = self.slot(name);
        if slot.under_way.as_ref().is_some_and(|it| now < it.since + LEASE) {
            return Err(None);
        }
        match slot.not_before {
            Some(not_before) if now < not_before => Err(Some(not_before)),
            _ => Ok(()),
        }
    }

    fn put_under_way(&mut self, name: SlotName, connection: &str, cargo: Cargo) -> CarryId {
        self.last += 1;
        let (id, since) = (self.last, Instant::now());
        let connection = connection.to_owned();
        self.slot(name).under_way = Some(UnderWay { id, connection, since, cargo: Some(cargo) });
        id
    }

    /// Takes what is answered; it stays under way until it is judged.
    fn take(&mut self, id: CarryId, connection: &str) -> Option<(SlotName, Cargo)> {
        SLOTS.into_iter().find_map(|name| {
            let under_way = self.slot(name).under_way.as_mut()?;
            let is_it = under_way.id == id && under_way.connection == connection;
            is_it.then(|| under_way.cargo.take()).flatten().map(|cargo| (name, cargo))
        })
    }

    fn judged(&mut self, name: SlotName, id: CarryId, pause: Option<Duration>, is_failure: bool) {
        let slot = self.slot(name);
        if slot.under_way.as_ref().is_some_and(|it| it.id == id) {
            slot.under_way = None;
        }
        slot.failures = if is_failure { slot.failures.saturating_add(1) } else { 0 };
        slot.not_before = pause.map(|pause| Instant::now() + pause);
    }

    /// Lets a slot go on at once, with something new.
    pub(super) fn clear(&mut self, name: SlotName) {
        *self.slot(name) = Slot::default();
    }

    fn gone(&mut self, connection: &str) {
        for name in SLOTS {
            let slot = self.slot(name);
            let is_his = |it: &mut UnderWay| it.connection == connection && it.cargo.is_some();
            slot.under_way.take_if(is_his);
        }
    }
}

impl Engine {
    pub(crate) async fn next(
        &self,
        caller: &Caller,
        wait: Duration,
    ) -> Result<Option<Carry>, Error> {
        self.access.courier(caller)?;
        let deadline = Instant::now() + wait;
        let mut work = self.work.subscribe();
        loop {
            work.mark_unchanged();
            let (carry, look_again) = self.choose(caller).await?;
            if carry.is_some() || Instant::now() >= deadline {
                return Ok(carry);
            }
            let until = look_again.map_or(deadline, |at| at.min(deadline));
            let _ = timeout_at(until, work.changed()).await;
        }
    }

    /// Puts the next thing under way; else says when to look again, if that is known.
    async fn choose(&self, caller: &Caller) -> Result<(Option<Carry>, Option<Instant>), Error> {
        let _choosing = self.choosing.lock().await;
        let mut look_again: Option<Instant> = None;
        for name in SLOTS {
            let free = lock(&self.carrier).is_free(name, Instant::now());
            if let Err(at) = free {
                look_again = [look_again, at].into_iter().flatten().min();
                continue;
            }
            if let Some((kind, body, cargo)) = self.cargo(name).await? {
                let id = lock(&self.carrier).put_under_way(name, &caller.connection, cargo);
                return Ok((Some(Carry { id, kind, body }), None));
            }
        }
        Ok((None, look_again))
    }

    async fn cargo(&self, name: SlotName) -> Result<Option<(CarryKind, Vec<u8>, Cargo)>, Error> {
        match name {
            SlotName::Enrolment => {
                if let Some((kind, request)) = self.enrolment_request().await? {
                    let cargo = Cargo::Enrolment { kind, request: request.clone() };
                    return Ok(Some((kind, request, cargo)));
                }
                let inquiry = self.inquiry().await?;
                Ok(inquiry.map(|request| {
                    (CarryKind::Challenge, request.encode(), Cargo::Inquiry(request))
                }))
            }
            SlotName::Message => {
                let row = self.next_message().await?;
                Ok(row.map(|row| (CarryKind::Message, row.envelope.clone(), Cargo::Message(row))))
            }
            SlotName::Fetch => self.fetch().await,
        }
    }

    /// The caller's answer to something that is under way with him.
    pub(crate) async fn answer(
        &self,
        caller: &Caller,
        id: CarryId,
        outcome: Outcome,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        self.access.courier(caller)?;
        let taken = lock(&self.carrier).take(id, &caller.connection);
        let (name, cargo) = taken.ok_or(Kind::NotFound)?;
        let worth = match outcome {
            Outcome::Ok => self.judge(&cargo, &body).await,
            Outcome::Refused => self.refused(&cargo, &body).await,
            Outcome::Unreachable => Ok(Worth::Later(UNREACHABLE_PAUSE)),
        };
        let (pause, is_failure) = match worth {
            Ok(Worth::Proven) => (None, false),
            Ok(Worth::Later(pause)) => (Some(pause), false),
            Ok(Worth::Nothing) => (Some(self.backoff(name)), true),
            Err(error) => {
                tracing::warn!(kind = error.kind.name(), "an answer could not be used: {error}");
                self.note(&error);
                (Some(self.backoff(name)), true)
            }
        };
        lock(&self.carrier).judged(name, id, pause, is_failure);
        self.work.send_replace(());
        Ok(())
    }

    async fn judge(&self, cargo: &Cargo, body: &[u8]) -> Result<Worth, Error> {
        match cargo {
            Cargo::Enrolment { kind, request } => {
                self.enrolment_answered(*kind, request, body).await
            }
            Cargo::Inquiry(request) => self.inquiry_answered(request, body).await,
            Cargo::Message(row) => self.message_answered(row, body).await,
            Cargo::Fetch { epoch, request, acks } => {
                self.fetch_answered(epoch, request, acks, body).await
            }
        }
    }

    /// One of the four words, which anybody on the way can say.
    async fn refused(&self, cargo: &Cargo, word: &[u8]) -> Result<Worth, Error> {
        match cargo {
            Cargo::Enrolment { kind, .. } => self.enrolment_refused(*kind, word).await,
            // It may have keys, or a past, that this device has not heard of.
            Cargo::Message(_) | Cargo::Fetch { .. } => {
                lock(&self.contact).want_statement();
                Ok(Worth::Nothing)
            }
            Cargo::Inquiry(_) => Ok(Worth::Nothing),
        }
    }

    /// Doubles with every failure, and is spread so that a fleet does not come back at once.
    fn backoff(&self, name: SlotName) -> Duration {
        let failures = lock(&self.carrier).slot(name).failures;
        let longest = BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
        longest / 2 + (longest / 2).mul_f64(f64::from(OsRng.next_u32()) / f64::from(u32::MAX))
    }

    /// What the connection carried can be carried by another.
    pub(super) fn carrier_gone(&self, connection: &str) {
        lock(&self.carrier).gone(connection);
        self.work.send_replace(());
    }

    pub(super) fn clear_slot(&self, name: SlotName) {
        lock(&self.carrier).clear(name);
        self.work.send_replace(());
    }
}
