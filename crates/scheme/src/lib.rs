//! The Twinseal protocol: pure, without IO, clock, async or unsafe.
//!
//! `docs/scheme.md` is the normative text; this crate is one implementation of it.
//! Randomness and time are arguments. What only hardware can do is *asked for*: a step
//! returns a value that names the digest to sign or the point to agree with, and goes on
//! when it is given the answer.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod answer;
pub mod attestation;
pub mod bond;
pub mod cbor;
pub mod cose;
pub mod device_statement;
pub mod direction;
pub mod ek;
pub mod enrol;
pub mod epoch;
pub mod explain;
pub mod id;
pub mod keys;
mod label;
pub mod link;
pub mod message;
pub mod reason;
pub mod receipt;
mod secret;
pub mod serial;
pub mod server_keys;
#[cfg(test)]
mod tests;
pub mod tpm;
pub mod trade;

pub use reason::{Outside, Reason};
pub use secret::{Secret, wiping_stack};
