//! Trades, as their owners make them.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::time::{Instant, timeout_at};
use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Envelope;
use twinseal_scheme::trade::{Content, Kind as TradeKind, Service, Stage, Trade, Withdrawn};

use super::Engine;
use crate::store::{TradeRow, Tx};
use crate::{Caller, Error, Kind, Message, Options, TradeView};

/// What a trade is opened with.
pub(crate) enum Opening {
    /// Nothing: messages follow.
    Trade,
    /// The request of an exchange.
    Request(Vec<u8>),
}

impl Engine {
    pub(crate) async fn open_trade(
        &self,
        caller: &Caller,
        service: &str,
        options: &Options,
        opening: Opening,
    ) -> Result<TradeId, Error> {
        let service = Service::new(service)?;
        self.access.service(caller, &service)?;
        let mut lane = self.open_lane().await?;
        let (uid, limit) = (caller.uid, self.config.limits.trades_per_user);
        if self.store.run(move |tx| tx.trades_open(uid)).await? >= limit {
            return Err(Error::new(Kind::Busy, "you have too many trades").and("close some"));
        }
        let mut id = TradeId([0; 16]);
        OsRng.fill_bytes(&mut id.0);
        let (trade, content) = match opening {
            Opening::Trade => Trade::open(id, service, Direction::Up, options.outer),
            Opening::Request(payload) => {
                let content_type = &options.content_type;
                Trade::request(id, service, Direction::Up, options.outer, content_type, payload)
            }
        }?;
        let row = TradeRow { owner: Some(uid), trade };
        self.seal_and_keep(&mut lane, uid.into(), row, vec![content], None).await?;
        Ok(id)
    }

    /// Seals the application's next message and puts it into the outbox.
    pub(crate) async fn send(
        &self,
        caller: &Caller,
        id: TradeId,
        payload: Vec<u8>,
        content_type: &str,
    ) -> Result<u32, Error> {
        let mut lane = self.open_lane().await?;
        let mut row = self.owned(caller, id).await?;
        let before = row.trade.stage();
        let content = next_content(&mut row.trade, payload, content_type)?;
        let index = content.index.number();
        let turn = caller.uid.into();
        self.seal_and_keep(&mut lane, turn, row.clone(), vec![content], None).await?;
        self.tell_ended(before, &row);
        Ok(index)
    }

    /// Seals the application's next message, which it carries itself.
    pub(crate) async fn seal(
        &self,
        caller: &Caller,
        id: TradeId,
        payload: Vec<u8>,
        content_type: &str,
    ) -> Result<Vec<u8>, Error> {
        let mut lane = self.open_lane().await?;
        let mut row = self.owned(caller, id).await?;
        let content = next_content(&mut row.trade, payload, content_type)?;
        let hash = content.inner_hash(Direction::Up);
        let loose = Withdrawn { index: content.index, hash };
        let sealed = self.seal_in(&mut lane, caller.uid.into(), row.trade.outer(), content).await?;
        let (generation, epoch) = (sealed.generation, sealed.epoch);
        let keep = self.store.run(move |tx| {
            tx.put_trade(&row, epoch)?;
            tx.use_epoch(generation, epoch)?;
            tx.put_loose(id, &loose)
        });
        keep.await?;
        Ok(sealed.envelope)
    }

    /// Opens an envelope that the application carried itself.
    pub(crate) async fn open(
        &self,
        caller: &Caller,
        id: TradeId,
        envelope: &[u8],
    ) -> Result<Message, Error> {
        let epoch = self.epoch()?;
        let row = self.owned(caller, id).await?;
        let envelope = nested_as(&row.trade, envelope)?;
        let opened = self.open_down(&epoch, caller.uid.into(), &envelope).await?;
        if opened.content.trade != id {
            return Err(Error::new(Kind::Rejected, "this message is of another trade")
                .and("open it with that one"));
        }
        let index = opened.content.index.number();
        let mut lane = self.open_lane().await?;
        let arrival = self.deliver(&mut lane, opened).await?;
        if arrival.row.trade.received().count < index {
            return Err(Error::new(Kind::Incomplete, "a message before this one is missing")
                .and("open that one first; this one is kept"));
        }
        let found = self.store.run(move |tx| {
            // Whoever opens the next one has those before it.
            tx.forget_messages(id, index.saturating_sub(1))?;
            tx.messages(id, index.saturating_sub(1), index)
        });
        let content = found.await?.pop();
        content.map(message).ok_or_else(|| {
            Error::new(Kind::Stale, "this message is not for you, or you have it already")
                .and("go on with the next one")
        })
    }

    pub(crate) async fn receive(
        &self,
        caller: &Caller,
        id: TradeId,
        after: u32,
        wait: Duration,
    ) -> Result<Vec<Message>, Error> {
        self.owned(caller, id).await?;
        self.store.run(move |tx| tx.forget_messages(id, after)).await?;
        let waiting = self.wait_for(wait, move |tx| {
            let row = found(tx, id)?;
            let messages = tx.messages(id, after, row.trade.received().count)?;
            let is_over = matches!(row.trade.stage(), Stage::Ended | Stage::Refused);
            Ok((is_over || !messages.is_empty()).then_some(messages))
        });
        Ok(waiting.await?.unwrap_or_default().into_iter().map(message).collect())
    }

    /// Waits for the reply of an exchange, and hands it over.
    pub(crate) async fn reply(&self, id: TradeId, wait: Duration) -> Result<Message, Error> {
        let waiting = self.wait_for(wait, move |tx| {
            let row = found(tx, id)?;
            let reply = tx.messages(id, 0, row.trade.received().count)?.into_iter().next();
            if let Some(reply) = &reply {
                tx.forget_messages(id, reply.index.number())?;
            } else if row.trade.stage() == Stage::Refused {
                return Err(refused());
            }
            Ok(reply)
        });
        waiting.await?.map(message).ok_or_else(|| {
            Error::new(Kind::Timeout, format!("no reply in time to the exchange {id}"))
                .and("receive it from that trade later")
        })
    }

    /// Closes the caller's side, if it is not closed. An exchange closes by itself.
    pub(crate) async fn close(&self, caller: &Caller, id: TradeId) -> Result<(), Error> {
        let row = self.owned(caller, id).await?;
        let is_exchange = row.trade.kind() == Some(TradeKind::Exchange);
        if row.trade.due().is_none() && (is_exchange || row.trade.stage() != Stage::Open) {
            return Ok(());
        }
        let mut lane = self.open_lane().await?;
        // Read again, now that nobody else can change it.
        let row = self.owned(caller, id).await?;
        match row.trade.stage() {
            Stage::Open => self.close_in(&mut lane, caller.uid.into(), row).await.map(drop),
            _ => self.do_due(&mut lane, row).await,
        }
    }

    /// Waits for the receipt of a trade that is being closed.
    pub(crate) async fn closed(&self, id: TradeId, wait: Duration) -> Result<Vec<u8>, Error> {
        let waiting = self.wait_for(wait, move |tx| match tx.receipt(id)? {
            None if found(tx, id)?.trade.stage() == Stage::Refused => Err(refused()),
            receipt => Ok(receipt),
        });
        waiting.await?.ok_or_else(|| {
            Error::new(Kind::Timeout, "the server has not closed this trade yet")
                .and("close it again to wait for the receipt")
        })
    }

    pub(crate) async fn receipt(&self, caller: &Caller, id: TradeId) -> Result<Vec<u8>, Error> {
        self.owned(caller, id).await?;
        let receipt = self.store.run(move |tx| tx.receipt(id)).await?;
        receipt.ok_or_else(|| {
            Error::new(Kind::NotFound, "this trade has no receipt").and("close it first")
        })
    }

    pub(crate) async fn trade(&self, caller: &Caller, id: TradeId) -> Result<TradeView, Error> {
        let row = self.owned(caller, id).await?;
        self.store.run(move |tx| view(tx, &row)).await
    }

    /// The trade, if it is the caller's.
    pub(super) async fn owned(&self, caller: &Caller, id: TradeId) -> Result<TradeRow, Error> {
        let uid = caller.uid;
        let row = self.store.run(move |tx| tx.trade(id)).await?;
        row.filter(|row| row.owner == Some(uid)).ok_or_else(|| Kind::NotFound.into())
    }

    /// Looks again whenever a trade has changed, until there is something or the time is over.
    async fn wait_for<T: Send + 'static>(
        &self,
        wait: Duration,
        look: impl Fn(&Tx<'_>) -> Result<Option<T>, Error> + Clone + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let deadline = Instant::now() + wait;
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            let seen = self.store.run(look.clone()).await?;
            if seen.is_some() || timeout_at(deadline, news.changed()).await.is_err() {
                return Ok(seen);
            }
        }
    }
}

/// What a call to send means in this kind of trade.
fn next_content(trade: &mut Trade, payload: Vec<u8>, content_type: &str) -> Result<Content, Error> {
    match trade.kind() {
        Some(TradeKind::Exchange) => Ok(trade.reply(content_type, payload)?),
        _ => Ok(trade.data(content_type, payload)?),
    }
}

/// An envelope of the trade's order. In another it would be refused after the chip's work, and
/// who forges it chooses the order.
///
/// # Errors
/// The reasons of form; [`Reason::WrongOrder`].
pub(super) fn nested_as(trade: &Trade, bytes: &[u8]) -> Result<Envelope, Reason> {
    let envelope = Envelope::decode(bytes)?;
    match envelope.route.outer == trade.outer() {
        true => Ok(envelope),
        false => Err(Reason::WrongOrder),
    }
}

fn found(tx: &Tx<'_>, id: TradeId) -> Result<TradeRow, Error> {
    tx.trade(id)?.ok_or_else(|| Kind::NotFound.into())
}

fn refused() -> Error {
    Error::new(Kind::Rejected, "the server refused this trade").and("ask its operator why")
}

fn message(content: Content) -> Message {
    let Content { index, content_type, payload, .. } = content;
    Message { index: index.number(), content_type, payload }
}

fn view(tx: &Tx<'_>, row: &TradeRow) -> Result<TradeView, Error> {
    let trade = &row.trade;
    let loose = tx.loose(trade.id())?.len();
    let waiting = tx.pending_of(trade.id())?.saturating_add(u32::try_from(loose).unwrap_or(0));
    Ok(TradeView {
        id: trade.id(),
        uid: row.owner.unwrap_or_default(),
        service: trade.service().as_str().to_owned(),
        state: match trade.stage() {
            Stage::Offered => "Offered",
            Stage::Open => "Open",
            Stage::Closing => "Closing",
            Stage::Closed => "Closed",
            Stage::Ended => "Ended",
            Stage::Refused => "Refused",
        },
        is_exchange: trade.kind() == Some(TradeKind::Exchange),
        is_offered: trade.opener() == Direction::Down,
        outer: trade.outer(),
        sent: trade.sent().count,
        accepted: trade.sent().count.saturating_sub(waiting),
        received: trade.received().count,
    })
}
