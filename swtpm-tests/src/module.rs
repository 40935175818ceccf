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
    /// A signature ends the process by a segmentation fault.
    Crash,
    /// A login does.
    Faint,
    /// Whoever uses it is killed when a key has been made.
    Orphan,
    /// The token was taken out.
    Removed,
    /// It has no room for keys.
    Full,
    /// It signs and agrees with another key than it is asked for, and says nothing.
    Strange,
    /// It wants points in an OCTET STRING, and gives them without one.
    Octets,
    /// It knows neither ECDH nor RSA-OAEP.
    Unknown,
    /// It knows no elliptic curves.
    Rsa,
    /// It decrypts by RSA with another key than it is asked for, and says nothing.
    Junk,
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
            ("TWINSEAL_MODULE_MISHAP".to_owned(), text(&self.plan())),
        ]
    }

    /// From now on.
    pub fn set(&self, mishap: ModuleMishap) {
        let word = format!("{mishap:?}").to_lowercase();
        fs::write(self.plan(), word).expect("a file of ours");
    }

    /// How often somebody has logged in, or tried to, since the last [`Module::set`].
    pub fn logins(&self) -> usize {
        self.marks(b'+')
    }

    /// How many calls hang, or have hung, since then.
    pub fn hangs(&self) -> usize {
        self.marks(b'!')
    }

    fn marks(&self, mark: u8) -> usize {
        let plan = fs::read(self.plan()).expect("a file of ours");
        plan.iter().filter(|byte| **byte == mark).count()
    }

    fn plan(&self) -> PathBuf {
        self.folder.path().join("plan")
    }
}
