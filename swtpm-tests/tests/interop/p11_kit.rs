//! `p11-kit server`: the module in one process, its user in another.

use std::process::Stdio;

use crate::stage::{Running, Stage, wait_for};

#[test]
fn p11_kit_hands_the_token_on_to_another_process() {
    let stage = Stage::new();
    stage.key("EC:prime256v1", "remote", "01", &["sign"]);
    let public = stage.public_key("01");
    let data = stage.file("data", "two rolls");
    let digest = stage.path("digest");
    stage.ok("openssl", &["dgst", "-sha256", "-binary", "-out", &digest, &data]);
    let socket = stage.path("p11-kit");
    let mut serving = stage.command("p11-kit");
    serving.args(["server", "--provider", &stage.module, "--foreground", "--name", &socket]);
    let serving = serving.arg("pkcs11:token=Twinseal").stdout(Stdio::null()).spawn();
    let _serving = Running(serving.unwrap());
    wait_for(&socket);
    let client = stage.ok("find", &["/usr/lib", "-name", "p11-kit-client.so"]);
    let signature = stage.path("signature");
    let output = stage
        .command("pkcs11-tool")
        .env("P11_KIT_SERVER_ADDRESS", format!("unix:path={socket}"))
        .args(["--module", client.trim(), "--sign", "--id", "01", "--mechanism", "ECDSA"])
        .args(["--signature-format", "openssl", "--input-file", &digest])
        .args(["--output-file", &signature])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let verify = ["dgst", "-sha256", "-verify", &public, "-signature", &signature, &data];
    stage.ok("openssl", &verify);
}
