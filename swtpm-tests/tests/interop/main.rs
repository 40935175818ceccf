//! Existing programs with the agent's application keys, through the PKCS#11 module: what
//! `docs/interop.md` says of each is what these tests see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gnutls;
mod hostile;
mod languages;
mod module;
mod nss;
mod opensc;
mod openssl;
mod p11_kit;
mod ssh;
mod stage;
mod web;
