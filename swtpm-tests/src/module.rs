//! A PKCS#11 module that misbehaves.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::token::Token;

/// What can be wrong with a token or its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleMishap {
    /// Nothing is.
    None,
    /// A signature takes for ever.
    Hang,
    /// The token was taken out.
    Removed,
    /// It has no room for keys.
    Full,
    /// It signs and agrees with another key than it is asked for, and says nothing.
    Strange,
    /// It wants points in an OCTET STRING, and gives them without one.
    Octets,
    /// It knows no ECDH.
    Unknown,
}

/// A module in front of a token's own, whoever loads it, with a plan that can be changed at any
/// time.
#[derive(Debug)]
pub struct Module {
    folder: TempDir,
    behind: PathBuf,
}

impl Module {
    /// In front of this token's module, behaving well.
    ///
    /// # Panics
    /// When it cannot be built: the C compiler of the Rust toolchain is needed.
    pub fn before(token: &Token) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open_to_all = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
        };
        open_to_all(folder.path(), 0o755);
        let module = Self { folder, behind: token.module().to_owned() };
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-fvisibility=hidden", "-o"])
            .arg(module.path())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/module.c"))
            .arg("-ldl")
            .output()
            .unwrap_or_else(|e| panic!("cc: {e}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        module.set(ModuleMishap::None);
        open_to_all(&module.plan(), 0o666);
        module
    }

    /// Its library.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("module.so")
    }

    /// What a program that loads it is to find in its environment, beside the token's own.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("TWINSEAL_MODULE".to_owned(), text(&self.behind)),
            (PLAN.to_owned(), text(&self.plan())),
        ]
    }

    /// From now on.
    pub fn set(&self, mishap: ModuleMishap) {
        set(&self.plan(), mishap);
    }

    /// How often somebody has logged in, or tried to, since the last [`Module::set`].
    pub fn logins(&self) -> usize {
        logins(&self.plan())
    }

    fn plan(&self) -> PathBuf {
        self.folder.path().join("plan")
    }
}

const PLAN: &str = "TWINSEAL_MODULE_MISHAP";

/// As [`Module::set`], for the process that has loaded the module.
pub fn set_own(mishap: ModuleMishap) {
    set(&own_plan(), mishap);
}

/// As [`Module::logins`], for the process that has loaded the module.
pub fn own_logins() -> usize {
    logins(&own_plan())
}

fn own_plan() -> PathBuf {
    PathBuf::from(std::env::var_os(PLAN).expect("a module's environment"))
}

fn set(plan: &Path, mishap: ModuleMishap) {
    fs::write(plan, format!("{mishap:?}").to_lowercase()).expect("a file of ours");
}

fn logins(plan: &Path) -> usize {
    fs::read(plan).expect("a file of ours").iter().filter(|byte| **byte == b'+').count()
}
