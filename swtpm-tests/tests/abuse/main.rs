//! What the agent's callers do to it on purpose: every call without leave, forged origins, floods,
//! and arguments that make no sense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod floods;
mod forged;
mod guest;
mod junk;
mod methods;
mod stage;
