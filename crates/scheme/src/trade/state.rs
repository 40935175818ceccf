//! The durable state of one trade on one side, and its transitions (scheme, section 8).

use crate::Reason;
use crate::direction::Direction;
use crate::id::{InnerHash, TradeId};
use crate::message::Outer;

use super::{
    Chain, Close, Content, Index, MessageType, Service, WITHDRAWN_MAX, Withdraw, Withdrawn,
};

/// No application sends more messages than this in one direction of one trade; what lies
/// above is left to control messages.
const DATA_INDEX_MAX: u32 = u32::MAX / 2;

choice! {
    /// The two kinds of trades.
    Kind {
        /// Opened, any number of messages both ways, closed, and a receipt.
        Trade = 0,
        /// A request and its reply (claims 12, 13). Each is its side's close, so that it ends
        /// by itself.
        Exchange = 1,
    }
}

/// How far a trade has come on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Something of it has arrived, its opening message has not.
    Offered,
    /// Both sides may send; or the reply of an exchange is awaited.
    Open,
    /// One close has been sent or received, the other has not.
    Closing,
    /// Both closes are there; the receipt is not complete.
    Closed,
    /// Nothing more will be said. An ended trade is remembered until nothing of it can
    /// arrive any more (scheme, section 8).
    Ended,
    /// The other side refused a message of it. Nothing more will be said, and there is no receipt.
    Refused,
}

/// What this side has to send without being asked to. It follows from the durable state,
/// so that it is not lost in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The other side has closed: [`Trade::close`].
    Close,
    /// The server issues the receipt: [`Trade::receipt`].
    Receipt,
    /// The device signs the newest receipt that names its own keys: [`Trade::receipt`].
    Countersignature,
}

/// Whether a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Keep its [`Row`], then [`Trade::pass`] every row whose turn has come.
    New,
    /// It was received before, or has been withdrawn: acknowledge it and do nothing.
    Again,
}

/// What the caller keeps of the other side's message with one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It has arrived.
    Message(Content),
    /// A withdrawal stands in for it.
    Withdrawn(InnerHash),
}

/// One trade as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    pub(super) id: TradeId,
    pub(super) service: Service,
    /// The direction of what this side sends: up on the device, down on the server.
    pub(super) me: Direction,
    pub(super) opener: Direction,
    pub(super) outer: Outer,
    /// Known once the opening message has been passed.
    pub(super) kind: Option<Kind>,
    pub(super) sent: Chain,
    pub(super) received: Chain,
    /// Up to and including the close of each side; of an exchange, its one message.
    pub(super) close_sent: Option<Chain>,
    pub(super) close_received: Option<Chain>,
    /// How much of what this side sent the other side's close says that it has.
    pub(super) peer_has: u32,
    /// 1 when the server's receipt has been issued or received, 2 when it is complete.
    pub(super) receipts: u8,
    pub(super) is_refused: bool,
}

impl Trade {
    /// Opens a trade: its state and its opening message.
    ///
    /// # Errors
    /// None with a fresh trade; the type leaves room for the rules that all messages share.
    pub fn open(
        id: TradeId,
        service: Service,
        me: Direction,
        outer: Outer,
    ) -> Result<(Trade, Content), Reason> {
        let mut trade = Trade::new(id, service, me, me, outer, Some(Kind::Trade));
        let content = trade.append(MessageType::Open, "", vec![])?;
        Ok((trade, content))
    }

    /// Opens an exchange with its request.
    ///
    /// # Errors
    /// [`Reason::BadContentType`], [`Reason::PayloadTooLarge`].
    pub fn request(
        id: TradeId,
        service: Service,
        me: Direction,
        outer: Outer,
        content_type: &str,
        payload: Vec<u8>,
    ) -> Result<(Trade, Content), Reason> {
        let mut trade = Trade::new(id, service, me, me, outer, Some(Kind::Exchange));
        let content = trade.append(MessageType::Request, content_type, payload)?;
        Ok((trade, content))
    }

    /// A trade that this side first hears of by a message of the other side. The message
    /// need not be the opening one, and has still to be [received](Trade::receive).
    pub fn heard(content: &Content, me: Direction, outer: Outer) -> Trade {
        let service = content.service.clone();
        Trade::new(content.trade, service, me, me.back(), outer, None)
    }

    fn new(
        id: TradeId,
        service: Service,
        me: Direction,
        opener: Direction,
        outer: Outer,
        kind: Option<Kind>,
    ) -> Trade {
        Trade {
            sent: Chain::start(me, id),
            received: Chain::start(me.back(), id),
            id,
            service,
            me,
            opener,
            outer,
            kind,
            close_sent: None,
            close_received: None,
            peer_has: 0,
            receipts: 0,
            is_refused: false,
        }
    }

    /// The trade's id, random, chosen by the opener.
    pub fn id(&self) -> TradeId {
        self.id
    }

    /// The service that it is for.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The direction of the messages of whoever opened it.
    pub fn opener(&self) -> Direction {
        self.opener
    }

    /// The nesting of all its messages: that of the envelope that opened it.
    pub fn outer(&self) -> Outer {
        self.outer
    }

    /// Trade or exchange; unknown while [`Stage::Offered`].
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// What this side has sent.
    pub fn sent(&self) -> Chain {
        self.sent
    }

    /// What this side has received without a gap.
    pub fn received(&self) -> Chain {
        self.received
    }

    /// The index of the row to [pass](Trade::pass) next. `None` after 2^32 − 1 messages.
    pub fn next_index(&self) -> Option<Index> {
        Index::new(self.received.count.checked_add(1)?).ok()
    }

    /// How far the trade has come.
    pub fn stage(&self) -> Stage {
        if self.is_refused {
            return Stage::Refused;
        }
        match (self.kind, self.close_sent, self.close_received) {
            (None, _, _) => Stage::Offered,
            (_, Some(_), Some(_)) if self.receipts == 2 => Stage::Ended,
            (_, Some(_), Some(_)) => Stage::Closed,
            (_, None, None) | (Some(Kind::Exchange), _, _) => Stage::Open,
            _ => Stage::Closing,
        }
    }

    /// What this side has to send next without being asked to.
    pub fn due(&self) -> Option<Due> {
        match (self.stage(), self.me, self.receipts) {
            (Stage::Closing, _, _) if self.close_sent.is_none() => Some(Due::Close),
            (Stage::Closed, Direction::Down, 0) => Some(Due::Receipt),
            (Stage::Closed, Direction::Up, 1) => Some(Due::Countersignature),
            _ => None,
        }
    }

    /// The next message of the application.
    ///
    /// # Errors
    /// [`Reason::NotOpened`], [`Reason::WrongKind`], [`Reason::PeerClosed`],
    /// [`Reason::AfterClose`], [`Reason::TradeEnded`], [`Reason::TradeFull`],
    /// [`Reason::BadContentType`], [`Reason::PayloadTooLarge`]. The trade is then unchanged,
    /// as it is after the errors of every transition.
    pub fn data(&mut self, content_type: &str, payload: Vec<u8>) -> Result<Content, Reason> {
        if self.sent.count >= DATA_INDEX_MAX {
            return Err(Reason::TradeFull);
        }
        self.append(MessageType::Data, content_type, payload)
    }

    /// The reply that ends an exchange.
    ///
    /// # Errors
    /// [`Reason::NotOpened`], [`Reason::WrongKind`], [`Reason::ReplyNotDue`],
    /// [`Reason::TradeEnded`], [`Reason::BadContentType`], [`Reason::PayloadTooLarge`].
    pub fn reply(&mut self, content_type: &str, payload: Vec<u8>) -> Result<Content, Reason> {
        self.append(MessageType::Reply, content_type, payload)
    }

    /// Takes back messages that need not arrive any more.
    ///
    /// # Errors
    /// [`Reason::BadWithdrawal`], and those of [`Trade::close`].
    pub fn withdraw(&mut self, messages: &[Withdrawn]) -> Result<Content, Reason> {
        let withdraw = Withdraw::new(messages)?;
        self.append(MessageType::Withdraw, "", withdraw.encode())
    }

    /// Closes the trade on this side: the messages to send, in this order.
    ///
    /// `loose` are this side's messages, by index, that an application carries itself and
    /// that are not known to have arrived. Nobody else can promise their arrival, so they
    /// are withdrawn first, but for those that the other side's close says it has.
    ///
    /// # Errors
    /// [`Reason::NotOpened`], [`Reason::WrongKind`], [`Reason::AfterClose`],
    /// [`Reason::TradeEnded`], [`Reason::BadWithdrawal`].
    pub fn close(&mut self, loose: &[Withdrawn]) -> Result<Vec<Content>, Reason> {
        let mut closed = self.clone();
        let known = loose.partition_point(|w| w.index.number() <= closed.peer_has);
        let mut contents = loose
            .get(known..)
            .unwrap_or_default()
            .chunks(WITHDRAWN_MAX)
            .map(|chunk| closed.withdraw(chunk))
            .collect::<Result<Vec<_>, _>>()?;
        let payload = Close { sent: closed.sent, received: closed.received };
        contents.push(closed.append(MessageType::Close, "", payload.encode())?);
        *self = closed;
        Ok(contents)
    }

    /// The signed receipt: issued by the server, or countersigned by the device. The server
    /// may issue it again until it has the device's, which it does when the device's keys
    /// have changed.
    ///
    /// # Errors
    /// [`Reason::ReceiptNotDue`], [`Reason::WrongKind`], [`Reason::NotOpened`],
    /// [`Reason::TradeEnded`], [`Reason::PayloadTooLarge`].
    pub fn receipt(&mut self, signed: Vec<u8>) -> Result<Content, Reason> {
        self.append(MessageType::Receipt, "", signed)
    }

    /// The other side has refused a message, with an answer that is authenticated.
    pub fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Judges a verified message of the other side and changes nothing. `outer` is the
    /// nesting of its envelope; `known` the hash of the row with this index, if there is
    /// one. A message before its turn is [`Received::New`] as well; for one whose turn it
    /// is, [`Trade::pass`] is certain to succeed.
    ///
    /// A withdrawal has one more effect: for every message it names that has no row, the
    /// caller keeps a [`Row::Withdrawn`]; one that has a row is compared by
    /// [`Trade::is_known`].
    ///
    /// # Errors
    /// [`Reason::WrongTrade`], [`Reason::WrongService`], [`Reason::WrongOrder`],
    /// [`Reason::DiskRollback`] (alarm), [`Reason::TradeEnded`], those of [`Trade::pass`],
    /// and those of [`Close::decode`] and [`Withdraw::of`].
    pub fn receive(
        &self,
        content: &Content,
        outer: Outer,
        known: Option<InnerHash>,
    ) -> Result<Received, Reason> {
        if content.trade != self.id {
            return Err(Reason::WrongTrade);
        }
        if content.service != self.service {
            return Err(Reason::WrongService);
        }
        if outer != self.outer {
            return Err(Reason::WrongOrder);
        }
        let is_passed = content.index.number() <= self.received.count;
        if Self::is_known(known, content.inner_hash(self.me.back()))? || is_passed {
            return Ok(Received::Again);
        }
        self.may_arrive(content.message_type)?;
        match content.message_type {
            MessageType::Close => Close::decode(&content.payload).map(drop)?,
            MessageType::Withdraw => Withdraw::of(content).map(drop)?,
            _ => (),
        }
        if Some(content.index) == self.next_index() {
            self.clone().pass(&Row::Message(content.clone()))?;
        }
        Ok(Received::New)
    }

    /// Whether content with this hash has been received under its index before.
    ///
    /// # Errors
    /// [`Reason::DiskRollback`] when other content has: alarm.
    pub fn is_known(known: Option<InnerHash>, this: InnerHash) -> Result<bool, Reason> {
        match known {
            None => Ok(false),
            Some(hash) if hash == this => Ok(true),
            Some(_) => Err(Reason::DiskRollback),
        }
    }

    /// Passes the row of [`Trade::next_index`]: from now on it counts, and if it is for the
    /// application, it is delivered.
    ///
    /// # Errors
    /// Those of a message that cannot stand here: [`Reason::OutOfTurn`], [`Reason::NotOpened`], [`Reason::OpenedTwice`], [`Reason::WrongKind`],
    /// [`Reason::ReplyNotDue`], [`Reason::AfterClose`], [`Reason::ChainMismatch`],
    /// [`Reason::ReceiptNotDue`], [`Reason::TradeEnded`]. If the row was kept before its
    /// turn, the trade goes no further, which only a faulty peer can cause: alarm.
    pub fn pass(&mut self, row: &Row) -> Result<(), Reason> {
        match row {
            Row::Message(content) => self.pass_message(content),
            Row::Withdrawn(hash) => self.pass_withdrawn(*hash),
        }
    }

    fn pass_message(&mut self, content: &Content) -> Result<(), Reason> {
        if content.trade != self.id || Some(content.index) != self.next_index() {
            return Err(Reason::OutOfTurn);
        }
        let kind = self.may_pass(content.message_type)?;
        let received = self.received.then(content.inner_hash(self.me.back()))?;
        match content.message_type {
            MessageType::Close => {
                let close = Close::decode(&content.payload)?;
                self.check_close(&close)?;
                self.peer_has = close.received.count;
                self.close_received = Some(received);
            }
            MessageType::Request | MessageType::Reply => self.close_received = Some(received),
            MessageType::Receipt => self.receipts = self.receipts_after(self.me.back()),
            _ => (),
        }
        self.kind = Some(kind);
        self.received = received;
        Ok(())
    }

    fn pass_withdrawn(&mut self, hash: InnerHash) -> Result<(), Reason> {
        // Only trades have withdrawals, and an opening message has no payload to miss.
        let kind = match self.kind {
            None => Kind::Trade,
            Some(_) => self.may_pass(MessageType::Withdraw)?,
        };
        self.received = self.received.then(hash)?;
        self.kind = Some(kind);
        Ok(())
    }

    fn append(
        &mut self,
        message_type: MessageType,
        content_type: &str,
        payload: Vec<u8>,
    ) -> Result<Content, Reason> {
        self.may_send(message_type)?;
        let number = self.sent.count.checked_add(1).ok_or(Reason::TradeFull)?;
        let content = Content {
            trade: self.id,
            index: Index::new(number)?,
            service: self.service.clone(),
            message_type,
            content_type: content_type.to_owned(),
            payload,
        };
        content.check()?;
        self.sent = self.sent.then(content.inner_hash(self.me))?;
        match message_type {
            MessageType::Close | MessageType::Request | MessageType::Reply => {
                self.close_sent = Some(self.sent);
            }
            MessageType::Receipt => self.receipts = self.receipts_after(self.me),
            _ => (),
        }
        Ok(content)
    }
}
