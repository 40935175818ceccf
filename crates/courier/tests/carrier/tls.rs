//! HTTPS: the right server with the right root, and everything else refused.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use twinseal_courier::{Carrier, Config, Kind, Outcome};
use twinseal_swtpm_tests::{is_child, rerun};

use crate::server::{Server, reply};

/// A root, and its file.
struct Root {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A server with a certificate of this root for `name`.
    fn serve(&self, name: &str) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Server::with_tls(config, reply("200 OK", "application/cose", b"answer"))
    }
}

async fn carry(roots: &[&Root], origin: &str) -> Outcome {
    let roots = roots.iter().map(|root| root.file()).collect();
    let carrier = Carrier::new(&Config { roots, ..Config::default() }).unwrap();
    carrier.carry(origin, Kind::of_word("message").unwrap(), b"sealed".to_vec()).await
}

fn refusal(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unreachable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_root_of_ones_own_is_trusted() {
    let (root, other) = (Root::new(), Root::new());
    let server = root.serve("localhost");
    let answered = Outcome::Answered(b"answer".to_vec());
    assert_eq!(carry(&[&root], &server.origin("https")).await, answered);
    assert_eq!(carry(&[&other, &root], &server.origin("https")).await, answered);
    assert_eq!(server.seen()[0].body, b"sealed");
}

#[tokio::test]
async fn another_root_another_name_and_no_tls_are_refused() {
    let (root, other) = (Root::new(), Root::new());
    let server = root.serve("localhost");
    let origin = server.origin("https");
    let unknown = refusal(carry(&[&other], &origin).await);
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    // The machine's own roots do not know ours either.
    let by_system = refusal(carry(&[], &origin).await);
    assert!(by_system.contains("invalid peer certificate"), "{by_system}");
    let misnamed = refusal(carry(&[&root], &root.serve("elsewhere.example").origin("https")).await);
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    let plain = Server::saying(reply("200 OK", "application/cose", b"answer"));
    refusal(carry(&[&root], &plain.origin("https")).await);
    assert_eq!(server.seen(), []);
    assert_eq!(plain.seen(), []);
}

#[tokio::test]
async fn a_system_without_roots_carries_over_http_and_refuses_https() {
    if !is_child() {
        let test = "tls::a_system_without_roots_carries_over_http_and_refuses_https";
        rerun(test, |program| {
            let mut command = Command::new(program);
            command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
            command
        });
        return;
    }
    let plain = Server::saying(reply("200 OK", "application/cose", b"answer"));
    let answered = Outcome::Answered(b"answer".to_vec());
    assert_eq!(carry(&[], &plain.origin("http")).await, answered);
    let refused = refusal(carry(&[], &Root::new().serve("localhost").origin("https")).await);
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
async fn a_root_that_is_none_is_found_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        let config = Config { roots: vec![file.clone()], ..Config::default() };
        let error = Carrier::new(&config).unwrap_err().to_string();
        assert!(error.ends_with("correct the configuration"), "{error}");
    }
    let missing = Config { roots: vec![folder.path().join("no.pem")], ..Config::default() };
    assert!(Carrier::new(&missing).unwrap_err().to_string().contains("no.pem"));
}
