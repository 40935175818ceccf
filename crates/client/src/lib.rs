//! The agent's D-Bus contract as proxies, and the command line twinseal.

mod contract;
mod proxy;

pub use contract::*;
pub use proxy::*;
