//! The payloads of control messages (scheme, section 8).

use crate::Reason;
use crate::cbor::{self, Items};
use crate::id::InnerHash;

use super::{Chain, Content, Index, MessageType, PAYLOAD_LEN_MAX};

/// The most messages that one withdrawal may name.
pub const WITHDRAWN_MAX: usize = 1024;

/// What the closer has sent and received before his close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// His own direction, up to the message before this one.
    pub sent: Chain,
    /// The other direction, as far as he has it without a gap.
    pub received: Chain,
}

impl Close {
    /// `CBOR[[count, chain], [count, chain]]`, his own direction first.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array![self.sent, self.received]
    }

    /// Reads what [`Close::encode`] writes.
    ///
    /// # Errors
    /// Those of [`cbor::decode`], [`Reason::WrongShape`].
    pub fn decode(bytes: &[u8]) -> Result<Close, Reason> {
        let mut items = Items::decode(bytes, PAYLOAD_LEN_MAX, 2)?;
        Ok(Close { sent: Chain::read(&mut items)?, received: Chain::read(&mut items)? })
    }
}

/// One message that its sender takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Its place in the sender's direction.
    pub index: Index,
    /// What the chain needs of it.
    pub hash: InnerHash,
}

/// Messages that need not arrive any more: the hash stands in for each. One that has
/// arrived already stays delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdraw(Vec<Withdrawn>);

impl Withdraw {
    /// Takes 1 to [`WITHDRAWN_MAX`] messages in the order of their indices.
    ///
    /// # Errors
    /// [`Reason::BadWithdrawal`].
    pub fn new(messages: &[Withdrawn]) -> Result<Withdraw, Reason> {
        let is_ordered = messages.is_sorted_by(|a, b| a.index < b.index);
        if messages.is_empty() || messages.len() > WITHDRAWN_MAX || !is_ordered {
            return Err(Reason::BadWithdrawal);
        }
        Ok(Withdraw(messages.to_vec()))
    }

    /// The messages, in the order of their indices.
    pub fn messages(&self) -> &[Withdrawn] {
        &self.0
    }

    /// `CBOR[[index, hash], …]`.
    pub fn encode(&self) -> Vec<u8> {
        let items = self.0.iter().map(|w| cbor::value![w.index, w.hash]);
        cbor::encode(&ciborium::value::Value::Array(items.collect()))
    }

    /// Reads the payload of a withdrawal, which can only name messages before itself.
    ///
    /// # Errors
    /// Those of [`cbor::decode`], [`Reason::WrongShape`], [`Reason::BadIndex`],
    /// [`Reason::BadWithdrawal`], and [`Reason::WrongKind`] for another kind of message.
    pub fn of(content: &Content) -> Result<Withdraw, Reason> {
        if content.message_type != MessageType::Withdraw {
            return Err(Reason::WrongKind);
        }
        let value = cbor::decode(&content.payload, PAYLOAD_LEN_MAX)?;
        let items = value.into_array().map_err(|_| Reason::WrongShape)?;
        let messages = items
            .into_iter()
            .map(|item| {
                let mut items = Items::of(item, 2)?;
                Ok(Withdrawn { index: Index::new(items.uint()?)?, hash: InnerHash(items.fixed()?) })
            })
            .collect::<Result<Vec<_>, Reason>>()?;
        if messages.last().is_some_and(|w| w.index >= content.index) {
            return Err(Reason::BadWithdrawal);
        }
        Withdraw::new(&messages)
    }
}
