//! The certificate authority that vouches for the fixture's chips.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SigningKey,
};
use tempfile::TempDir;

/// Who made the chip, as its EK certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// `id:00001014`, what swtpm says of itself. Twinseal classes such a chip as a simulator.
    Swtpm,
    /// `id:41434D45`, "ACME", who makes no chips: stands for a real manufacturer.
    Acme,
}

/// A root and an issuing authority for EK certificates, made new for each test process.
#[derive(Debug)]
pub struct EkAuthority {
    folder: TempDir,
    root_key: KeyPair,
    root_pem: String,
    issuing_der: Vec<u8>,
}

/// Which of the authority's two keys signs an EK certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    Root,
    Issuing,
}

impl EkAuthority {
    /// The authority of this test process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<EkAuthority> = OnceLock::new();
        SHARED.get_or_init(Self::generate)
    }

    /// Another authority, which nobody has been told to trust.
    pub fn generate() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (root_key, root_params) = authority(ROOT_NAME);
        let root = root_params.self_signed(&root_key).expect("a root");
        let (issuing_key, issuing_params) = authority("Twinseal test EK issuing authority");
        let issuing = issuing_params
            .signed_by(&issuing_key, &Issuer::from_params(&root_params, &root_key))
            .expect("an issuing authority");
        write_signer(folder.path(), Signer::Root, &root_key, &root.pem());
        write_signer(folder.path(), Signer::Issuing, &issuing_key, &issuing.pem());
        // Empty, but swtpm_localca wants the file.
        write(&folder.path().join("no-options"), "");
        for vendor in [Vendor::Swtpm, Vendor::Acme] {
            for signer in [Signer::Root, Signer::Issuing] {
                write_setup_config(folder.path(), vendor, signer);
            }
        }
        Self { root_key, root_pem: root.pem(), issuing_der: issuing.der().to_vec(), folder }
    }

    /// Signs with the root's key: ECDSA on P-256 with SHA-256, in DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.root_key.sign(message).expect("a signature")
    }

    /// The root certificate in PEM, for `twinseal-server ek-roots add`.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A file with [`EkAuthority::root_pem`].
    pub fn root_pem_file(&self) -> PathBuf {
        self.folder.path().join("Root.cert.pem")
    }

    /// The issuing authority's certificate in PEM, which the root signed.
    pub fn issuing_pem_file(&self) -> PathBuf {
        self.folder.path().join("Issuing.cert.pem")
    }

    /// The same in DER, as it stands in a chip's NV from index 0x01c00100 on.
    pub fn issuing_der(&self) -> &[u8] {
        &self.issuing_der
    }

    /// The configuration of `swtpm_setup` with which `vendor`'s chips are certified.
    pub(crate) fn setup_config(&self, vendor: Vendor, signer: Signer) -> PathBuf {
        setup_config_path(self.folder.path(), vendor, signer)
    }
}

fn setup_config_path(folder: &Path, vendor: Vendor, signer: Signer) -> PathBuf {
    folder.join(format!("{vendor:?}-{signer:?}.conf"))
}

fn write_setup_config(folder: &Path, vendor: Vendor, signer: Signer) {
    let tool = match vendor {
        Vendor::Swtpm => "/usr/bin/swtpm_localca",
        Vendor::Acme => concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/acme-localca"),
    };
    let config = format!(
        "create_certs_tool = {tool}\n\
         create_certs_tool_config = {0}/{signer:?}.localca.conf\n\
         create_certs_tool_options = {0}/no-options\n\
         active_pcr_banks = sha256\n",
        folder.display()
    );
    write(&setup_config_path(folder, vendor, signer), &config);
}

/// The common name of every root.
pub(crate) const ROOT_NAME: &str = "Twinseal test EK root";

fn authority(common_name: &str) -> (KeyPair, CertificateParams) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (KeyPair::generate().expect("a P-256 key"), params)
}

fn write_signer(folder: &Path, signer: Signer, key: &KeyPair, certificate_pem: &str) {
    let path = |what: &str| folder.join(format!("{signer:?}.{what}"));
    write(&path("key.pem"), &key.serialize_pem());
    write(&path("cert.pem"), certificate_pem);
    write(&path("serial"), "1");
    let config = format!(
        "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
        folder.display(),
        path("key.pem").display(),
        path("cert.pem").display(),
        path("serial").display(),
    );
    write(&path("localca.conf"), &config);
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
