//! The server as its users meet it: the real program, real files, real HTTP on loopback ports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod command_line;
mod device;
mod hostile;
mod injection;
mod limits;
mod outside;
mod quotas;
mod rig;
mod routes;
mod secrecy;
mod trades;
mod uplinks;
