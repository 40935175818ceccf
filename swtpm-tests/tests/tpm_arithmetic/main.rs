//! The scheme's own TPM arithmetic against tpm2-tools and a real chip, both ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificates;
mod credentials;
mod keys;
mod tools;
