//! GnuTLS: `p11tool` and `certtool`.

use crate::stage::Stage;

const TOKEN: &str = "pkcs11:token=Twinseal";

fn url(object: &str, kind: &str) -> String {
    format!("{TOKEN};object={object};type={kind}")
}

#[test]
fn p11tool_makes_names_tests_and_certifies_a_key() {
    let stage = Stage::new();
    let provider = format!("--provider={}", stage.module);
    let p11tool = |arguments: &[&str]| {
        stage.ok("p11tool", &[&[provider.as_str(), "--batch"], arguments].concat())
    };
    let tokens = p11tool(&["--list-tokens"]);
    assert!(tokens.contains("Label: Twinseal") && tokens.contains("Hardware token"), "{tokens}");
    let make = ["--generate-privkey=ecdsa", "--curve=secp256r1", "--label=first", "--id=0a0b"];
    p11tool(&[&make[..], &[TOKEN]].concat());
    p11tool(&["--generate-privkey=rsa", "--bits=2048", "--label=second", "--id=0c", TOKEN]);
    for label in ["first", "second"] {
        let tested = p11tool(&["--test-sign", &url(label, "private")]);
        assert!(tested.contains("Verifying against public key in the token... ok"), "{tested}");
    }
    p11tool(&["--set-label=renamed", &url("first", "private")]);
    p11tool(&["--set-id=0e0f", &url("renamed", "private")]);
    let listed = p11tool(&["--list-all", "--only-urls", TOKEN]);
    assert!(listed.contains("id=%0E%0F;object=renamed;type=private"), "{listed}");
    assert!(!listed.contains("first"), "{listed}");

    let template = stage.file("template", "cn = \"till six\"\ntls_www_client\nsigning_key\n");
    let request = stage.path("request.pem");
    let (private, public) = (url("renamed", "private"), url("renamed", "public"));
    let make = [&provider, "--generate-request", "--load-privkey", &private, "--load-pubkey"];
    let with = [public.as_str(), "--template", &template, "--outfile", &request];
    stage.ok("certtool", &[&make[..], &with].concat());
    stage.ok("openssl", &["req", "-in", &request, "-verify", "-noout"]);

    // The certificate is kept beside its key, and has its id.
    stage.authority();
    let certificate = stage.certify(&request, "certificate.pem");
    let write = ["--write", "--load-certificate", &certificate, "--label=renamed", TOKEN];
    p11tool(&write);
    let certificates = p11tool(&["--list-all-certs", TOKEN]);
    assert!(certificates.contains("ID: 0e:0f"), "{certificates}");
    let exported = stage.path("exported.pem");
    p11tool(&["--export", "--outfile", &exported, &url("renamed", "cert")]);
    let subject = stage.ok("openssl", &["x509", "-noout", "-subject", "-in", &exported]);
    assert!(subject.contains("till six"), "{subject}");
    p11tool(&["--delete", &url("renamed", "cert")]);
    assert!(!p11tool(&["--list-all", TOKEN]).contains("type=cert"));
    p11tool(&["--delete", &url("renamed", "private")]);
    assert!(!p11tool(&["--list-all", TOKEN]).contains("renamed"));
}
