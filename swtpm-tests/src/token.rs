//! A private PKCS#11 token in software.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::bus::User;
use crate::chip::ChipKind;

const LABEL: &str = "of a test";
const PIN: &str = "a pin of the test";
const OFFICER_PIN: &str = "a pin of an officer";

/// What a token can do that knows RSA alone.
const RSA: [&str; 3] = ["CKM_RSA_PKCS_KEY_PAIR_GEN", "CKM_RSA_PKCS_PSS", "CKM_RSA_PKCS_OAEP"];

/// Whose module it is. They share no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// SoftHSM, as the distribution has it.
    SoftHsm,
    /// Kryoptic, as `scripts/setup` has built it.
    Kryoptic,
    /// The same, where RSA is all that may be used.
    KryopticRsa,
}

/// A token of one test, in a folder of its own that belongs to the agent's user. Its module is
/// loaded by whoever uses it; which token that finds, an environment variable says.
#[derive(Debug)]
pub struct Token {
    kind: TokenKind,
    folder: TempDir,
}

impl TokenKind {
    /// The module's library.
    pub fn module(self) -> &'static Path {
        let built =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/kryoptic/debug/libkryoptic.so");
        Path::new(match self {
            Self::SoftHsm => "/usr/lib/softhsm/libsofthsm2.so",
            Self::Kryoptic | Self::KryopticRsa => built,
        })
    }

    /// The variable that names its configuration.
    fn variable(self) -> &'static str {
        match self {
            Self::SoftHsm => "SOFTHSM2_CONF",
            Self::Kryoptic | Self::KryopticRsa => "KRYOPTIC_CONF",
        }
    }

    /// Its configuration, for a token that stores everything below `store`.
    fn config(self, store: &Path) -> String {
        match self {
            Self::SoftHsm => format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                store.display()
            ),
            Self::Kryoptic => {
                let file = store.join("token.sql");
                format!("[[slots]]\nslot = 0\ndbtype = \"sqlite\"\ndbargs = {file:?}\n")
            }
            Self::KryopticRsa => Self::Kryoptic.config(store) + &format!("mechanisms = {RSA:?}\n"),
        }
    }
}

impl Token {
    /// Makes an initialised token of the kind that the environment names, as
    /// [`ChipKind::of_environment`] has it; of SoftHSM, where that is none.
    pub fn start() -> Self {
        match ChipKind::of_environment() {
            ChipKind::Token(kind) => Self::of(kind),
            ChipKind::Tpm => Self::of(TokenKind::SoftHsm),
        }
    }

    /// Makes an initialised token.
    ///
    /// # Panics
    /// When its module, or `pkcs11-tool`, is not installed; the message holds what was said.
    pub fn of(kind: TokenKind) -> Self {
        Self::initialised(kind, "")
    }

    /// A token that can do nothing else than these mechanisms, such as `CKM_ECDSA`.
    pub fn with_mechanisms(mechanisms: &[&str]) -> Self {
        Self::initialised(TokenKind::Kryoptic, &format!("mechanisms = {mechanisms:?}\n"))
    }

    /// Another token that begins with all that this one has, its keys included.
    pub fn copy(&self) -> Self {
        Self::new(self.kind, "", |copy| copy_folder(&self.path("store"), &copy.path("store")))
    }

    fn initialised(kind: TokenKind, configuration: &str) -> Self {
        Self::new(kind, configuration, |token| {
            token.tool(&["--init-token", "--slot-index", "0", "--label", LABEL]);
            token.tool(&["--init-pin", "--token-label", LABEL, "--pin", PIN]);
        })
    }

    fn new(kind: TokenKind, configuration: &str, fill: impl FnOnce(&Self)) -> Self {
        let module = kind.module();
        assert!(module.exists(), "{}: not there: run scripts/setup", module.display());
        let token = Self { kind, folder: tempfile::tempdir().expect("a temporary folder") };
        let store = token.path("store");
        fs::create_dir(&store).expect("a new folder");
        fs::write(token.config(), kind.config(&store) + configuration).expect("a new file");
        fill(&token);
        token.set_pin(PIN);
        give(token.folder.path());
        token
    }

    /// Whose module it is.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// What a program that loads the module is to find in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![(self.kind.variable().to_owned(), self.config().display().to_string())]
    }

    /// Its address as a PKCS#11 URI.
    pub fn uri(&self) -> String {
        self.uri_by(self.module())
    }

    /// The same by another module, such as one that misbehaves.
    pub fn uri_by(&self, module: &Path) -> String {
        format!("pkcs11:token={}?module-path={}", LABEL.replace(' ', "%20"), module.display())
    }

    /// The module itself.
    pub fn module(&self) -> &'static Path {
        self.kind.module()
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
        let objects = self.objects();
        let labels = objects.iter().filter_map(|object| object.strip_prefix("Public Key: "));
        labels.map(str::to_owned).collect()
    }

    /// What each of its private keys may do, sorted.
    pub fn private_uses(&self) -> Vec<String> {
        let login = ["--token-label", LABEL, "--login", "--pin", PIN];
        let said = self.tool(&[&["--list-objects", "--type", "privkey"], &login[..]].concat());
        let uses = said.lines().filter_map(|line| line.trim().strip_prefix("Usage:"));
        let mut uses: Vec<String> = uses.map(|what| what.trim().to_owned()).collect();
        uses.sort();
        uses
    }

    /// The objects that it holds, each as its class and its label, sorted.
    pub fn objects(&self) -> Vec<String> {
        let login = ["--token-label", LABEL, "--login", "--pin", PIN];
        let listed = self.tool(&[&["--list-objects"], &login[..]].concat());
        let mut class = "";
        let mut objects: Vec<String> = Vec::new();
        for line in listed.lines() {
            match (line.split_once(" Object"), line.trim().strip_prefix("label:")) {
                (Some((said, _)), _) => class = said,
                (None, Some(label)) => objects.push(format!("{class}: {}", label.trim())),
                _ => {}
            }
        }
        objects.sort();
        objects
    }

    /// Deletes the key pairs with this label.
    pub(crate) fn delete_keys(&self, label: &str) {
        for half in ["privkey", "pubkey"] {
            let object = ["--delete-object", "--type", half, "--label", label];
            let login = ["--token-label", LABEL, "--login", "--pin", PIN];
            self.tool(&[&object[..], &login].concat());
        }
        give(self.folder.path());
    }

    /// Runs `pkcs11-tool` on this token, with the officer's PIN at hand, and returns its standard
    /// output.
    fn tool(&self, arguments: &[&str]) -> String {
        let output = Command::new("pkcs11-tool")
            .arg("--module")
            .arg(self.module())
            .args(arguments)
            .args(["--so-pin", OFFICER_PIN])
            .envs(self.environment())
            .output()
            .unwrap_or_else(|e| panic!("pkcs11-tool: {e}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pkcs11-tool {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn config(&self) -> PathBuf {
        self.path("config")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn give(path: &Path) {
    let uid = User::Agent.uid();
    chown(path, Some(uid), Some(uid)).expect("root gives a file away");
    if path.is_dir() {
        entries(path).iter().for_each(|entry| give(entry));
    }
}

/// Whatever is in one folder, into another.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new folder");
    for entry in entries(from) {
        let to = to.join(entry.file_name().expect("a name"));
        match entry.is_dir() {
            true => copy_folder(&entry, &to),
            false => drop(fs::copy(entry, to).expect("a file of ours")),
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of ours");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
