//! What must hold, after every event and at the end.

use std::collections::BTreeSet;

use twinseal_scheme::direction::Direction;
use twinseal_scheme::epoch::judge::EPOCHS_CLOSED_KEPT;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::trade::{Kind, Stage};

use crate::flaw::Flaw;
use crate::fuse::Fuse;
use crate::ledger::{Delivery, Ledger};
use crate::wire::{Answer, AnswerKey, Request};
use crate::world::{Event, World};

/// Rounds without faults in which everything that is under way must arrive.
const ROUNDS: usize = 400;

/// Runs a schedule, then lets everything come to rest and end.
pub fn run(flaw: Flaw, events: &[Event]) -> Result<(), String> {
    let mut world = World::new(flaw);
    for event in events {
        world.step(*event);
        world.check_deliveries();
        world.verdict()?;
    }
    world.drain()?;
    world.deliver_own()?;
    world.end_trades();
    world.drain()?;
    world.check_deliveries();
    world.check_ends();
    world.verdict()
}

impl World {
    fn verdict(&self) -> Result<(), String> {
        match self.violations.first() {
            None => Ok(()),
            Some(violation) => Err(violation.clone()),
        }
    }

    /// Each message at most once, in order, and as it was sent. What was looked at is not
    /// looked at again: inboxes only grow.
    fn check_deliveries(&mut self) {
        let (device, server) = (&self.device.disk.ledger, &self.server.db.ledger);
        for ((from, to), looked_at) in
            [(device, server), (server, device)].into_iter().zip(&mut self.looked_at)
        {
            for got in to.inbox.iter().skip(*looked_at) {
                let before = self.last_delivered.insert((from.me, got.trade), got.index);
                if before.unwrap_or(0) >= got.index {
                    self.violations.push(format!("twice or out of order: {got:?}"));
                }
                if !from.sent.contains(got) {
                    self.violations.push(format!("never sent: {got:?}"));
                }
            }
            *looked_at = to.inbox.len();
        }
    }

    /// Without faults, everything under way arrives, what is old first.
    fn drain(&mut self) -> Result<(), String> {
        for request in std::mem::take(&mut self.requests) {
            self.deliver(&request, &mut Fuse::never());
        }
        for reply in std::mem::take(&mut self.replies) {
            self.answer(reply, &mut Fuse::never());
        }
        for _ in 0..ROUNDS {
            self.round();
            self.verdict()?;
            if self.device.disk.outbox.is_empty() && !self.server.has_unacknowledged() {
                return Ok(());
            }
        }
        Err("it does not come to rest".into())
    }

    /// Applications deliver what they still carry, unless it is too old.
    fn deliver_own(&mut self) -> Result<(), String> {
        for sealed in std::mem::take(&mut self.own_up) {
            let is_due = sealed.generation == self.server.db.generation
                && self.server.opened_after(sealed.epoch) <= EPOCHS_CLOSED_KEPT;
            let request = Request::Envelope(sealed.clone());
            let reply = self.server.handle(&request, &mut Fuse::never());
            let is_constant = reply.is_ok_and(|reply| {
                matches!(reply.answer, Answer::Refused(twinseal_scheme::Reason::EpochClosed))
                    && reply.key == AnswerKey::Nothing
            });
            if is_due && is_constant && self.device.generation() == sealed.generation {
                return Err(format!("epoch {} was never opened", sealed.epoch));
            }
        }
        for sealed in std::mem::take(&mut self.own_down) {
            let taken = self.device.take(&sealed, &mut Fuse::never());
            self.device_lives(taken);
        }
        self.observe();
        self.verdict()
    }

    /// Somebody closes every trade, now and then both sides at once, and replies to every
    /// request.
    fn end_trades(&mut self) {
        let ids: BTreeSet<TradeId> = [&self.device.disk.ledger, &self.server.db.ledger]
            .iter()
            .flat_map(|ledger| ledger.trades.keys().copied())
            .collect();
        for id in ids {
            let end = move |ledger: &mut Ledger| {
                let trade = ledger.trades.get(&id).cloned();
                match trade.map(|t| (t.stage(), t.kind())) {
                    Some((Stage::Open, Some(Kind::Exchange))) => {
                        ledger.reply(id, vec![0]).map(|c| vec![c])
                    }
                    Some((Stage::Open, _)) => ledger.close(id),
                    _ => Ok(vec![]),
                }
            };
            let outer = twinseal_scheme::message::Outer::Serial;
            let exchanges =
                |l: &Ledger| l.trades.get(&id).is_some_and(|t| t.kind() == Some(Kind::Exchange));
            let is_exchange =
                exchanges(&self.device.disk.ledger) || exchanges(&self.server.db.ledger);
            if is_exchange || id.0[0] % 3 != 0 {
                let done = self.device.act(outer, end, &mut Fuse::never());
                self.device_lives(done);
            }
            if is_exchange || id.0[0] % 3 != 1 {
                drop(self.server.act(outer, end, &mut Fuse::never()));
            }
        }
        self.observe();
    }

    /// Every trade has ended alike on both sides, and all that was sent was delivered or
    /// withdrawn.
    fn check_ends(&mut self) {
        let (device, server) = (&self.device.disk.ledger, &self.server.db.ledger);
        for (id, mine) in &device.trades {
            let Some(theirs) = server.trades.get(id) else {
                // Refused by the server, or, in one flawed variant, forgotten.
                if !matches!(mine.stage(), Stage::Refused | Stage::Ended) {
                    self.violations.push(format!("the server has no trade {id}"));
                }
                continue;
            };
            if (mine.stage(), theirs.stage()) != (Stage::Ended, Stage::Ended) {
                let stages = (mine.stage(), theirs.stage());
                self.violations.push(format!("{id} stands at {stages:?}"));
            }
            if mine.sent() != theirs.received() || mine.received() != theirs.sent() {
                self.violations.push(format!("{id}: the chains differ"));
            }
            let receipts = (device.receipts.get(id), server.receipts.get(id));
            if receipts.0 != receipts.1 || receipts.0.is_none() {
                self.violations.push(format!("{id}: the receipts differ or are missing"));
            }
        }
        let unknown = server.trades.keys().find(|id| !device.trades.contains_key(id));
        self.violations.extend(unknown.map(|id| format!("the device has no trade {id}")));
        for (from, to) in [(device, server), (server, device)] {
            let lost = from.sent.iter().find(|sent| !arrived(from, to, sent));
            self.violations.extend(lost.map(|sent| format!("lost: {sent:?}")));
        }
    }
}

fn arrived(from: &Ledger, to: &Ledger, sent: &Delivery) -> bool {
    let loose = from.loose.get(&sent.trade).into_iter().flatten();
    let is_refused = from.trades.get(&sent.trade).is_some_and(|t| t.stage() == Stage::Refused);
    to.inbox.contains(sent)
        || is_refused && from.me == Direction::Up
        || loose.into_iter().any(|w| w.index.number() == sent.index)
}
