//! Trades as an application sees them.

use std::time::Duration;

use twinseal_scheme::message::Outer;

use crate::TradeId;

/// How a trade or an exchange is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which layer stands outside, in both directions.
    pub outer: Outer,
    /// The application's word for a request's payload; may be empty.
    pub content_type: String,
    /// How long an exchange waits for its reply.
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Options {
        // A call on the bus ends after 25 seconds.
        Options { outer: Outer::Serial, content_type: String::new(), wait: Duration::from_secs(20) }
    }
}

/// A trade as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeView {
    /// Its name.
    pub id: TradeId,
    /// The user it belongs to.
    pub uid: u32,
    /// What it is for.
    pub service: String,
    /// `Offered`, `Open`, `Closing`, `Closed`, `Ended`, `Refused`.
    pub state: &'static str,
    /// Whether it is the two-message exchange of claims 12 and 13.
    pub is_exchange: bool,
    /// Whether the server opened it.
    pub is_offered: bool,
    /// Which layer stands outside.
    pub outer: Outer,
    /// Messages sealed, control messages among them.
    pub sent: u32,
    /// Messages that the server has accepted, all before them too.
    pub accepted: u32,
    /// Messages received, control messages among them.
    pub received: u32,
}

/// A message for the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place among the server's messages of the trade; control messages have places too.
    pub index: u32,
    /// The sender's word for its payload.
    pub content_type: String,
    /// What was sent.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, {} bytes)", self.index, self.payload.len())
    }
}

/// What an exchange brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The trade that the exchange was.
    pub trade: TradeId,
    /// The reply.
    pub reply: Message,
}
