//! Which message may stand where: the same rules for what is sent and for what arrives.

use crate::Reason;
use crate::direction::Direction;

use super::{Close, Kind, MessageType, Stage, Trade};

impl Trade {
    /// Whether this side may send a message of this type now.
    pub(super) fn may_send(&self, message_type: MessageType) -> Result<(), Reason> {
        use MessageType::{Close, Data, Open, Receipt, Reply, Request, Withdraw};
        let kind = match self.stage() {
            Stage::Offered => return Err(Reason::NotOpened),
            Stage::Ended | Stage::Refused => return Err(Reason::TradeEnded),
            _ => self.kind.ok_or(Reason::NotOpened)?,
        };
        let is_first = self.sent.count == 0;
        let is_mine = self.me == self.opener;
        match (kind, message_type) {
            (Kind::Trade, Open) | (Kind::Exchange, Request) if is_first && is_mine => Ok(()),
            (Kind::Exchange, Reply) if !is_mine && self.close_sent.is_none() => Ok(()),
            (Kind::Exchange, Reply) => Err(Reason::ReplyNotDue),
            (_, Receipt) => self.receipt_due(self.me),
            (Kind::Trade, Data | Withdraw | Close) if self.close_sent.is_some() => {
                Err(Reason::AfterClose)
            }
            (Kind::Trade, Data) if self.close_received.is_some() => Err(Reason::PeerClosed),
            (Kind::Trade, Data | Withdraw | Close) => Ok(()),
            _ => Err(Reason::WrongKind),
        }
    }

    /// Whether a new message of this type may still arrive, in its turn or before it.
    pub(super) fn may_arrive(&self, message_type: MessageType) -> Result<(), Reason> {
        // The server may have issued the receipt again before it had the device's.
        let is_late_receipt = self.me == Direction::Up && message_type == MessageType::Receipt;
        match self.stage() {
            Stage::Refused => Err(Reason::TradeEnded),
            Stage::Ended if !is_late_receipt => Err(Reason::TradeEnded),
            _ => Ok(()),
        }
    }

    /// Whether a message of this type may be the next one of the other side. Returns the
    /// trade's kind, which the opening message decides.
    pub(super) fn may_pass(&self, message_type: MessageType) -> Result<Kind, Reason> {
        use MessageType::{Close, Data, Open, Receipt, Reply, Request, Withdraw};
        self.may_arrive(message_type)?;
        let Some(kind) = self.kind else {
            return match message_type {
                Open => Ok(Kind::Trade),
                Request => Ok(Kind::Exchange),
                _ => Err(Reason::NotOpened),
            };
        };
        match (kind, message_type) {
            (_, Open | Request) => Err(Reason::OpenedTwice),
            (Kind::Exchange, Reply) if self.me == self.opener && self.close_received.is_none() => {
                Ok(kind)
            }
            (Kind::Exchange, Reply) => Err(Reason::ReplyNotDue),
            (_, Receipt) => self.receipt_due(self.me.back()).map(|()| kind),
            (Kind::Trade, Data | Withdraw | Close) if self.close_received.is_some() => {
                Err(Reason::AfterClose)
            }
            (Kind::Trade, Data | Withdraw | Close) => Ok(kind),
            _ => Err(Reason::WrongKind),
        }
    }

    /// A receipt goes down once both sides have closed, and up after it.
    fn receipt_due(&self, direction: Direction) -> Result<(), Reason> {
        let is_closed = self.close_sent.is_some() && self.close_received.is_some();
        match (is_closed, direction) {
            (true, Direction::Down) => Ok(()),
            (true, Direction::Up) if self.receipts == 1 => Ok(()),
            _ => Err(Reason::ReceiptNotDue),
        }
    }

    /// One more receipt that goes in `direction`.
    pub(super) fn receipts_after(&self, direction: Direction) -> u8 {
        match direction {
            Direction::Down => self.receipts.max(1),
            Direction::Up => 2,
        }
    }

    /// The closer's view of both directions against this side's. Where he has not seen
    /// everything yet, the receipt compares the rest.
    pub(super) fn check_close(&self, close: &Close) -> Result<(), Reason> {
        let has_all = close.received.count == self.sent.count;
        let is_mine = close.received.count < self.sent.count
            || (has_all && close.received.value == self.sent.value);
        if close.sent != self.received || !is_mine {
            return Err(Reason::ChainMismatch);
        }
        Ok(())
    }
}
