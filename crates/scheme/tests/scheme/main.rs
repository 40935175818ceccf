//! The scheme as a whole, played by both sides in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod enrolment;
mod explained;
mod forwarding;
mod messages;
mod parties;
mod receipts;
mod trades;
