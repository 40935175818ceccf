//! NSS: `modutil` and `certutil`.

use crate::stage::Stage;

#[test]
fn nss_loads_the_module_and_makes_keys_and_requests() {
    let stage = Stage::new();
    let folder = stage.path("nss");
    stage.ok("mkdir", &[&folder]);
    let database = format!("sql:{folder}");
    stage.ok("certutil", &["-N", "-d", &database, "--empty-password"]);
    let add = ["-force", "-dbdir", &database, "-add", "twinseal", "-libfile", &stage.module];
    stage.ok("modutil", &add);
    let listed = stage.ok("modutil", &["-dbdir", &database, "-list", "twinseal"]);
    assert!(listed.contains("Token Name: Twinseal"), "{listed}");

    let certutil = |arguments: &[&str]| {
        stage.ok("certutil", &[arguments, &["-d", &database, "-h", "Twinseal"]].concat())
    };
    let noise = stage.file("noise", [7; 64]);
    let request = stage.path("request");
    for kind in [&["-k", "ec", "-q", "nistp256"][..], &["-k", "rsa", "-g", "2048"]] {
        let ask = ["-R", "-s", "CN=nss", "-z", &noise, "-a", "-o", &request];
        certutil(&[&ask[..], kind].concat());
        stage.ok("openssl", &["req", "-in", &request, "-verify", "-noout"]);
    }
    let keys = certutil(&["-K"]);
    assert!(keys.contains("ec ") && keys.contains("rsa "), "{keys}");

    // A certificate goes to its key.
    stage.authority();
    let certificate = stage.certify(&request, "nss.pem");
    certutil(&["-A", "-n", "till", "-t", ",,", "-a", "-i", &certificate]);
    let certificates = certutil(&["-L"]);
    assert!(
        certificates.contains("Twinseal:till") && certificates.contains("u,u,u"),
        "{certificates}"
    );
}
