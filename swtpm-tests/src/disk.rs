//! A disk under a database that ends its program, fails, or is full.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What can happen at one point. A point is the begin of a commit, before anything of it is
/// written, or its end, when all is written and is about to be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskMishap {
    /// The program ends at once, as in a crash.
    Kill = 1,
    /// This one write or synchronisation fails with EIO.
    Error = 2,
    /// There is no space for this commit and a few that follow.
    Full = 3,
}

/// The disk as one program sees it, by a library that is preloaded into it and counts what it
/// does to its SQLite database.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    plan: File,
}

impl Disk {
    /// A disk for programs that are started with [`Disk::environment`].
    ///
    /// # Panics
    /// When the library cannot be built: the C compiler of the Rust toolchain is needed.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open_to_all = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
        };
        open_to_all(folder.path(), 0o755);
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(library(folder.path()))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/disk.c"))
            .arg("-ldl")
            .output()
            .unwrap_or_else(|e| panic!("cc: {e}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = plan(folder.path());
        let options = OpenOptions::new().read(true).write(true).create(true).clone();
        let plan = options.open(&path).expect("a new file");
        open_to_all(&path, 0o666);
        let disk = Self { folder, plan };
        disk.write([0; 3]);
        disk
    }

    /// What a program is to find in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), text(library(self.folder.path()))),
            ("TWINSEAL_TEST_DISK".to_owned(), text(plan(self.folder.path()))),
        ]
    }

    /// This happens at the `nth` point from now on, which is 1 for the next.
    pub fn meet(&self, nth: u32, mishap: DiskMishap) {
        self.write([0, nth.into(), mishap as u64]);
    }

    /// Whether what was asked for is still to come; the disk is good again.
    pub fn mend(&self) -> bool {
        let mut numbers = [0; 16];
        self.plan.read_exact_at(&mut numbers, 0).expect("our own file");
        let number = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| numbers[at + i]));
        let is_to_come = number(0) < number(8);
        self.write([0; 3]);
        is_to_come
    }

    fn write(&self, numbers: [u64; 3]) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.plan.write_all_at(&bytes, 0).expect("our own file");
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("disk.so")
}

fn plan(folder: &Path) -> PathBuf {
    folder.join("plan")
}
