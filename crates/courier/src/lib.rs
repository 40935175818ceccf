//! Carries sealed bytes between an agent and a server.
//!
//! The courier holds no key and reads nothing of what it carries: it takes an item from the agent
//! over D-Bus, posts it to the server, and hands back what came. Whoever takes it over can lose
//! and delay messages, and nothing else.

mod backoff;
mod carrier;
mod config;
mod lanes;

pub use backoff::Backoff;
pub use carrier::{Carrier, Kind, Outcome};
pub use config::{BadConfig, Config};
pub use lanes::run;
