//! Connections at rest, so that threads do not wait for one another and a call opens none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::Address;
use super::connection::{Call, Connection, Failure};
use super::wire::Value;

/// How long a bus may take to let one in.
const OPENING: Duration = Duration::from_secs(5);
/// How long a call may take. The agent answers within 24 seconds.
const CALLING: Duration = Duration::from_secs(27);
/// Connections that are kept while nobody uses them.
const IDLE: usize = 8;

/// The bus, by as many connections as there are calls at once.
pub(crate) struct Bus {
    address: Address,
    idle: Mutex<Vec<Connection>>,
}

impl Bus {
    /// The system bus, as the environment names it now. Nothing is opened yet.
    pub(crate) fn new() -> Self {
        Self::at(Address::of_system_bus())
    }

    pub(super) fn at(address: Address) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// A call and its answer. A connection whose other end has gone is replaced before the call;
    /// the call itself is never made twice.
    pub(crate) fn call(&self, call: &Call<'_>) -> Result<Vec<Value>, Failure> {
        let mut connection = match self.rested() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let answer = connection.call(call, Instant::now() + CALLING);
        if matches!(answer, Ok(_) | Err(Failure::Refused(_))) {
            let mut idle = self.idle();
            if idle.len() < IDLE {
                idle.push(connection);
            }
        }
        answer
    }

    fn rested(&self) -> Option<Connection> {
        loop {
            // Not locked while it is looked at.
            let mut connection = self.idle().pop()?;
            if connection.is_alive() {
                return Some(connection);
            }
        }
    }

    fn open(&self) -> Result<Connection, Failure> {
        let deadline = Instant::now() + OPENING;
        let mut failure = Failure::NoBus;
        for socket in self.address.sockets() {
            match Connection::open(&socket, deadline) {
                Ok(connection) => return Ok(connection),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
