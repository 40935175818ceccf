//! D-Bus as far as the shim needs it: calls with deadlines over a Unix socket, no thread, no
//! runtime (D-Bus Specification 0.42; `docs/decisions/0105-own-lines-of-dbus.md`).

mod address;
mod connection;
mod pool;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use connection::{Call, Failure};
pub(crate) use pool::Bus;
pub(crate) use wire::{Argument, Value};
