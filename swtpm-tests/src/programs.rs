//! The programs under test, as cargo built them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The path of one of our programs, such as `twinseal-agent`, beside the running test program.
///
/// # Panics
/// When it was not built, or one of its sources has changed since: a test of yesterday's program
/// would say nothing.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test program knows its path");
    // target/<profile>/deps/<test>, and for examples and benchmarks likewise.
    let folder = test.ancestors().nth(2).expect("a target folder");
    let program = folder.join(name);
    let built = modified(&program).unwrap_or_else(|| {
        panic!("{}: not built: run `cargo build --workspace`", program.display())
    });
    let newer = sources(&program).into_iter().find(|source| modified(source) > Some(built));
    if let Some(source) = newer {
        panic!("{name} is older than {}: run `cargo build --workspace`", source.display());
    }
    program
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Cargo leaves a list, in the form of a make rule, of all files that a program is made of.
fn sources(program: &Path) -> Vec<PathBuf> {
    let rule = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let list = rule.split_once(": ").map(|(_, list)| list).unwrap_or_default();
    // A space within a name is escaped.
    list.trim().replace("\\ ", "\0").split(' ').map(|name| name.replace('\0', " ").into()).collect()
}
