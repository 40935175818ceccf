//! A PKCS#11 module through which existing programs use the agent's application keys.
//!
//! It holds no key and stores nothing: each operation is a call to the agent over the system bus,
//! which knows who the caller is. It starts no thread in the program that loads it, and leaves
//! nothing to be done at its exit.
//!
//! [`shell`] speaks C and is the only place with unsafe code: it turns pointers into slices and
//! back. What is behind it is safe Rust: [`module`] has sessions and handles, the files beside it
//! what can be done with them, [`agent`] the agent's contract, [`bus`] the few lines of D-Bus
//! that it takes. What programs make of it stands in `docs/interop.md`.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod agent;
mod bus;
mod decrypting;
mod der;
mod digesting;
mod finding;
mod hash;
mod key;
mod making;
mod mechanism;
mod module;
mod object;
mod rv;
#[allow(unsafe_code)]
mod shell;
mod signing;
mod template;
mod token;

#[cfg(not(panic = "unwind"))]
compile_error!("a panic must not end the program that has loaded the module: build with unwinding");
