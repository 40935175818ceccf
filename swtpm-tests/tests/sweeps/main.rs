//! Sweeps: the same run again and again, and each time something else goes wrong in it, until a
//! run passes in which nothing was left to go wrong.
//!
//! What was accepted is in ledgers on both ends, which the tests keep and compare. By default
//! each sweep visits the few points that it names; with `TWINSEAL_TEST_ALL` set to 1, as
//! `scripts/test --all` does, it visits all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod crashes;
mod disk_faults;
mod enrolment;
mod ground;
mod sweep;
mod tpm_faults;
mod trade;
mod wire_faults;
