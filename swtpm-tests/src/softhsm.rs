//! A private PKCS#11 token in software.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::bus::User;

/// Where the distribution puts the module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const LABEL: &str = "of a test";
const PIN: &str = "a pin of the test";

/// A SoftHSM token of one test, in a folder of its own that belongs to the agent's user. Its
/// module is loaded by whoever uses it; which token that finds, an environment variable says.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
}

impl SoftHsm {
    /// Makes an initialised token.
    ///
    /// # Panics
    /// When SoftHSM is not installed; the message holds what it said.
    pub fn start() -> Self {
        Self::with_tokens(|hsm| {
            let made = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "of an officer"])
                .args(["--pin", PIN])
                .envs(hsm.environment())
                .output()
                .expect("softhsm2-util is installed");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        })
    }

    /// Another token that says of itself what this one does, and has none of its keys.
    pub fn twin(&self) -> Self {
        Self::with_tokens(|twin| {
            for token in entries(&self.path("tokens")) {
                let to = twin.path("tokens").join(token.file_name().expect("a name"));
                fs::create_dir(&to).expect("a new folder");
                for file in ["token.object", "token.lock"] {
                    fs::copy(token.join(file), to.join(file)).expect("a file of the token");
                }
            }
        })
    }

    fn with_tokens(fill: impl FnOnce(&Self)) -> Self {
        let hsm = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let tokens = hsm.path("tokens");
        fs::create_dir(&tokens).expect("a new folder");
        let config = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(hsm.config(), config).expect("a new file");
        fill(&hsm);
        hsm.set_pin(PIN);
        give(hsm.folder.path());
        hsm
    }

    /// What a program that loads the module is to find in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("SOFTHSM2_CONF".to_owned(), self.config().display().to_string())]
    }

    /// Its address as a PKCS#11 URI.
    pub fn uri(&self) -> String {
        self.uri_by(Path::new(MODULE))
    }

    /// The same by another module, such as one that misbehaves.
    pub fn uri_by(&self, module: &Path) -> String {
        format!("pkcs11:token={}?module-path={}", LABEL.replace(' ', "%20"), module.display())
    }

    /// The module itself.
    pub fn module(&self) -> &'static Path {
        Path::new(MODULE)
    }

    /// The file that holds its PIN, for the agent alone.
    pub fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    /// Its PIN.
    pub fn pin(&self) -> &'static str {
        PIN
    }

    /// Writes another PIN into the file, right or wrong.
    pub fn set_pin(&self, pin: &str) {
        let file = self.pin_file();
        fs::write(&file, format!("{pin}\n")).expect("a file of ours");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a file of ours");
        give(&file);
    }

    /// The labels of the public keys that it holds, sorted.
    pub fn public_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for object in entries(&self.path("tokens")).iter().flat_map(|token| entries(token)) {
            keys.extend(label_of(&fs::read(object).expect("an object")));
        }
        keys.sort();
        keys
    }

    fn config(&self) -> PathBuf {
        self.path("softhsm2.conf")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Labels are stored in clear where an object is public.
fn label_of(object: &[u8]) -> Option<String> {
    let at = object.windows(9).position(|window| window == b"twinseal ")?;
    let text =
        object.get(at..)?.iter().take_while(|byte| byte.is_ascii_lowercase() || **byte == b' ');
    Some(text.map(|byte| char::from(*byte)).collect())
}

fn give(path: &Path) {
    let uid = User::Agent.uid();
    chown(path, Some(uid), Some(uid)).expect("root gives a file away");
    if path.is_dir() {
        entries(path).iter().for_each(|entry| give(entry));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of ours");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
