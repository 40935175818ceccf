//! Fuzz targets: every kind of bytes that comes from outside, fed to what reads it.
//!
//! A target is a function that takes any bytes, and panics when something does not hold. That
//! nothing panics by itself is only the first of it: what is taken has one encoding, so it is
//! encoded again and compared; what a call returns is what its contract allows. What stands
//! behind a seal is reached by sealing the bytes with the keys of the test vectors.
//!
//! The same functions run in two ways. `tests/replay.rs` runs each with its seeds, its corpus
//! and a bounded number of mutations that are the same every time; it is part of the tests.
//! `scripts/fuzz` runs one for as long as wanted under libFuzzer, guided by coverage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mutate;
mod targets;
mod vectors;

pub use mutate::Mutations;
pub use targets::TARGETS;

use std::path::PathBuf;

/// One kind of bytes, and what reads it.
pub struct Target {
    /// Its name, also that of its folder in `corpus/`.
    pub name: &'static str,
    /// Feeds bytes, and says whether they were taken by anything.
    ///
    /// # Panics
    /// When something does not hold.
    pub run: fn(&[u8]) -> bool,
    /// Where to begin: good bytes, mostly out of the test vectors.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations a test runs: some hundred milliseconds' worth.
    pub mutations: usize,
}

impl Target {
    /// The target of a name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// What was found once, and must never be found again: the files of the corpus.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }
}
