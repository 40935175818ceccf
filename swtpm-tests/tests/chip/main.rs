//! The chip changes under the agent: it goes, comes back, is cleared, replaced, rolled back,
//! copied, locked, and the agent says so, stops no more than must stop, and finds the way back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod history;
mod recover;
mod restored;
mod states;
