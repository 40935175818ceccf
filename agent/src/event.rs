//! What happens without being asked for. Each event says whom it concerns.

use crate::{Error, JobId, State, TradeId};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server opened a trade; tell the connection that listens for its service.
    TradeOffered {
        /// The listener.
        connection: String,
        /// His user id, which now owns the trade.
        uid: u32,
        /// The trade.
        trade: TradeId,
        /// What it is for.
        service: String,
    },
    /// A message for the application has arrived.
    Message {
        /// The owner of the trade.
        uid: u32,
        /// The trade.
        trade: TradeId,
        /// The message's index.
        index: u32,
    },
    /// A trade has ended.
    Closed {
        /// The owner of the trade.
        uid: u32,
        /// The trade.
        trade: TradeId,
    },
    /// A job has ended.
    JobCompleted {
        /// Who began it.
        uid: u32,
        /// The job.
        job: JobId,
        /// How.
        result: Result<(), Error>,
    },
    /// The agent's state has changed.
    StateChanged(State),
}
