//! Tokens in the place of TPMs: what the hardware crate makes of one, and a device that has one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod faults;
mod hardware;
mod keys;
mod leftovers;
mod pin;
mod process;
mod rig;
mod rsa;
