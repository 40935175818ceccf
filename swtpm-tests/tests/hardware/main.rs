//! The hardware crate on real software TPMs: what the chip does for the scheme.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod enrolment;
mod eyes;
