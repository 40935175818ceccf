//! The server: a database, and replicas that may die in the middle of a request.

use std::collections::BTreeMap;

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::judge::{self, Arrival, EPOCHS_CLOSED_KEPT, Opening, OpeningArrival};
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::tpm::ClockInfo;
use twinseal_scheme::trade::{Content, Received};

use crate::flaw::Flaw;
use crate::fuse::{Crash, Fuse};
use crate::ledger::{Ledger, REFUSED_SERVICE, delivery};
use crate::wire::{Answer, AnswerKey, Fetch, Hash, Inside, Reply, Request, Sealed};

#[derive(Clone)]
struct Downlink {
    content: Content,
    outer: Outer,
    /// The bytes of this epoch.
    sealed: Option<Sealed>,
    is_acknowledged: bool,
}

#[derive(Clone)]
pub struct Database {
    pub generation: u32,
    openings: BTreeMap<u64, (Opening, Reply)>,
    open: Option<u64>,
    next_seq: u32,
    /// Accepted and refused envelopes of this generation with their answers.
    envelopes: BTreeMap<(u64, u32), (Hash, Reply)>,
    pub ledger: Ledger,
    downlinks: Vec<Downlink>,
    /// Down-messages that applications carry themselves.
    own: Vec<(Content, Outer)>,
}

pub struct Server {
    pub db: Database,
    random: u64,
    flaw: Flaw,
    pub alarms: Vec<String>,
}

impl Server {
    pub fn new(flaw: Flaw) -> Server {
        let db = Database {
            generation: 1,
            openings: BTreeMap::new(),
            open: None,
            next_seq: 1,
            envelopes: BTreeMap::new(),
            ledger: Ledger::new(Direction::Down, flaw),
            downlinks: vec![],
            own: vec![],
        };
        Server { db, random: 0, flaw, alarms: vec![] }
    }

    pub fn handle(&mut self, request: &Request, fuse: &mut Fuse) -> Result<Reply, Crash> {
        match request {
            Request::Fetch(fetch) => self.fetch(fetch, request.hash(), fuse),
            Request::Envelope(sealed) if sealed.generation != self.db.generation => {
                Ok(constant(request.hash()))
            }
            Request::Envelope(sealed) => match &sealed.inside {
                Inside::Open(clock_ms) => self.opening(sealed, *clock_ms, fuse),
                Inside::Message(content) => self.message(sealed, content, fuse),
            },
        }
    }

    /// Does what a back end asks for. A refusal by the rules has no effect.
    pub fn act(
        &mut self,
        outer: Outer,
        action: impl FnOnce(&mut Ledger) -> Result<Vec<Content>, Reason>,
        fuse: &mut Fuse,
    ) -> Result<(), Crash> {
        let mut db = self.db.clone();
        let Ok(contents) = action(&mut db.ledger) else { return Ok(()) };
        db.queue(contents, outer);
        match db.ledger.due() {
            Ok(contents) => db.queue(contents, outer),
            Err(reason) => self.alarms.push(format!("cannot send what is due: {reason}")),
        }
        self.commit(db, fuse)
    }

    /// Seals data for a back end to carry itself.
    pub fn own_data(
        &mut self,
        trade: TradeId,
        payload: Vec<u8>,
        fuse: &mut Fuse,
    ) -> Result<Option<Sealed>, Crash> {
        let mut db = self.db.clone();
        let Ok(content) = db.ledger.own_data(trade, payload) else { return Ok(None) };
        let Some(outer) = db.ledger.trades.get(&trade).map(|t| t.outer()) else { return Ok(None) };
        db.own.push((content.clone(), outer));
        let sealed = self.seal(&mut db, outer, content);
        self.commit(db, fuse)?;
        Ok(sealed)
    }

    /// Seals again, under the same index, what a back end carries itself.
    pub fn own_again(&mut self, pick: usize, fuse: &mut Fuse) -> Result<Option<Sealed>, Crash> {
        let mut db = self.db.clone();
        let place = pick % db.own.len().max(1);
        let Some((content, outer)) = db.own.get(place).cloned() else { return Ok(None) };
        let sealed = self.seal(&mut db, outer, content);
        self.commit(db, fuse)?;
        Ok(sealed)
    }

    /// A new enrolment of the device: every key of the one before is gone.
    pub fn re_enrol(&mut self) {
        self.db.generation += 1;
        self.db.openings.clear();
        self.db.envelopes.clear();
        self.db.open = None;
    }

    pub fn has_unacknowledged(&self) -> bool {
        self.db.downlinks.iter().any(|d| !d.is_acknowledged)
    }

    /// How many epochs later than this one have been opened.
    pub fn opened_after(&self, epoch: u64) -> u64 {
        self.db.openings.range(epoch + 1..).count() as u64
    }

    fn opening(&mut self, sealed: &Sealed, clock_ms: u64, fuse: &mut Fuse) -> Result<Reply, Crash> {
        let to = sealed.hash();
        let known = self.db.openings.get(&sealed.epoch);
        let last = self.db.openings.last_key_value().map(|(_, (opening, _))| *opening);
        let hash = known.map(|(opening, _)| opening.hash);
        match judge::opening_arrival(sealed.epoch, last.map(|l| l.epoch), hash, to) {
            Ok(OpeningArrival::StoredAnswer) => {
                return Ok(known.map_or_else(|| constant(to), |(_, reply)| reply.clone()));
            }
            Ok(OpeningArrival::Verify) => (),
            Err(reason) => return Ok(self.refuse_opening(sealed, reason)),
        }
        let clock = ClockInfo { clock_ms, reset_count: 0, restart_count: 0, safe: true };
        let candidate = Opening { epoch: sealed.epoch, hash: to, clock: Some(clock) };
        if let Err(reason) = judge::opening(&candidate, last.as_ref()) {
            return Ok(self.refuse_opening(sealed, reason));
        }
        let key = AnswerKey::Epoch(sealed.epoch);
        let reply = Reply { to, answer: Answer::Accepted, key };
        let mut db = self.db.clone();
        db.openings.insert(sealed.epoch, (candidate, reply.clone()));
        db.open = Some(sealed.epoch);
        db.next_seq = 1;
        self.commit(db, fuse)?;
        Ok(reply)
    }

    fn refuse_opening(&mut self, sealed: &Sealed, reason: Reason) -> Reply {
        // It happens to honest devices: a late copy of an open that was dropped.
        if reason != Reason::EpochOvertaken {
            self.alarms.push(format!("epoch {}: {reason}", sealed.epoch));
        }
        Reply { to: sealed.hash(), answer: Answer::Refused(reason), key: AnswerKey::Signature }
    }

    fn message(
        &mut self,
        sealed: &Sealed,
        content: &Content,
        fuse: &mut Fuse,
    ) -> Result<Reply, Crash> {
        let (to, place) = (sealed.hash(), (sealed.epoch, sealed.seq));
        let taken = self.db.envelopes.get(&place).map(|(hash, _)| *hash);
        let has_key = self.db.has_closed_key(sealed.epoch);
        let key = match judge::arrival(sealed.epoch, self.db.open, has_key, taken, to) {
            Ok(Arrival::StoredAnswer) => {
                let stored = self.db.envelopes.get(&place);
                return Ok(stored.map_or_else(|| constant(to), |(_, reply)| reply.clone()));
            }
            Ok(Arrival::OpenEpoch) => AnswerKey::Epoch(sealed.epoch),
            Ok(Arrival::ClosedEpoch) => AnswerKey::Nothing,
            Err(_) => return Ok(constant(to)),
        };
        if let Err(reason) = judge::sealing(taken, to) {
            self.alarms.push(format!("epoch {} seq {}: {reason}", sealed.epoch, sealed.seq));
            return Ok(constant(to));
        }
        let mut db = self.db.clone();
        let answer = match self.accept(&mut db, sealed, content) {
            Ok(()) => Answer::Accepted,
            Err(Reason::OutOfTurn) => return Ok(constant(to)),
            Err(reason) => {
                db = self.db.clone();
                Answer::Refused(reason)
            }
        };
        let reply = Reply { to, answer, key };
        db.envelopes.insert(place, (to, reply.clone()));
        self.commit(db, fuse)?;
        Ok(reply)
    }

    fn accept(
        &mut self,
        db: &mut Database,
        sealed: &Sealed,
        content: &Content,
    ) -> Result<(), Reason> {
        if content.service.as_str() == REFUSED_SERVICE {
            return Err(Reason::WrongService);
        }
        let received = db.ledger.receive(content, sealed.outer).inspect_err(|reason| {
            if *reason != Reason::OutOfTurn {
                self.alarms.push(format!("server refuses {content:?}: {reason}"));
            }
        })?;
        let is_for_application = content.message_type.is_for_application();
        let is_again = received == Received::Again;
        if is_again && is_for_application && self.flaw == Flaw::DedupesBySeqOnly {
            db.ledger.inbox.push(delivery(content));
        }
        let contents = db.ledger.due()?;
        db.queue(contents, sealed.outer);
        if self.flaw == Flaw::ForgetsEnded {
            db.ledger.forget_ended();
        }
        Ok(())
    }

    fn fetch(&mut self, fetch: &Fetch, to: Hash, fuse: &mut Fuse) -> Result<Reply, Crash> {
        if fetch.generation != self.db.generation || Some(fetch.epoch) != self.db.open {
            return Ok(constant(to));
        }
        let mut db = self.db.clone();
        for downlink in &mut db.downlinks {
            let content = &downlink.content;
            downlink.is_acknowledged |= fetch.acks.iter().any(|ack| {
                (ack.trade, ack.index) == (content.trade, content.index)
                    && ack.hash == content.inner_hash(Direction::Down)
            });
        }
        let next = db.downlinks.iter().position(|d| !d.is_acknowledged);
        let mut answer = Answer::Downlink(None);
        if let Some(place) = next {
            let Downlink { content, outer, sealed, .. } = db.downlinks[place].clone();
            let now = sealed.filter(|s| (s.generation, s.epoch) == (fetch.generation, fetch.epoch));
            let sealed = now.or_else(|| self.seal(&mut db, outer, content));
            db.downlinks[place].sealed = sealed.clone();
            answer = Answer::Downlink(sealed);
        }
        self.commit(db, fuse)?;
        Ok(Reply { to, answer, key: AnswerKey::Epoch(fetch.epoch) })
    }

    fn seal(&mut self, db: &mut Database, outer: Outer, content: Content) -> Option<Sealed> {
        self.random += 1;
        let seq = db.next_seq;
        db.next_seq += 1;
        Some(Sealed {
            direction: Direction::Down,
            generation: db.generation,
            epoch: db.open?,
            seq,
            outer,
            inside: Inside::Message(content),
            salt: self.random,
        })
    }

    fn commit(&mut self, db: Database, fuse: &mut Fuse) -> Result<(), Crash> {
        fuse.burn()?;
        self.db = db;
        fuse.burn()
    }
}

impl Database {
    fn queue(&mut self, contents: Vec<Content>, outer: Outer) {
        for content in contents {
            let outer = self.ledger.trades.get(&content.trade).map_or(outer, |t| t.outer());
            self.downlinks.push(Downlink { content, outer, sealed: None, is_acknowledged: false });
        }
    }

    /// The last closed epochs, counting those that were opened, keep their upward key.
    fn has_closed_key(&self, epoch: u64) -> bool {
        let closed = self.openings.keys().rev().filter(|e| Some(**e) != self.open);
        closed.take(EPOCHS_CLOSED_KEPT as usize).any(|e| *e == epoch)
    }
}

/// What everybody gets who is not known to be somebody.
fn constant(to: Hash) -> Reply {
    Reply { to, answer: Answer::Refused(Reason::EpochClosed), key: AnswerKey::Nothing }
}
