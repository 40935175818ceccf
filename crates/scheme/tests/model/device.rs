//! The device: a chip that counts, a disk that lasts, and an agent that may die anywhere.

use std::collections::BTreeSet;

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::judge::{self, CounterRecord, CounterState};
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Content, Received};

use crate::flaw::Flaw;
use crate::fuse::{Crash, Fuse};
use crate::ledger::{Ledger, delivery};
use crate::wire::{Ack, Answer, AnswerKey, Fetch, Hash, Inside, Reply, Request, Sealed};

/// What survives the agent.
#[derive(Clone)]
pub struct Disk {
    record: CounterRecord,
    generation: u32,
    /// Finished envelopes, first in, first out, until the authenticated answer.
    pub outbox: Vec<Sealed>,
    pub ledger: Ledger,
    /// The last epoch of which an application was given an envelope to carry.
    own_epoch: u64,
    envelopes_seen: BTreeSet<Hash>,
}

/// What does not.
struct Running {
    epoch: u64,
    next_seq: u32,
    is_opened: bool,
    fetch: Option<Fetch>,
    acks: Vec<Ack>,
}

pub struct Device {
    pub disk: Disk,
    running: Option<Running>,
    chip_counter: u64,
    chip_clock_ms: u64,
    random: u64,
    flaw: Flaw,
    pub alarms: Vec<String>,
    /// Handed to the courier, which may deliver it whatever becomes of the agent.
    pub network: Vec<Request>,
}

impl Device {
    pub fn new(flaw: Flaw) -> Device {
        Device {
            disk: Disk {
                record: CounterRecord { intended: 0, opened: false },
                generation: 1,
                outbox: vec![],
                ledger: Ledger::new(Direction::Up, flaw),
                own_epoch: 0,
                envelopes_seen: BTreeSet::new(),
            },
            running: None,
            chip_counter: 0,
            chip_clock_ms: 0,
            random: 0,
            flaw,
            alarms: vec![],
            network: vec![],
        }
    }

    pub fn die(&mut self) {
        self.running = None;
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn generation(&self) -> u32 {
        self.disk.generation
    }

    /// Starts the agent. An enrolment that was under way goes on where it stood.
    pub fn start(&mut self, enrolled_generation: u32, fuse: &mut Fuse) -> Result<(), Crash> {
        let state = match self.flaw {
            Flaw::CountsFirst if self.chip_counter > self.disk.record.intended + 1 => {
                CounterState::DiskRolledBack
            }
            Flaw::CountsFirst => CounterState::Agrees,
            _ => judge::counter(self.disk.record, self.chip_counter),
        };
        if state != CounterState::Agrees {
            self.alarms.push(format!("{state:?} without a rollback"));
        }
        if enrolled_generation == self.disk.generation {
            self.turn(fuse)?;
        } else {
            self.re_enrol(enrolled_generation, fuse)?;
        }
        self.due(fuse)
    }

    /// Counts, and opens the epoch.
    pub fn turn(&mut self, fuse: &mut Fuse) -> Result<(), Crash> {
        self.count(fuse)?;
        let open = self.seal_open(self.disk.generation);
        let mut disk = self.disk.clone();
        let in_use = self.flaw != Flaw::DropsOpenInUse;
        if disk.outbox.last().is_some_and(|s| s.is_open() && !(in_use && s.epoch == disk.own_epoch))
        {
            disk.outbox.pop();
        }
        match self.flaw {
            Flaw::OpenJumpsQueue => disk.outbox.insert(0, open),
            _ => disk.outbox.push(open),
        }
        self.enter_epoch(disk, fuse)
    }

    /// Opens an epoch of a new generation, and seals all that is unanswered anew behind it.
    pub fn re_enrol(&mut self, generation: u32, fuse: &mut Fuse) -> Result<(), Crash> {
        self.count(fuse)?;
        let mut disk = self.disk.clone();
        disk.generation = generation;
        disk.own_epoch = 0;
        disk.outbox = vec![self.seal_open(generation)];
        let unanswered = self.disk.outbox.clone().into_iter().filter(|s| !s.is_open());
        for (seq, old) in (1..).zip(unanswered) {
            let (epoch, salt) = (self.chip_counter, self.draw());
            disk.outbox.push(Sealed { generation, epoch, seq, salt, ..old });
        }
        self.enter_epoch(disk, fuse)
    }

    /// Does what an application asks for. A refusal by the rules has no effect.
    pub fn act(
        &mut self,
        outer: Outer,
        action: impl FnOnce(&mut Ledger) -> Result<Vec<Content>, Reason>,
        fuse: &mut Fuse,
    ) -> Result<(), Crash> {
        if !self.is_running() {
            return Ok(());
        }
        let mut disk = self.disk.clone();
        let Ok(contents) = action(&mut disk.ledger) else { return Ok(()) };
        for content in contents {
            let outer = disk.ledger.trades.get(&content.trade).map_or(outer, |t| t.outer());
            let sealed = self.seal(outer, Inside::Message(content));
            disk.outbox.push(sealed);
        }
        fuse.burn()?;
        self.disk = disk;
        fuse.burn()
    }

    /// Seals data for an application to carry itself.
    pub fn own_data(
        &mut self,
        trade: TradeId,
        payload: Vec<u8>,
        fuse: &mut Fuse,
    ) -> Result<Option<Sealed>, Crash> {
        let Some(running) = &self.running else { return Ok(None) };
        let mut disk = self.disk.clone();
        disk.own_epoch = running.epoch;
        let Ok(content) = disk.ledger.own_data(trade, payload) else { return Ok(None) };
        let Some(outer) = disk.ledger.trades.get(&trade).map(|t| t.outer()) else {
            return Ok(None);
        };
        let sealed = self.seal(outer, Inside::Message(content));
        fuse.burn()?;
        self.disk = disk;
        fuse.burn()?;
        Ok(Some(sealed))
    }

    /// Sends what the device owes to its trades.
    pub fn due(&mut self, fuse: &mut Fuse) -> Result<(), Crash> {
        let mut refused = None;
        self.act(Outer::Serial, |ledger| ledger.due().inspect_err(|r| refused = Some(*r)), fuse)?;
        self.alarms.extend(refused.map(|r| format!("cannot send what is due: {r}")));
        Ok(())
    }

    /// Gives the courier the head of the outbox, and nothing else until it is answered.
    pub fn carry(&mut self) {
        if !self.is_running() {
            return;
        }
        if self.flaw == Flaw::ReusesSeq {
            let salt = self.draw();
            self.disk.outbox.iter_mut().take(1).for_each(|head| head.salt = salt);
        }
        let at_once = if self.flaw == Flaw::OutboxInParallel { 2 } else { 1 };
        let envelopes = self.disk.outbox.iter().take(at_once).cloned().map(Request::Envelope);
        self.network.extend(envelopes);
    }

    /// Fetches in the second lane, once the epoch is known to be open.
    pub fn fetch(&mut self) {
        let salt = self.draw();
        let generation = self.disk.generation;
        let Some(running) = self.running.as_mut().filter(|r| r.is_opened) else { return };
        let fetch = Fetch { generation, epoch: running.epoch, acks: running.acks.clone(), salt };
        running.fetch = Some(fetch.clone());
        self.network.push(Request::Fetch(fetch));
    }

    pub fn handle(&mut self, reply: Reply, fuse: &mut Fuse) -> Result<(), Crash> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let is_authentic = |epoch: u64| match reply.key {
            AnswerKey::Epoch(of) => of == epoch,
            AnswerKey::Signature => true,
            AnswerKey::Nothing => self.flaw == Flaw::TrustsAnyAnswer,
        };
        let asked = running.fetch.as_ref().map(|fetch| Request::Fetch(fetch.clone()).hash());
        if asked == Some(reply.to) {
            let Answer::Downlink(downlink) = reply.answer else { return Ok(()) };
            if !is_authentic(running.epoch) {
                return Ok(());
            }
            let answered = running.fetch.take().map(|fetch| fetch.acks).unwrap_or_default();
            running.acks.retain(|ack| !answered.contains(ack));
            return downlink.map_or(Ok(()), |sealed| self.take(&sealed, fuse));
        }
        let place = self.disk.outbox.iter().position(|sealed| sealed.hash() == reply.to);
        match place {
            Some(place) if is_authentic(self.disk.outbox[place].epoch) => {
                self.answered(place, &reply.answer, fuse)
            }
            _ => Ok(()),
        }
    }

    /// Takes a down-message in: durable with its delivery, then acknowledged.
    pub fn take(&mut self, sealed: &Sealed, fuse: &mut Fuse) -> Result<(), Crash> {
        let Inside::Message(content) = &sealed.inside else { return Ok(()) };
        let here = (self.disk.generation, self.running.as_ref().map(|r| r.epoch));
        if here != (sealed.generation, Some(sealed.epoch)) {
            return Ok(());
        }
        let hash = content.inner_hash(Direction::Down);
        let ack = Ack { trade: content.trade, index: content.index, hash };
        if self.flaw == Flaw::AcksBeforeHandOver {
            self.running.as_mut().into_iter().for_each(|r| r.acks.push(ack));
            self.fetch();
        }
        let mut disk = self.disk.clone();
        match disk.ledger.receive(content, sealed.outer) {
            Ok(received) => {
                let is_new = disk.envelopes_seen.insert(sealed.hash())
                    && content.message_type.is_for_application();
                let is_twice = self.flaw == Flaw::DedupesDownByEnvelope && is_new;
                if received == Received::Again && is_twice {
                    disk.ledger.inbox.push(delivery(content));
                }
            }
            Err(Reason::OutOfTurn) => return Ok(()),
            Err(reason) => {
                self.alarms.push(format!("device refuses {content:?}: {reason}"));
                return Ok(());
            }
        }
        fuse.burn()?;
        self.disk = disk;
        self.running.as_mut().into_iter().for_each(|r| r.acks.push(ack));
        fuse.burn()?;
        self.due(fuse)
    }

    fn answered(&mut self, place: usize, answer: &Answer, fuse: &mut Fuse) -> Result<(), Crash> {
        let mut disk = self.disk.clone();
        let sealed = disk.outbox.remove(place);
        match (answer, sealed.trade()) {
            (Answer::Accepted, _) => (),
            (Answer::Refused(_), Some(id)) => {
                // The trade goes at once: nothing behind the refused message makes sense.
                disk.outbox.retain(|sealed| sealed.trade() != Some(id));
                disk.ledger.trades.get_mut(&id).into_iter().for_each(|t| t.refuse());
            }
            (answer, None) => self.alarms.push(format!("epoch-open answered {answer:?}")),
            (Answer::Downlink(_), _) => return Ok(()),
        }
        fuse.burn()?;
        self.disk = disk;
        let opened = |r: &&mut Running| sealed.is_open() && r.epoch == sealed.epoch;
        self.running.as_mut().filter(opened).into_iter().for_each(|r| r.is_opened = true);
        Ok(())
    }

    fn count(&mut self, fuse: &mut Fuse) -> Result<(), Crash> {
        if self.flaw != Flaw::CountsFirst {
            fuse.burn()?;
            self.disk.record = CounterRecord { intended: self.chip_counter + 1, opened: false };
        }
        fuse.burn()?;
        self.chip_counter += 1;
        self.chip_clock_ms += 1;
        Ok(())
    }

    fn enter_epoch(&mut self, mut disk: Disk, fuse: &mut Fuse) -> Result<(), Crash> {
        disk.record = CounterRecord { intended: self.chip_counter, opened: true };
        fuse.burn()?;
        self.disk = disk;
        self.running = Some(Running {
            epoch: self.chip_counter,
            next_seq: self.disk.outbox.last().map_or(1, |sealed| sealed.seq + 1),
            is_opened: false,
            fetch: None,
            acks: vec![],
        });
        Ok(())
    }

    fn seal_open(&mut self, generation: u32) -> Sealed {
        Sealed {
            direction: Direction::Up,
            generation,
            epoch: self.chip_counter,
            seq: 0,
            outer: Outer::Key,
            inside: Inside::Open(self.chip_clock_ms),
            salt: self.draw(),
        }
    }

    /// Takes the next sequence number for good, whether or not the envelope becomes durable.
    fn seal(&mut self, outer: Outer, inside: Inside) -> Sealed {
        let salt = self.draw();
        let (epoch, seq) = self.running.as_mut().map_or((0, 0), |running| {
            running.next_seq += 1;
            (running.epoch, running.next_seq - 1)
        });
        let generation = self.disk.generation;
        Sealed { direction: Direction::Up, generation, epoch, seq, outer, inside, salt }
    }

    fn draw(&mut self) -> u64 {
        self.random += 1;
        self.random
    }
}
