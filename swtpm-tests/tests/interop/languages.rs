//! Java's SunPKCS11 and Python's python-pkcs11.

use twinseal_swtpm_tests::User;

use crate::stage::{Stage, said, text, tools};

#[test]
fn java_signs_in_sixteen_threads() {
    let stage = Stage::new();
    stage.authority();
    let certificate = stage.certified("EC:prime256v1", "till", "01");
    let der = stage.path("till.der");
    stage.ok("openssl", &["x509", "-in", &certificate, "-outform", "DER", "-out", &der]);
    let write = ["--write-object", &der, "--type", "cert", "--id", "01", "--label", "till"];
    stage.tool(&write);
    let config = format!("name = Twinseal\nlibrary = {}\nslot = 0\n", stage.module);
    let config = stage.file("java.cfg", config);
    let source = stage.file("Sign.java", include_str!("../../fixture/interop/Sign.java"));
    let printed = stage.ok("java", &[&source, &config, "till"]);
    assert!(printed.contains("good signatures: 160"), "{printed}");
}

#[test]
fn python_makes_signs_and_destroys() {
    let stage = Stage::new();
    let script = stage.file("sign.py", include_str!("../../fixture/interop/sign.py"));
    // Root, since the user may not be able to enter the folder that Python is in.
    let python = text(&tools().join("python/bin/python"));
    let mut running = stage.device.bus().command(User::Root, "env");
    let output = running.args([&python, &script, &stage.module]).output().unwrap();
    let printed = said(&output);
    let expected = ["signature: 64", "extractable: False", "value: sensitive", "left: 0"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{printed}");
}
