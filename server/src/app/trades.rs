//! Trades, as back ends use them (claims 3, 12 and 13).
//!
//! What is asked for twice is done once: a back end may name the trade and the index itself, and
//! gets the same answer when it asks again with the same content.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::id::{DeviceId, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Content, Index, Kind, MessageType, Row, Service, Stage, Trade};

use super::api_keys::Backend;
use super::bells::Bell;
use super::inbox::ANSWER_BYTES;
use super::{App, Error, ledger};
use crate::store::{
    Entry, MessageKey, Standing, StoredMessage, StoredTrade, TradeFilter, Tx, Write,
};

/// What an application says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The application's word for the payload; may be empty.
    pub content_type: String,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A trade to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// With whom.
    pub device: DeviceId,
    /// For which application there.
    pub service: Service,
    /// Which layer stands outside in all its messages.
    pub outer: Outer,
    /// Its id, where the back end chooses it.
    pub trade: Option<TradeId>,
    /// Makes it an exchange, with this request.
    pub request: Option<Message>,
}

impl App {
    /// Opens a trade, or an exchange with its request.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the device, or a service that is not the caller's;
    /// [`Error::Conflict`] `device-not-active`, `trade-exists`; [`Error::Busy`] when too much
    /// waits to go down; [`Reason::BadContentType`], [`Reason::PayloadTooLarge`].
    pub async fn open_trade(
        &self,
        backend: &Backend,
        opening: &Opening,
    ) -> Result<StoredTrade, Error> {
        if !backend.serves(&opening.service) {
            return Err(Error::NotFound("service for this API key"));
        }
        let id = opening.trade.unwrap_or_else(random_trade_id);
        let (trade, content) = opened(id, opening)?;
        let mut write = self.store.write(&backend.caller()).await?;
        if let Some(stored) = write.trade(&opening.device, &id).await? {
            same_opening(&mut write, &stored, &content).await?;
            return Ok(stored);
        }
        self.active(&mut write, &opening.device).await?;
        self.check_queue(&mut write, &opening.device).await?;
        write.put_trade(&opening.device, &trade).await?;
        ledger::send(&mut write, &opening.device, &[content]).await?;
        let stored = write.trade(&opening.device, &id).await?;
        let stored = stored.ok_or(Error::NotFound("trade"))?;
        write.commit(Entry::of("trade.open", opening.device, format!("trade {id}"))).await?;
        self.bells.ring(Bell::Down(opening.device));
        Ok(stored)
    }

    /// Sends a message: data in a trade, the reply in an exchange. `index`, where the back end
    /// gives it, is the place that the message must have.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] `device-not-active`, `other-content`,
    /// `wrong-index`; [`Error::Busy`]; the reasons of [`Trade::data`] and [`Trade::reply`].
    pub async fn send(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
        index: Option<u32>,
        message: Message,
    ) -> Result<Index, Error> {
        let mut write = self.store.write(&backend.caller()).await?;
        let mut trade = found(&mut write, backend, device, id).await?.trade;
        if let Some(sent) = sent_before(&mut write, device, &trade, index, &message).await? {
            return Ok(sent);
        }
        let standing = self.active(&mut write, device).await?;
        self.check_queue(&mut write, device).await?;
        let content = match trade.kind() {
            Some(Kind::Exchange) => trade.reply(&message.content_type, message.payload)?,
            _ => trade.data(&message.content_type, message.payload)?,
        };
        let index = content.index;
        ledger::send(&mut write, device, &[content]).await?;
        ledger::settle(self, &mut write, &standing, &mut trade).await?;
        let subject = format!("trade {id} index {index}");
        write.commit(Entry::of("message.send", *device, subject)).await?;
        self.bells.ring(Bell::Down(*device));
        Ok(index)
    }

    /// Closes a trade on this side; once is enough.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] `device-not-active`, [`Reason::WrongKind`].
    pub async fn close_trade(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
    ) -> Result<StoredTrade, Error> {
        let mut write = self.store.write(&backend.caller()).await?;
        let stored = found(&mut write, backend, device, id).await?;
        let standing = self.active(&mut write, device).await?;
        let mut trade = stored.trade.clone();
        let contents = match trade.close(&[]) {
            Err(Reason::AfterClose | Reason::TradeEnded) => return Ok(stored),
            contents => contents?,
        };
        ledger::send(&mut write, device, &contents).await?;
        ledger::settle(self, &mut write, &standing, &mut trade).await?;
        let stored = write.trade(device, id).await?.unwrap_or(stored);
        write.commit(Entry::of("trade.close", *device, format!("trade {id}"))).await?;
        self.bells.ring(Bell::Down(*device));
        Ok(stored)
    }

    /// A trade.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn trade(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
    ) -> Result<StoredTrade, Error> {
        found(&mut self.store.read().await?, backend, device, id).await
    }

    /// The trades of the caller's services that fit, and where to go on.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub async fn trades(
        &self,
        backend: &Backend,
        filter: &TradeFilter,
    ) -> Result<(Vec<StoredTrade>, Option<(DeviceId, TradeId)>), Error> {
        let mut trades = self.store.read().await?.trades(filter).await?;
        let next = trades.last().filter(|_| trades.len() == filter.limit as usize);
        let next = next.map(|stored| (stored.device, stored.trade.id()));
        trades.retain(|stored| backend.serves(stored.trade.service()));
        Ok((trades, next))
    }

    /// What the device has sent in a trade and counts, after an index, at most `limit`; waits for
    /// the first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn messages(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
        after: u32,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<(Content, u64)>, Error> {
        let look = move || async move {
            let mut tx = self.store.read().await?;
            let stored = found(&mut tx, backend, device, id).await?;
            let messages = counted(&mut tx, &stored, after, limit).await?;
            let over = matches!(stored.trade.stage(), Stage::Ended | Stage::Refused);
            Ok(Some(messages).filter(|messages| over || !messages.is_empty()))
        };
        let wait = wait.min(self.limits.poll_max);
        Ok(self.bells.wait(Bell::Up(*device), wait, look).await?.unwrap_or_default())
    }

    /// One message of the device's that counts.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn message_at(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
        index: Index,
    ) -> Result<Content, Error> {
        let after = index.number() - 1;
        let messages = self.messages(backend, device, id, after, 1, Duration::ZERO).await?;
        let message = messages.into_iter().map(|(content, _)| content).next();
        message.filter(|content| content.index == index).ok_or(Error::NotFound("message"))
    }

    /// An exchange: a request, and its reply if it comes in time. A reply that is given here is
    /// acknowledged in the inbox.
    ///
    /// # Errors
    /// Those of [`App::open_trade`].
    pub async fn exchange(
        &self,
        backend: &Backend,
        opening: &Opening,
        wait: Duration,
    ) -> Result<(StoredTrade, Option<Content>), Error> {
        let stored = self.open_trade(backend, opening).await?;
        let (device, id) = (stored.device, stored.trade.id());
        let messages = self.messages(backend, &device, &id, 0, 1, wait).await?;
        let Some((reply, _)) = messages.into_iter().next() else { return Ok((stored, None)) };
        let mut write = self.store.write(&backend.caller()).await?;
        write.acknowledge_message(&device, &id, reply.index).await?;
        write.commit(Entry::of("inbox.acknowledge", device, format!("trade {id}"))).await?;
        Ok((self.trade(backend, &device, &id).await?, Some(reply)))
    }

    /// The receipt of a trade, signed by both.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] `receipt-not-complete`.
    pub async fn receipt(
        &self,
        backend: &Backend,
        device: &DeviceId,
        id: &TradeId,
    ) -> Result<Vec<u8>, Error> {
        let mut tx = self.store.read().await?;
        let trade = found(&mut tx, backend, device, id).await?.trade;
        let last = Index::new(trade.received().count).ok();
        if let (Stage::Ended, Some(index)) = (trade.stage(), last) {
            let key = MessageKey { device: *device, trade: *id, direction: Direction::Up, index };
            if let Some(StoredMessage { row: Row::Message(content), .. }) = tx.message(&key).await?
                && content.message_type == MessageType::Receipt
            {
                return Ok(content.payload);
            }
        }
        let text = "both sides must close, and the device must countersign: ask again later";
        Err(Error::Conflict("receipt-not-complete", text.to_owned()))
    }

    /// The record of a device that may trade.
    async fn active(&self, tx: &mut Tx<'_>, device: &DeviceId) -> Result<Standing, Error> {
        let standing = tx.standing(device, &self.server_id()).await?;
        let standing = standing.ok_or(Error::NotFound("device"))?;
        match standing.state {
            DeviceState::Active => Ok(standing),
            state => {
                let text = format!("the device is {}: only an active one trades", state.word());
                Err(Error::Conflict("device-not-active", text))
            }
        }
    }

    async fn check_queue(&self, tx: &mut Tx<'_>, device: &DeviceId) -> Result<(), Error> {
        match tx.queue_len(device).await? >= self.limits.queue_max {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }
}

/// A trade that exists and is the caller's.
async fn found(
    tx: &mut Tx<'_>,
    backend: &Backend,
    device: &DeviceId,
    id: &TradeId,
) -> Result<StoredTrade, Error> {
    let stored = tx.trade(device, id).await?;
    stored.filter(|stored| backend.serves(stored.trade.service())).ok_or(Error::NotFound("trade"))
}

fn opened(id: TradeId, opening: &Opening) -> Result<(Trade, Content), Reason> {
    let (service, outer) = (opening.service.clone(), opening.outer);
    match opening.request.clone() {
        None => Trade::open(id, service, Direction::Down, outer),
        Some(Message { content_type, payload }) => {
            Trade::request(id, service, Direction::Down, outer, &content_type, payload)
        }
    }
}

/// Whether a trade with this id was opened in the same way before.
async fn same_opening(
    write: &mut Write<'_>,
    stored: &StoredTrade,
    content: &Content,
) -> Result<(), Error> {
    let key = MessageKey {
        device: stored.device,
        trade: content.trade,
        direction: Direction::Down,
        index: Index::FIRST,
    };
    let first = write.message(&key).await?.map(|first| first.row);
    match first == Some(Row::Message(content.clone())) {
        true => Ok(()),
        false => Err(Error::Conflict(
            "trade-exists",
            "a trade with this id was opened otherwise: choose another id".to_owned(),
        )),
    }
}

/// The index under which this very message was sent before, where the caller names one.
async fn sent_before(
    write: &mut Write<'_>,
    device: &DeviceId,
    trade: &Trade,
    index: Option<u32>,
    message: &Message,
) -> Result<Option<Index>, Error> {
    let Some(number) = index else { return Ok(None) };
    let index = Index::new(number)?;
    let key = MessageKey { device: *device, trade: trade.id(), direction: Direction::Down, index };
    match write.message(&key).await?.map(|sent| sent.row) {
        Some(Row::Message(sent))
            if sent.payload == message.payload && sent.content_type == message.content_type =>
        {
            Ok(Some(index))
        }
        Some(_) => Err(Error::Conflict(
            "other-content",
            format!("index {number} was sent with other content"),
        )),
        None if number == trade.sent().count + 1 => Ok(None),
        None => Err(Error::Conflict(
            "wrong-index",
            format!("the next index is {}", trade.sent().count + 1),
        )),
    }
}

/// Applications' messages that count, in order.
async fn counted(
    tx: &mut Tx<'_>,
    stored: &StoredTrade,
    after: u32,
    limit: usize,
) -> Result<Vec<(Content, u64)>, Error> {
    let (mut messages, mut bytes) = (vec![], 0);
    for number in after.saturating_add(1)..=stored.trade.received().count {
        let key = MessageKey {
            device: stored.device,
            trade: stored.trade.id(),
            direction: Direction::Up,
            index: Index::new(number)?,
        };
        match tx.message(&key).await? {
            Some(StoredMessage { row: Row::Message(content), at, .. })
                if content.message_type.is_for_application() =>
            {
                bytes += content.payload.len();
                messages.push((content, at));
            }
            _ => (),
        }
        if messages.len() == limit || bytes > ANSWER_BYTES {
            break;
        }
    }
    Ok(messages)
}

fn random_trade_id() -> TradeId {
    let mut id = [0; 16];
    OsRng.fill_bytes(&mut id);
    TradeId(id)
}
