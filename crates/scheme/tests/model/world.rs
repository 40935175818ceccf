//! Everybody together, moved by one random event after another.

use std::collections::HashMap;

use proptest::prelude::*;
use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Content, Kind, Stage};

use crate::device::Device;
use crate::flaw::Flaw;
use crate::fuse::{Crash, Fuse};
use crate::ledger::{Ledger, REFUSED_SERVICE};
use crate::server::Server;
use crate::wire::{Answer, AnswerKey, Hash, Reply, Request, Sealed};

/// What an application asks for. Picks choose among what is there.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Open,
    OpenRefused,
    Request,
    Data,
    OwnData,
    Reply,
    Close,
}

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Device(Ask, u8, Option<u8>),
    BackEnd(Ask, u8, Option<u8>),
    /// The back end seals something that it carries itself again.
    OwnAgain(u8),
    Carry,
    Fetch,
    /// The network delivers one of the requests under way, and may keep a copy.
    Request(u8, bool, Option<u8>),
    Reply(u8, bool, Option<u8>),
    OwnUp(u8, bool, Option<u8>),
    OwnDown(u8, bool, Option<u8>),
    LoseRequest(u8),
    LoseReply(u8),
    LoseOwn(u8),
    /// The network works for a while, and leaves alone what it delays.
    Rounds(u8),
    /// Somebody on the network says that the head of the outbox was accepted.
    Forge,
    /// The agent dies, and dies again twice while it starts, or less often.
    Kill([Option<u8>; 2]),
    /// A new epoch without a restart.
    Turn(Option<u8>),
    ReEnrol(Option<u8>),
    Due(Option<u8>),
}

pub fn schedule() -> impl Strategy<Value = Vec<Event>> {
    let fuse = || prop_oneof![4 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let start = || prop_oneof![1 => Just(None), 1 => (0u8..5).prop_map(Some)];
    let ask = || {
        prop_oneof![
            3 => Just(Ask::Open),
            1 => Just(Ask::OpenRefused),
            1 => Just(Ask::Request),
            8 => Just(Ask::Data),
            3 => Just(Ask::OwnData),
            1 => Just(Ask::Reply),
            2 => Just(Ask::Close),
        ]
    };
    let copy = || prop::bool::weighted(0.2);
    let event = prop_oneof![
        10 => (ask(), any::<u8>(), fuse()).prop_map(|(a, p, f)| Event::Device(a, p, f)),
        8 => (ask(), any::<u8>(), fuse()).prop_map(|(a, p, f)| Event::BackEnd(a, p, f)),
        1 => any::<u8>().prop_map(Event::OwnAgain),
        8 => Just(Event::Carry),
        5 => Just(Event::Fetch),
        10 => (any::<u8>(), copy(), fuse()).prop_map(|(p, c, f)| Event::Request(p, c, f)),
        10 => (any::<u8>(), copy(), start()).prop_map(|(p, c, f)| Event::Reply(p, c, f)),
        4 => (any::<u8>(), copy(), fuse()).prop_map(|(p, c, f)| Event::OwnUp(p, c, f)),
        2 => (any::<u8>(), copy(), fuse()).prop_map(|(p, c, f)| Event::OwnDown(p, c, f)),
        2 => any::<u8>().prop_map(Event::LoseRequest),
        2 => any::<u8>().prop_map(Event::LoseReply),
        1 => any::<u8>().prop_map(Event::LoseOwn),
        10 => (1u8..5).prop_map(Event::Rounds),
        1 => Just(Event::Forge),
        3 => [start(), start()].prop_map(Event::Kill),
        1 => fuse().prop_map(Event::Turn),
        1 => fuse().prop_map(Event::ReEnrol),
        2 => fuse().prop_map(Event::Due),
    ];
    prop::collection::vec(event, 1..160)
}

pub struct World {
    pub device: Device,
    pub server: Server,
    pub requests: Vec<Request>,
    pub replies: Vec<Reply>,
    pub own_up: Vec<Sealed>,
    pub own_down: Vec<Sealed>,
    names: u8,
    /// Every envelope that ever left a party, by direction, epoch and seq.
    sealed: HashMap<(Direction, u64, u32), Hash>,
    /// How much of each side's inbox has been looked at, and each trade's last index in it.
    pub looked_at: [usize; 2],
    pub last_delivered: HashMap<(Direction, TradeId), u32>,
    pub violations: Vec<String>,
}

impl World {
    pub fn new(flaw: Flaw) -> World {
        World {
            device: Device::new(flaw),
            server: Server::new(flaw),
            requests: vec![],
            replies: vec![],
            own_up: vec![],
            own_down: vec![],
            names: 0,
            sealed: HashMap::new(),
            looked_at: [0, 0],
            last_delivered: HashMap::new(),
            violations: vec![],
        }
    }

    pub fn step(&mut self, event: Event) {
        self.start(None);
        match event {
            Event::Device(ask, pick, fuse) => self.device_asked(ask, pick, Fuse::of(fuse)),
            Event::BackEnd(ask, pick, fuse) => self.back_end_asked(ask, pick, Fuse::of(fuse)),
            Event::OwnAgain(pick) => {
                let sealed = self.server.own_again(pick.into(), &mut Fuse::never());
                self.carry_down(sealed.ok().flatten());
            }
            Event::Carry => self.device.carry(),
            Event::Fetch => self.device.fetch(),
            Event::Request(pick, copy, fuse) => {
                if let Some(request) = take(&mut self.requests, pick, copy) {
                    self.deliver(&request, &mut Fuse::of(fuse));
                }
            }
            Event::Reply(pick, copy, fuse) => {
                if let Some(reply) = take(&mut self.replies, pick, copy) {
                    self.answer(reply, &mut Fuse::of(fuse));
                }
            }
            Event::OwnUp(pick, copy, fuse) => {
                if let Some(sealed) = take(&mut self.own_up, pick, copy) {
                    // The back end hears of a crash, and tries again or does not.
                    drop(self.server.handle(&Request::Envelope(sealed), &mut Fuse::of(fuse)));
                }
            }
            Event::OwnDown(pick, copy, fuse) => {
                if let Some(sealed) = take(&mut self.own_down, pick, copy) {
                    let taken = self.device.take(&sealed, &mut Fuse::of(fuse));
                    self.device_lives(taken);
                }
            }
            Event::LoseRequest(pick) => drop(take(&mut self.requests, pick, false)),
            Event::LoseReply(pick) => drop(take(&mut self.replies, pick, false)),
            Event::LoseOwn(pick) => {
                drop((take(&mut self.own_up, pick, false), take(&mut self.own_down, pick, false)));
            }
            Event::Rounds(count) => (0..count).for_each(|_| self.round()),
            Event::Forge => {
                let head = self.device.disk.outbox.first().map(Sealed::hash);
                let (answer, key) = (Answer::Accepted, AnswerKey::Nothing);
                self.replies.extend(head.map(|to| Reply { to, answer, key }));
            }
            Event::Kill(starts) => {
                self.device.die();
                starts.into_iter().flatten().for_each(|steps| self.start(Some(steps)));
            }
            Event::Turn(fuse) => {
                let turned = self.device.turn(&mut Fuse::of(fuse));
                self.device_lives(turned);
            }
            Event::ReEnrol(fuse) => {
                self.server.re_enrol();
                let generation = self.server.db.generation;
                let enrolled = self.device.re_enrol(generation, &mut Fuse::of(fuse));
                self.device_lives(enrolled);
            }
            Event::Due(fuse) => {
                let done = self.device.due(&mut Fuse::of(fuse));
                self.device_lives(done);
            }
        }
        self.observe();
    }

    /// The service manager starts an agent that is dead, and it may die while it starts.
    pub fn start(&mut self, fuse: Option<u8>) {
        if !self.device.is_running() {
            let generation = self.server.db.generation;
            let started = self.device.start(generation, &mut Fuse::of(fuse));
            self.device_lives(started);
        }
    }

    /// A request arrives at the server, and unless that dies, a reply is under way.
    pub fn deliver(&mut self, request: &Request, fuse: &mut Fuse) {
        let Ok(reply) = self.server.handle(request, fuse) else { return };
        if let Answer::Downlink(Some(sealed)) = &reply.answer {
            self.note(sealed);
        }
        self.replies.push(reply);
    }

    /// A reply arrives at the device.
    pub fn answer(&mut self, reply: Reply, fuse: &mut Fuse) {
        let handled = self.device.handle(reply, fuse);
        self.device_lives(handled);
        self.observe();
    }

    /// Both lanes go there and back once, without a fault.
    pub fn round(&mut self) {
        self.start(None);
        let (requests, replies) = (self.requests.len(), self.replies.len());
        self.device.carry();
        self.device.fetch();
        self.observe();
        for request in self.requests.split_off(requests) {
            self.deliver(&request, &mut Fuse::never());
        }
        for reply in self.replies.split_off(replies) {
            self.answer(reply, &mut Fuse::never());
        }
    }

    pub fn device_lives(&mut self, result: Result<(), Crash>) {
        if result.is_err() {
            self.device.die();
        }
    }

    fn device_asked(&mut self, ask: Ask, pick: u8, mut fuse: Fuse) {
        let (id, payload, outer) = self.fresh(pick);
        let chosen = choose(&self.device.disk.ledger, ask, pick);
        if let (Ask::OwnData, Some(trade)) = (ask, chosen) {
            match self.device.own_data(trade, payload, &mut fuse) {
                Ok(sealed) => {
                    sealed.iter().for_each(|sealed| self.note(sealed));
                    self.own_up.extend(sealed);
                }
                Err(Crash) => self.device.die(),
            }
            return;
        }
        let action = move |ledger: &mut Ledger| perform(ledger, ask, id, chosen, outer, payload);
        let done = self.device.act(outer, action, &mut fuse);
        self.device_lives(done);
    }

    fn back_end_asked(&mut self, ask: Ask, pick: u8, mut fuse: Fuse) {
        let (id, payload, outer) = self.fresh(pick);
        let chosen = choose(&self.server.db.ledger, ask, pick);
        if let (Ask::OwnData, Some(trade)) = (ask, chosen) {
            let sealed = self.server.own_data(trade, payload, &mut fuse);
            self.carry_down(sealed.ok().flatten());
            return;
        }
        let action = move |ledger: &mut Ledger| perform(ledger, ask, id, chosen, outer, payload);
        // The back end that hears of a crash does not know whether it happened; nor do we.
        drop(self.server.act(outer, action, &mut fuse));
    }

    fn fresh(&mut self, pick: u8) -> (TradeId, Vec<u8>, Outer) {
        self.names = self.names.wrapping_add(1);
        let outer = if pick.is_multiple_of(2) { Outer::Serial } else { Outer::Key };
        (TradeId([self.names; 16]), vec![self.names], outer)
    }

    fn carry_down(&mut self, sealed: Option<Sealed>) {
        sealed.iter().for_each(|sealed| self.note(sealed));
        self.own_down.extend(sealed);
    }

    /// Moves what the agent gave to the courier onto the network, and gathers the alarms.
    pub fn observe(&mut self) {
        for request in std::mem::take(&mut self.device.network) {
            if let Request::Envelope(sealed) = &request {
                self.note(sealed);
            }
            self.requests.push(request);
        }
        self.violations.append(&mut self.device.alarms);
        self.violations.append(&mut self.server.alarms);
    }

    /// Looks at an envelope that leaves its sealer's hands.
    fn note(&mut self, sealed: &Sealed) {
        let place = (sealed.direction, sealed.epoch, sealed.seq);
        if *self.sealed.entry(place).or_insert(sealed.hash()) != sealed.hash() {
            self.violations.push(format!("two sealings under {place:?}"));
        }
    }
}

/// The newest, the oldest, or any.
fn take<T: Clone>(bag: &mut Vec<T>, pick: u8, copy: bool) -> Option<T> {
    let last = bag.len().checked_sub(1)?;
    let place = match pick {
        0..85 => last,
        85..170 => 0,
        _ => usize::from(pick) % bag.len(),
    };
    Some(if copy { bag[place].clone() } else { bag.remove(place) })
}

/// A trade that the application could ask this for.
fn choose(ledger: &Ledger, ask: Ask, pick: u8) -> Option<TradeId> {
    let wants_reply = matches!(ask, Ask::Reply);
    let of_use: Vec<_> = ledger
        .trades
        .values()
        .filter(|t| t.stage() == Stage::Open)
        .filter(|t| wants_reply == (t.kind() == Some(Kind::Exchange)))
        .map(|t| t.id())
        .collect();
    of_use.get(usize::from(pick).checked_rem(of_use.len())?).copied()
}

fn perform(
    ledger: &mut Ledger,
    ask: Ask,
    fresh: TradeId,
    chosen: Option<TradeId>,
    outer: Outer,
    payload: Vec<u8>,
) -> Result<Vec<Content>, Reason> {
    let service = "com.example.till";
    let chosen = chosen.ok_or(Reason::WrongTrade);
    match ask {
        Ask::Open => ledger.open(fresh, service, outer).map(|c| vec![c]),
        Ask::OpenRefused if ledger.me == Direction::Up => {
            ledger.open(fresh, REFUSED_SERVICE, outer).map(|c| vec![c])
        }
        Ask::Request => ledger.request(fresh, service, outer, payload).map(|c| vec![c]),
        Ask::Data => ledger.data(chosen?, payload).map(|c| vec![c]),
        Ask::Reply => ledger.reply(chosen?, payload).map(|c| vec![c]),
        Ask::Close => ledger.close(chosen?),
        Ask::OwnData | Ask::OpenRefused => Ok(vec![]),
    }
}
