//! The agent on D-Bus (`docs/dbus.md`).
//!
//! zbus's own object server shows every object to every caller, so it is not used. Calls are
//! taken from the message stream, and each is answered from what its caller can see
//! (`docs/decisions/0020-per-caller-objects.md`).

mod interface;
mod object;
mod refusal;
mod service;
mod session;
mod standard;

pub use interface::Interface;
pub use object::{Object, Objects, Pending, Request};
pub use refusal::Refusal;
pub use service::{Service, Signals};
pub use session::Session;
