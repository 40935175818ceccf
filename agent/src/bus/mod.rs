//! The agent on D-Bus (`docs/dbus.md`).
//!
//! zbus's own object server shows every object to every caller, so it is not used. Calls are
//! taken from the message stream, and each is answered from what its caller can see
//! (`docs/decisions/0020-per-caller-objects.md`).

mod announce;
#[cfg(test)]
mod contract_test;
mod courier;
mod interface;
mod job;
mod key;
mod object;
mod options;
mod polkit;
mod refusal;
mod root;
mod service;
mod session;
mod standard;
mod trade;
mod tree;

use std::sync::Arc;

pub use interface::{Interface, Pending};
pub use object::{Object, Objects, Request};
pub use refusal::Refusal;
pub use service::{Service, Signals};
pub use session::Session;
use twinseal_client::{BUS_NAME, ROOT_PATH};
use zbus::Connection;

use crate::Agent;

/// Puts the agent on the bus. When this returns, it has its name there; [`Service::run`] answers.
///
/// # Errors
/// Those of the bus, as when it does not let this user own the name.
pub async fn publish(agent: Agent, bus: Connection) -> zbus::Result<Service> {
    let events = agent.subscribe();
    Service::start(bus.clone(), BUS_NAME, ROOT_PATH, |signals| {
        tokio::spawn(announce::run(events, signals));
        Arc::new(tree::Tree { agent, bus, asking: Arc::default() })
    })
    .await
}
