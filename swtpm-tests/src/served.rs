//! A program with an environment of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::programs::program;

/// A path that starts one of our programs with some variables, for whoever starts a program by
/// its path alone: an environment belongs to a whole process, and tests share one.
#[derive(Debug)]
pub struct Served(TempDir);

impl Served {
    /// Such as `twinseal-agent` with a [`Token`](crate::Token)'s environment.
    pub fn new(name: &str, environment: &[(String, String)]) -> Self {
        let served = Self(tempfile::tempdir().expect("a temporary folder"));
        let exports: String =
            environment.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        let text = format!("{exports}PROGRAM='{}'\n", program(name).display());
        fs::write(served.0.path().join("environment"), text).expect("a new file");
        // A script that was written just now may be open in another test's child, and is not run.
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/served"));
        symlink(script, served.path()).expect("a new link");
        served
    }

    /// What to start, as long as this value lives.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("program")
    }
}
