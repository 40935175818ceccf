//! A program that means ill, or has mistakes: `pkcs11-shim/examples/hostile.rs`.
//!
//! `scripts/sanitize` runs this with program and module built for the address sanitizer, in the
//! folder that `TWINSEAL_SANITIZED` names.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use twinseal_swtpm_tests::program;

use crate::stage::{Stage, said, text};

fn sanitized(name: &str) -> Option<PathBuf> {
    std::env::var_os("TWINSEAL_SANITIZED").map(|folder| PathBuf::from(folder).join(name))
}

fn hostile() -> String {
    text(&sanitized("examples/hostile").unwrap_or_else(|| program("examples/hostile")))
}

#[test]
fn lies_are_refused_and_no_byte_behind_a_buffer_is_touched() {
    let stage = Stage::new();
    if let Some(module) = sanitized("libtwinseal_pkcs11.so") {
        fs::copy(module, &stage.module).unwrap();
    }
    let printed = stage.ok(&hostile(), &[&stage.module]);
    assert_eq!(printed, "done\n");
}

/// Else the other test would say nothing of a byte too many.
#[test]
fn a_byte_too_many_is_seen_where_the_sanitizer_watches() {
    let output = Command::new(hostile()).arg("overflow").output().unwrap();
    let is_watched = sanitized("").is_some();
    let said = said(&output);
    assert_eq!(output.status.success(), !is_watched, "{said}");
    assert_eq!(said.contains("AddressSanitizer: heap-buffer-overflow"), is_watched, "{said}");
}
