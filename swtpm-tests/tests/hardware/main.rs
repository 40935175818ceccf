//! The hardware crate on real software TPMs: what the chip does for the scheme.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod application;
mod endurance;
mod enrolment;
mod eyes;
mod identity;
mod leaving;
mod protection;
mod raw;
mod rsa;
mod turns;
