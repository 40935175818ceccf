//! What back ends do with trades: open, send, reply, close, exchange.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use tokio::time::Instant;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{DeviceId, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Content, Index, MessageType, Row, Service, Stage, Trade};

use super::ledger::Ledger;
use super::{App, Error};
use crate::store::{Caller, Entry, MessageKey, State, StoredTrade};

/// A message for a device: its media type, and its bytes.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// Such as `application/json`; may be empty.
    pub content_type: String,
    /// At most [`twinseal_scheme::trade::PAYLOAD_LEN_MAX`] bytes.
    pub bytes: Vec<u8>,
}

impl App {
    /// Opens a trade with a device.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] when the device may not trade, and the rules of
    /// trades.
    pub async fn open_trade(
        &self,
        caller: &Caller,
        device: &DeviceId,
        service: &str,
        outer: Outer,
    ) -> Result<TradeId, Error> {
        let (trade, content) =
            Trade::open(random_id(), Service::new(service)?, Direction::Down, outer)?;
        let id = trade.id();
        self.begin(caller, device, trade, content).await?;
        Ok(id)
    }

    /// Opens an exchange with a device: the request of a trade of two messages.
    ///
    /// # Errors
    /// Those of [`App::open_trade`].
    pub async fn request(
        &self,
        caller: &Caller,
        device: &DeviceId,
        service: &str,
        outer: Outer,
        request: Payload,
    ) -> Result<TradeId, Error> {
        let (trade, content) = Trade::request(
            random_id(),
            Service::new(service)?,
            Direction::Down,
            outer,
            &request.content_type,
            request.bytes,
        )?;
        let id = trade.id();
        self.begin(caller, device, trade, content).await?;
        Ok(id)
    }

    /// Sends a message within a trade; gives its index.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], and the rules of trades.
    pub async fn send(
        &self,
        caller: &Caller,
        device: &DeviceId,
        trade: &TradeId,
        payload: Payload,
    ) -> Result<Index, Error> {
        let step = |trade: &mut Trade| Ok(vec![trade.data(&payload.content_type, payload.bytes)?]);
        self.step(caller, device, trade, "trade.send", step).await
    }

    /// Replies to a request, which ends the exchange.
    ///
    /// # Errors
    /// Those of [`App::send`].
    pub async fn reply(
        &self,
        caller: &Caller,
        device: &DeviceId,
        trade: &TradeId,
        payload: Payload,
    ) -> Result<Index, Error> {
        let step = |trade: &mut Trade| Ok(vec![trade.reply(&payload.content_type, payload.bytes)?]);
        self.step(caller, device, trade, "trade.reply", step).await
    }

    /// Closes a trade from the server's side. It ends when the device has closed too, and the
    /// receipt is complete.
    ///
    /// # Errors
    /// Those of [`App::send`].
    pub async fn close_trade(
        &self,
        caller: &Caller,
        device: &DeviceId,
        trade: &TradeId,
    ) -> Result<Index, Error> {
        let step = |trade: &mut Trade| Ok(trade.close(&[])?);
        self.step(caller, device, trade, "trade.close", step).await
    }

    /// A trade as it stands.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn trade(&self, device: &DeviceId, trade: &TradeId) -> Result<StoredTrade, Error> {
        let stored = self.store.read().await?.trade(device, trade).await?;
        stored.ok_or(Error::NotFound("trade"))
    }

    /// Waits until a message of the device in a trade counts, and gives it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such trade. Nothing when time is up.
    pub async fn wait_for(
        &self,
        device: &DeviceId,
        trade: &TradeId,
        index: Index,
        wait: Duration,
    ) -> Result<Option<Content>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let waiter = self.arrivals.waiter((*device, *trade));
            if let Some(content) = self.received(device, trade, index).await? {
                return Ok(Some(content));
            }
            if !waiter.wait(deadline).await {
                return Ok(None);
            }
        }
    }

    /// The complete receipt of a trade that has ended: signed by both sides.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such trade; [`Error::Conflict`] while it has not ended.
    pub async fn receipt(&self, device: &DeviceId, trade: &TradeId) -> Result<Vec<u8>, Error> {
        let stored = self.trade(device, trade).await?.trade;
        let not_yet = || {
            let what = "the trade has no complete receipt yet: close it, or wait for the device";
            Error::Conflict("no-receipt", what.to_owned())
        };
        if stored.stage() != Stage::Ended {
            return Err(not_yet());
        }
        let last = Index::new(stored.received().count)?;
        match self.received(device, trade, last).await? {
            Some(content) if content.message_type == MessageType::Receipt => Ok(content.payload),
            _ => Err(not_yet()),
        }
    }

    /// The device's message with this index, once it counts.
    async fn received(
        &self,
        device: &DeviceId,
        trade: &TradeId,
        index: Index,
    ) -> Result<Option<Content>, Error> {
        let mut tx = self.store.read().await?;
        let stored = tx.trade(device, trade).await?.ok_or(Error::NotFound("trade"))?;
        if stored.trade.received().count < index.number() {
            return Ok(None);
        }
        let (device, trade) = (*device, *trade);
        let key = MessageKey { device, trade, direction: Direction::Up, index };
        Ok(tx.message(&key).await?.and_then(|message| match message.row {
            Row::Message(content) => Some(content),
            Row::Withdrawn(_) => None,
        }))
    }

    async fn begin(
        &self,
        caller: &Caller,
        device: &DeviceId,
        trade: Trade,
        content: Content,
    ) -> Result<(), Error> {
        let mut write = self.store.write(caller).await?;
        let standing = write.standing(device, &self.server_id()).await?;
        let standing = standing.ok_or(Error::NotFound("device"))?;
        if standing.state != State::Active {
            let what = format!("the device is {}: it cannot trade", standing.state.word());
            return Err(Error::Conflict("device-not-active", what));
        }
        if write.queue_len(device).await? >= self.limits.queue_max {
            return Err(Error::Busy);
        }
        let subject = format!("trade {}", trade.id());
        Ledger::new(self, &standing, &mut write).send(trade, &[content]).await?;
        write.commit(Entry::of("trade.open", *device, subject)).await?;
        self.wakes.wake(device);
        Ok(())
    }

    async fn step(
        &self,
        caller: &Caller,
        device: &DeviceId,
        id: &TradeId,
        action: &'static str,
        step: impl FnOnce(&mut Trade) -> Result<Vec<Content>, Error>,
    ) -> Result<Index, Error> {
        let mut write = self.store.write(caller).await?;
        let standing = write.standing(device, &self.server_id()).await?;
        let standing = standing.ok_or(Error::NotFound("device"))?;
        let stored = write.trade(device, id).await?.ok_or(Error::NotFound("trade"))?;
        if write.queue_len(device).await? >= self.limits.queue_max {
            return Err(Error::Busy);
        }
        let mut trade = stored.trade;
        let contents = step(&mut trade)?;
        let index = contents.last().map_or(Index::FIRST, |content| content.index);
        Ledger::new(self, &standing, &mut write).send(trade, &contents).await?;
        let subject = format!("trade {id} index {index}");
        write.commit(Entry::of(action, *device, subject)).await?;
        self.wakes.wake(device);
        self.arrivals.wake(&(*device, *id));
        Ok(index)
    }
}

fn random_id() -> TradeId {
    let mut id = [0; 16];
    OsRng.fill_bytes(&mut id);
    TradeId(id)
}
