//! The agent on a real TPM emulator, with the server played by the scheme's own functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod callers;
mod capture;
mod enrolment;
mod forgeries;
mod restarts;
mod server;
mod trades;
mod world;
