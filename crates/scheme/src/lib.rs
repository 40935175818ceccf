//! The Twinseal protocol: pure, without IO, clock, async or unsafe.
//!
//! `docs/scheme.md` is the normative text; this crate is one implementation of it.
//! Randomness and time are arguments. What only hardware can do is *asked for*: a step
//! returns a value that names the digest to sign or the point to agree with, and goes on
//! when it is given the answer.

pub mod reason;

pub use reason::{Outside, Reason};
