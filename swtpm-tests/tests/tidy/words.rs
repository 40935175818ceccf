//! Words that do not belong into a finished tree.

use crate::tree::{File, assert_tidy};

/// Traces of the machine on which something was written. In two halves, so that this file is not
/// its own finding.
const PLACES: [(&str, &str); 6] = [
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    (".lib", "rary"),
    ("sha", "red/"),
    ("/tmp/b", "rief"),
];

/// Things left undone or switched off.
const UNFINISHED: [(&str, &str); 8] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("todo", "!("),
    ("unimple", "mented!("),
    ("#[ign", "ore"),
    ("allow(dead", "_code)"),
    ("db", "g!("),
];

/// Lints that product code may not switch off.
const LINTS: [&str; 4] = ["unwrap_used", "expect_used", "clippy::panic", "unsafe_code"];

fn misplaced_word(file: &File) -> Vec<String> {
    // Hashes and licences are not our words.
    if file.path == "Cargo.lock" || file.path.starts_with("LICENSE") {
        return Vec::new();
    }
    let words: Vec<String> =
        PLACES.iter().chain(&UNFINISHED).map(|(a, b)| format!("{a}{b}")).collect();
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in words.iter().filter(|word| begins_in(line, word)) {
            findings.push(format!("{}:{}: {word}", file.path, index + 1));
        }
    }
    findings
}

/// Whether the word stands there, and not as the end of a longer one.
fn begins_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
}

fn lint_switched_off(file: &File) -> Vec<String> {
    let exempt = file.is_test() || file.path.starts_with("pkcs11-shim/");
    if !file.path.ends_with(".rs") || exempt {
        return Vec::new();
    }
    let allows = |line: &str| {
        let product = line.contains("allow(") && !line.contains("cfg_attr(test,");
        product && LINTS.iter().any(|lint| line.contains(lint))
    };
    file.product_code()
        .filter(|(_, line)| allows(line))
        .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
        .collect()
}

fn other_registry(file: &File) -> Vec<String> {
    if file.path != "Cargo.lock" {
        return Vec::new();
    }
    let foreign = |line: &&str| line.starts_with("source = ") && !line.contains("crates.io-index");
    file.text.lines().filter(foreign).map(|line| format!("{}: {line}", file.path)).collect()
}

#[test]
fn no_word_is_out_of_place() {
    assert_tidy(misplaced_word);
}

#[test]
fn a_word_out_of_place_is_found() {
    for (a, b) in PLACES.iter().chain(&UNFINISHED) {
        let text = format!("one\ntwo {a}{b}three\n");
        assert_eq!(misplaced_word(&File::new("docs/a.md", &text)).len(), 1, "{a}{b}");
    }
    for (a, b) in PLACES {
        let end = format!("long{a}{b}\n");
        assert!(misplaced_word(&File::new("docs/a.md", &end)).is_empty(), "{end}");
    }
}

#[test]
fn product_code_keeps_its_lints() {
    assert_tidy(lint_switched_off);
}

#[test]
fn a_lint_switched_off_is_found() {
    let allow = "#![allow(clippy::unwrap_used)]\n";
    assert_eq!(lint_switched_off(&File::new("agent/src/lib.rs", allow)).len(), 1);
    assert!(lint_switched_off(&File::new("agent/tests/a.rs", allow)).is_empty());
    let in_tests = "#![cfg_attr(test, allow(clippy::unwrap_used))]\n";
    assert!(lint_switched_off(&File::new("agent/src/lib.rs", in_tests)).is_empty());
    let inner = format!("#[cfg(test)]\nmod tests {{ {allow} }}\n");
    assert!(lint_switched_off(&File::new("agent/src/lib.rs", &inner)).is_empty());
}

#[test]
fn dependencies_come_from_the_public_registry() {
    assert_tidy(other_registry);
}

#[test]
fn another_registry_is_found() {
    let lock = "name = \"a\"\nsource = \"git+https://example.org/a\"\n";
    assert_eq!(other_registry(&File::new("Cargo.lock", lock)).len(), 1);
}
