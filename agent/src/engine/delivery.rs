//! What arrives from the server: opened, judged by the trade's rules, kept until the application
//! has it.

use std::sync::Arc;

use tokio::time::Instant;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::Ack;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::InnerHash;
use twinseal_scheme::message::{self, DownOpening, Envelope, Outer};
use twinseal_scheme::trade::{Content, MessageType, Received, Row, Stage, Trade, Withdraw};

use super::sealing::{Lane, OpenEpoch};
use super::{Engine, OWN_LANE, lock};
use crate::store::{TradeRow, Tx};
use crate::{Error, Event};

/// A message down, all layers of it verified.
pub(super) struct Opened {
    pub content: Content,
    outer: Outer,
}

/// What the arrival of one message did.
pub(super) struct Arrival {
    pub row: TradeRow,
    /// The stage before it.
    before: Stage,
    /// Messages for the application whose turn has come, by index.
    fresh: Vec<u32>,
}

impl Engine {
    /// Opens a message down with the chip.
    pub(super) async fn open_down(
        &self,
        epoch: &OpenEpoch,
        turn: u64,
        envelope: &Envelope,
    ) -> Result<Opened, Error> {
        let opened = self.take_layers_off(epoch, turn, envelope).await?;
        let content = Content::decode(&opened.content)?;
        Ok(Opened { content, outer: envelope.route.outer })
    }

    /// All layers of a message down, each as it was found. Where the key layer stands outside,
    /// whoever makes envelopes makes the chip work, so that attempts in vain are limited.
    pub(super) async fn take_layers_off(
        &self,
        epoch: &OpenEpoch,
        turn: u64,
        envelope: &Envelope,
    ) -> Result<message::Opened, Error> {
        let opening = DownOpening::begin(&epoch.bond, &epoch.keys, envelope)?;
        let is_unproven = envelope.route.outer == Outer::Key;
        if is_unproven {
            lock(&self.attempts).begin(turn, Instant::now())?;
        }
        let (chip, key) = (self.hardware.lane(turn), epoch.device_keys.decryption());
        let secret = chip.decapsulate(key, opening.encapsulation()).await?;
        let opened = opening.finish(&secret, &epoch.server_keys.signing)?;
        if is_unproven {
            lock(&self.attempts).opened(turn);
        }
        Ok(opened)
    }

    /// A message that a fetch has brought.
    pub(super) async fn deliver_fetched(
        &self,
        epoch: &Arc<OpenEpoch>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let opened = self.open_down(epoch, OWN_LANE, &Envelope::decode(bytes)?).await?;
        let mut lane = self.lane.lock().await;
        self.deliver(&mut lane, opened).await.map(drop)
    }

    /// Keeps a message, tells whom it concerns, and does what follows from it.
    pub(super) async fn deliver(&self, lane: &mut Lane, opened: Opened) -> Result<Arrival, Error> {
        let listener = lock(&self.listeners).of(&opened.content.service);
        let owner = listener.map(|listener| listener.uid);
        let epoch = self.epoch()?.keys.epoch;
        let arrival = self.store.run(move |tx| accept(tx, &opened, owner, epoch)).await?;
        self.work.send_replace(());
        self.news.send_replace(());
        self.announce(&arrival);
        if let Err(error) = self.do_due(lane, arrival.row.clone()).await {
            // The message is kept all the same; what is due is tried again.
            tracing::warn!(kind = error.kind.name(), "not done yet: {error}");
            self.unsettled.notify_one();
        }
        Ok(arrival)
    }

    fn announce(&self, arrival: &Arrival) {
        let (trade, Some(uid)) = (&arrival.row.trade, arrival.row.owner) else { return };
        if arrival.before == Stage::Offered && trade.stage() != Stage::Offered {
            self.offer(&arrival.row);
        }
        for index in &arrival.fresh {
            self.tell(Event::Message { uid, trade: trade.id(), index: *index });
        }
        self.tell_ended(arrival.before, &arrival.row);
    }

    /// Tells the owner when a trade has just ended.
    pub(super) fn tell_ended(&self, before: Stage, row: &TradeRow) {
        let is_over = |stage| matches!(stage, Stage::Ended | Stage::Refused);
        if let Some(uid) = row.owner
            && is_over(row.trade.stage())
            && !is_over(before)
        {
            self.tell(Event::Closed { uid, trade: row.trade.id() });
        }
    }
}

/// Judges a message and keeps it. `listener` is who gets a trade that nobody has heard of.
fn accept(
    tx: &Tx<'_>,
    opened: &Opened,
    listener: Option<u32>,
    epoch: u64,
) -> Result<Arrival, Error> {
    let content = &opened.content;
    let known = tx.trade(content.trade)?;
    let mut row = known.unwrap_or_else(|| TradeRow {
        owner: listener,
        trade: Trade::heard(content, Direction::Up, opened.outer),
    });
    let before = row.trade.stage();
    let mut fresh = vec![];
    let hash = tx.known(content.trade, content.index)?;
    match row.trade.receive(content, opened.outer, hash) {
        Ok(Received::Again) => {}
        Ok(Received::New) => {
            tx.put_trade(&row, epoch)?;
            keep(tx, content)?;
            fresh = pass(tx, &mut row.trade)?;
            tx.put_trade(&row, epoch)?;
        }
        // It is over on this side; the server need not send it again.
        Err(Reason::TradeEnded) => {}
        Err(reason) => {
            // Only a server that is faulty, or was rolled back, sends this. The others' trades
            // go on, so it is acknowledged; this one does not.
            tracing::error!(code = reason.code(), "alarm: the server broke the rules of a trade");
            row.trade.refuse();
            tx.put_trade(&row, epoch)?;
        }
    }
    tx.put_ack(&Ack {
        trade_id: content.trade.0,
        index: content.index.number(),
        inner_hash: content.inner_hash(Direction::Down).0,
    })?;
    Ok(Arrival { row, before, fresh })
}

/// Keeps a message, and what a withdrawal puts in the place of others.
fn keep(tx: &Tx<'_>, content: &Content) -> Result<(), Error> {
    tx.put_message(content)?;
    if content.message_type == MessageType::Withdraw {
        for message in Withdraw::of(content)?.messages() {
            let known: Option<InnerHash> = tx.known(content.trade, message.index)?;
            if !Trade::is_known(known, message.hash)? {
                tx.put_withdrawn(content.trade, message)?;
            }
        }
    }
    Ok(())
}

/// Passes every row whose turn has come; gives the indices of those for the application.
fn pass(tx: &Tx<'_>, trade: &mut Trade) -> Result<Vec<u32>, Error> {
    let mut fresh = vec![];
    while let Some(index) = trade.next_index()
        && let Some(row) = tx.row(trade.id(), index)?
    {
        if let Err(reason) = trade.pass(&row) {
            tracing::error!(code = reason.code(), "alarm: the server broke the rules of a trade");
            trade.refuse();
            break;
        }
        if matches!(&row, Row::Message(content) if content.message_type.is_for_application()) {
            fresh.push(index.number());
        }
    }
    Ok(fresh)
}
