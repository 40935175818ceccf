//! What OpenSSL says of a key's work.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A folder with a public key, in which `openssl` is run.
#[derive(Debug)]
pub struct OpenSsl(TempDir);

impl OpenSsl {
    /// With this SubjectPublicKeyInfo in the file `key`.
    pub fn with_key(spki: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        folder.put("key", spki);
        folder
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).expect("a file of ours");
    }

    /// What is in a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).expect("a file of ours")
    }

    /// Whether it succeeds with these arguments.
    pub fn run(&self, arguments: &[&str]) -> bool {
        let mut openssl = Command::new("openssl");
        let output = openssl.current_dir(self.0.path()).args(arguments).output();
        output.expect("openssl").status.success()
    }

    /// Whether it takes `signature` for one of `digest`; each of `options` is a `-pkeyopt`.
    pub fn verifies(&self, digest: &[u8], signature: &[u8], options: &[&str]) -> bool {
        self.put("digest", digest);
        self.put("signature", signature);
        let verify = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key"];
        let files = ["-in", "digest", "-sigfile", "signature"];
        let options: Vec<&str> = options.iter().flat_map(|option| ["-pkeyopt", option]).collect();
        self.run(&[&verify[..], &files, &options].concat())
    }

    /// `message`, encrypted by RSAES-OAEP with this hash for label and mask.
    pub fn encrypted(&self, message: &[u8], hash: &str, label: &[u8]) -> Vec<u8> {
        self.put("message", message);
        let hex: String = label.iter().map(|byte| format!("{byte:02x}")).collect();
        let (oaep, mgf1) = (format!("rsa_oaep_md:{hash}"), format!("rsa_mgf1_md:{hash}"));
        let labelled = format!("rsa_oaep_label:{hex}");
        let mut options = vec!["rsa_padding_mode:oaep", &oaep, &mgf1];
        options.extend((!label.is_empty()).then_some(labelled.as_str()));
        let options: Vec<&str> = options.iter().flat_map(|option| ["-pkeyopt", option]).collect();
        let encrypt = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "key"];
        let files = ["-in", "message", "-out", "sealed"];
        assert!(self.run(&[&encrypt[..], &files, &options].concat()));
        self.read("sealed")
    }
}

/// A signature of r and s as OpenSSL wants it: ECDSA-Sig-Value (RFC 3279, section 2.2.3), in DER.
pub fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut bytes = number[zeros..].to_vec();
        if bytes[0] & 0x80 != 0 {
            bytes.insert(0, 0);
        }
        [&[2, u8::try_from(bytes.len()).expect("a short number")][..], &bytes].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).expect("a short form")][..], &both].concat()
}
