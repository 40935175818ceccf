//! tpm2-pkcs11 with tpm2-abrmd, for comparison: the same signature in the same chip.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use twinseal_swtpm_tests::{Abrmd, Swtpm};

use crate::signer::{Signer, Way};

const PIN: &str = "1234";

/// A store of the peer's with one token, which has one key.
pub struct Peer(TempDir);

impl Peer {
    /// Makes token and key as its users may.
    pub fn provision(chip: &Swtpm) -> Self {
        let peer = Self(tempfile::tempdir().unwrap());
        let abrmd = Abrmd::start(chip);
        let tool = |arguments: &[&str]| {
            let mut command = peer.command(&abrmd, Path::new("pkcs11-tool"));
            let output = command.arg("--module").arg(module()).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let so = ["--login", "--login-type", "so", "--so-pin", PIN];
        tool(&["--init-token", "--label", "peer", "--so-pin", PIN]);
        tool(&[&so[..], &["--init-pin", "--pin", PIN]].concat());
        tool(&["--login", "--pin", PIN, "--keypairgen", "--key-type", "EC:prime256v1"]);
        peer
    }

    /// A program that signs with the key.
    pub fn signer(&self, abrmd: &Abrmd) -> Signer {
        Signer::start(Way::Module(&module(), PIN), |this| self.command(abrmd, this))
    }

    fn command(&self, abrmd: &Abrmd, program: &Path) -> Command {
        let mut command = abrmd.command(program);
        command.env("TPM2_PKCS11_STORE", self.0.path()).env("TPM2_PKCS11_LOG_LEVEL", "0");
        command.env("TPM2_PKCS11_TCTI", Abrmd::TCTI);
        command
    }
}

/// Where `scripts/setup` unpacks it.
fn module() -> PathBuf {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/usr/lib");
    let folders = std::fs::read_dir(tools).expect("run scripts/setup");
    let module = |folder: PathBuf| folder.join("libtpm2_pkcs11.so.1");
    let mut modules = folders.map(|folder| module(folder.unwrap().path()));
    modules.find(|module| module.exists()).expect("run scripts/setup")
}
