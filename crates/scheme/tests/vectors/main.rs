//! The test vectors of the scheme, in `crates/scheme/vectors/`: they are what the generator
//! makes, the scheme does with each what it says, and nothing is without one.
//!
//! `scripts/vectors` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod coverage;
mod crypto;
mod forge;
mod format;
mod generate;
mod parties;
mod rsa;
mod run;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use format::{Inputs, Vector};
use parties::Parties;

/// Whether `scripts/vectors` wants the files written before they are compared.
pub fn writes() -> bool {
    std::env::var_os("TWINSEAL_WRITE_VECTORS").is_some()
}

fn files() -> BTreeMap<PathBuf, String> {
    let parties = Parties::new();
    let mut files = BTreeMap::new();
    for (name, text) in generate::shared(&parties) {
        files.insert(format::folder().join(format!("{name}.txt")), text);
    }
    for vector in generate::all(&parties) {
        let taken = files.insert(vector.path(), vector.print());
        assert!(taken.is_none(), "{}: two vectors of one name", vector.path().display());
    }
    files
}

#[test]
fn the_files_are_what_the_generator_makes() {
    let files = files();
    if writes() {
        for group in std::fs::read_dir(format::folder()).unwrap().map(|e| e.unwrap().path()) {
            if group.is_dir() {
                std::fs::remove_dir_all(group).unwrap();
            }
        }
        for (path, text) in &files {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    for (path, text) in &files {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == *text, "{}: not as generated; see scripts/vectors", path.display());
    }
    for vector in format::all() {
        let path = vector.path();
        assert!(files.contains_key(&path), "{}: nobody generates it", path.display());
    }
}

/// What is wrong with the outcome of a vector, if anything.
fn judge(vector: &Vector) -> Option<String> {
    let inputs = Inputs::of(vector);
    let outcome = (run::operation(&vector.operation).run)(&inputs);
    let path = vector.path();
    let path = path.strip_prefix(format::folder()).unwrap().display();
    match outcome {
        Err(reason) if reason.code() == vector.expect => None,
        Err(reason) => Some(format!("{path}: {reason}, not {}", vector.expect)),
        Ok(_) if vector.expect != "ok" => Some(format!("{path}: accepted, not {}", vector.expect)),
        Ok(outputs) => {
            let differs =
                |(key, value): &&format::Field| !inputs.has(key) || inputs.word(key) != value;
            if let Some((key, value)) = outputs.iter().find(differs) {
                return Some(format!("{path}: {key}: {value}"));
            }
            let unused = inputs.unused();
            (!unused.is_empty()).then(|| format!("{path}: {unused:?} is not used"))
        }
    }
}

/// Bytes that are nearly right: `input` with a bit changed somewhere, or cut short; in about as
/// many places as said.
fn damaged(input: &[u8], places: usize) -> Vec<Vec<u8>> {
    let step = |places: usize| input.len().div_ceil(places).max(1);
    let changed = (0..input.len()).step_by(step(places)).map(|at| {
        let mut bytes = input.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..input.len()).step_by(step(places / 2)).map(|len| input[..len].to_vec());
    changed.chain(cut).collect()
}

#[test]
fn no_damaged_vector_is_accepted_and_none_breaks_anything() {
    for vector in format::all() {
        let operation = run::operation(&vector.operation);
        let Some(input) = operation.input else { continue };
        let mut inputs = Inputs::of(&vector);
        let must_refuse = operation.exact && vector.expect == "ok";
        for bytes in damaged(&inputs.bytes(input), if must_refuse { 300 } else { 12 }) {
            inputs.replace(input, &bytes);
            let run = std::panic::AssertUnwindSafe(|| (operation.run)(&inputs));
            let outcome = std::panic::catch_unwind(run);
            let path = vector.path();
            let outcome = outcome.unwrap_or_else(|_| panic!("{}: broken", path.display()));
            assert!(!must_refuse || outcome.is_err(), "{}: accepted", path.display());
        }
    }
}

#[test]
fn every_vector_has_the_outcome_that_it_names() {
    let vectors = format::all();
    assert!(!vectors.is_empty());
    let wrong: Vec<String> = vectors.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}
