//! The agent's D-Bus contract as proxies, and the command line twinseal.

mod contract;

pub use contract::*;
