//! Enrols devices, and trades with them: the trade server center of the patent.
//!
//! `docs/http.md` is the contract with devices and back ends. SQL is in [`store`] only;
//! [`app`] holds the use cases as plain functions; [`http`] and [`cli`] are thin over them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod at_rest;
pub mod cli;
mod clock;
pub mod http;
pub mod keys;
mod mark;
pub mod store;
