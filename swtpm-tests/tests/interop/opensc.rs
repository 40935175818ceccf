//! `pkcs11-tool`, the first that speaks to any token.

use twinseal_swtpm_tests::{Device, Token};

use crate::stage::{APP, OTHER, Stage, said};

const P256: &str = "EC:prime256v1";

#[test]
fn pkcs11_tool_sees_slot_token_and_mechanisms() {
    let stage = Stage::new();
    let interfaces = stage.tool(&["--list-interfaces"]);
    assert!(interfaces.contains("3.0") && interfaces.contains("2.40"), "{interfaces}");
    let slots = stage.tool(&["--list-slots"]);
    assert!(slots.contains("token label        : Twinseal"), "{slots}");
    assert!(!slots.contains("login required"), "{slots}");
    // The token's serial is the hash that the agent gives for it, and not the chip's serial.
    let tag = stage.device.property(APP, "", "", "HardwareTag").unwrap();
    assert!(tag.len() == 16 && slots.contains(&format!("serial num         : {tag}")), "{slots}");
    let mechanisms = stage.tool(&["--list-mechanisms"]);
    for name in ["ECDSA-SHA256", "SHA384-RSA-PKCS-PSS", "RSA-PKCS-OAEP", "ECDH1-DERIVE"] {
        assert!(mechanisms.contains(&format!("  {name}, ")), "{mechanisms}");
    }
    for name in ["RSA-X-509", "wrap", "SHA1-RSA"] {
        assert!(!mechanisms.contains(name), "{name}: {mechanisms}");
    }
    let random = stage.path("random");
    stage.tool(&["--generate-random", "3000", "--output-file", &random]);
    assert_eq!(stage.read("random").len(), 3000);
}

/// Signs a file by a mechanism; the signature's path.
fn sign(stage: &Stage, id: &str, mechanism: &str, input: &str, more: &[&str]) -> String {
    let signature = stage.path("signature");
    let sign = ["--sign", "--id", id, "--mechanism", mechanism, "--input-file", input];
    stage.tool(&[&sign[..], &["--output-file", &signature], more].concat());
    signature
}

#[test]
fn pkcs11_tool_signs_with_elliptic_curves() {
    let stage = Stage::new();
    let data = stage.file("data", "two rolls and a coffee");
    for (curve, id) in [(P256, "01"), ("EC:secp384r1", "02")] {
        stage.key(curve, "signer", id, &["sign"]);
        let public = stage.public_key(id);
        for hash in ["sha256", "sha384", "sha512"] {
            let format = ["--signature-format", "openssl"];
            let mechanism = format!("ECDSA-{}", hash.to_uppercase());
            let signature = sign(&stage, id, &mechanism, &data, &format);
            let hash_flag = format!("-{hash}");
            let verify = ["dgst", &hash_flag, "-verify", &public, "-signature"];
            stage.ok("openssl", &[&verify[..], &[&signature, &data]].concat());
            // The digest alone; one longer than the curve's order is cut by whoever verifies.
            let digest = stage.path("digest");
            stage.ok("openssl", &["dgst", &hash_flag, "-binary", "-out", &digest, &data]);
            let signature = sign(&stage, id, "ECDSA", &digest, &format);
            stage.ok("openssl", &[&verify[..], &[&signature, &data]].concat());
        }
    }
    let listed = stage.tool(&["--list-objects"]);
    assert_eq!(listed.matches("Private Key Object; EC").count(), 2, "{listed}");
    assert_eq!(listed.matches("sensitive, always sensitive, never extractable").count(), 2);
}

/// The keys are in the device's own PKCS#11 token then, behind the agent.
#[test]
fn pkcs11_tool_uses_keys_in_a_token() {
    let stage = Stage::of(Device::builder().chip(Token::start()).start());
    let data = stage.file("data", "two rolls and a coffee");
    for (kind, id, mechanism) in [
        (P256, "01", "ECDSA-SHA256"),
        ("EC:secp384r1", "02", "ECDSA-SHA256"),
        ("rsa:2048", "03", "SHA256-RSA-PKCS"),
    ] {
        stage.key(kind, "signer", id, &["sign"]);
        let public = stage.public_key(id);
        let format = ["--signature-format", "openssl"];
        let signature = sign(&stage, id, mechanism, &data, &format);
        let verify = ["dgst", "-sha256", "-verify", &public, "-signature", &signature, &data];
        stage.ok("openssl", &verify);
    }
    let held = stage.device.token().objects().len();
    assert_eq!(held, 6);
    stage.tool(&["--delete-object", "--type", "privkey", "--id", "03"]);
    assert_eq!(stage.device.token().objects().len(), held - 2);
}

#[test]
fn pkcs11_tool_signs_and_decrypts_with_rsa() {
    let stage = Stage::new();
    let data = stage.file("data", "two rolls and a coffee");
    stage.key("rsa:2048", "both", "07", &["sign", "decrypt"]);
    let public = stage.public_key("07");
    for hash in ["sha256", "sha384", "sha512"] {
        let upper = hash.to_uppercase();
        let hash_flag = format!("-{hash}");
        let verify = ["dgst", &hash_flag, "-verify", &public];
        let signature = sign(&stage, "07", &format!("{upper}-RSA-PKCS"), &data, &[]);
        stage.ok("openssl", &[&verify[..], &["-signature", &signature, &data]].concat());
        let signature = sign(&stage, "07", &format!("{upper}-RSA-PKCS-PSS"), &data, &[]);
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
        let verify = [&verify[..], &pss, &["-signature", &signature, &data]].concat();
        stage.ok("openssl", &verify);
    }
    // A DigestInfo is signed as it is if its hash is a good one.
    let raw = |info: &[u8]| {
        let info = stage.file("info", info);
        let sign = ["--sign", "--id", "07", "--mechanism", "RSA-PKCS", "--input-file", &info];
        stage.run("pkcs11-tool", &[&["--module", &stage.module], &sign[..]].concat())
    };
    let sha256 = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let sha1 = b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
    assert!(raw(&[&sha256[..], &[7; 32]].concat()).status.success());
    let refused = said(&raw(&[&sha1[..], &[7; 20]].concat()));
    assert!(refused.contains("CKR_DATA_INVALID"), "{refused}");

    for hash in ["sha1", "sha256", "sha384"] {
        let (ciphertext, plaintext) = (stage.path("ciphertext"), stage.path("plaintext"));
        let padding = ["rsa_padding_mode:oaep".to_owned(), format!("rsa_oaep_md:{hash}")];
        let encrypt = ["pkeyutl", "-encrypt", "-pubin", "-inkey", &public, "-in", &data];
        let options = ["-pkeyopt", &padding[0], "-pkeyopt", &padding[1], "-out", &ciphertext];
        stage.ok("openssl", &[&encrypt[..], &options].concat());
        let name = match hash {
            "sha1" => "SHA-1".to_owned(),
            _ => hash.to_uppercase(),
        };
        let mgf = format!("MGF1-{}", hash.to_uppercase());
        let decrypt = ["--decrypt", "--id", "07", "--mechanism", "RSA-PKCS-OAEP"];
        let how = ["--hash-algorithm", &name, "--mgf", &mgf];
        let files = ["--input-file", &ciphertext, "--output-file", &plaintext];
        stage.tool(&[&decrypt[..], &how, &files].concat());
        assert_eq!(stage.read("plaintext"), b"two rolls and a coffee", "{hash}");
    }
}

#[test]
fn pkcs11_tool_agrees_on_secrets() {
    let stage = Stage::new();
    stage.key(P256, "agreeing", "0a", &["derive"]);
    let public = stage.public_key("0a");
    let (key, peer) = (stage.path("peer.key"), stage.path("peer.der"));
    let curve = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key];
    stage.ok("openssl", &curve);
    stage.ok("openssl", &["pkey", "-in", &key, "-pubout", "-outform", "DER", "-out", &peer]);
    let secret = stage.path("secret");
    let derive = ["--derive", "--id", "0a", "--mechanism", "ECDH1-DERIVE"];
    let files = ["--input-file", &peer, "--output-file", &secret];
    stage.tool(&[&derive[..], &files].concat());
    let other = stage.path("other");
    let derive = ["pkeyutl", "-derive", "-inkey", &key, "-peerkey", &public, "-out", &other];
    stage.ok("openssl", &derive);
    assert_eq!(stage.read("secret"), stage.read("other"));
    assert_eq!(stage.read("secret").len(), 32);
    // A key that was made to agree does not sign.
    let sign = ["--sign", "--id", "0a", "--mechanism", "ECDSA", "--input-file", &secret];
    let sign = [&["--module", &stage.module], &sign[..]].concat();
    let refused = stage.fails("pkcs11-tool", &sign);
    assert!(refused.contains("CKR_KEY_FUNCTION_NOT_PERMITTED"), "{refused}");
}

#[test]
fn pkcs11_tool_runs_its_own_tests() {
    let stage = Stage::new();
    stage.key(P256, "signer", "01", &["sign"]);
    stage.key("rsa:2048", "opener", "02", &["decrypt"]);
    let login = ["--login", "--pin", "any", "--session-rw"];
    let tested = stage.tool(&[&login[..], &["--test"]].concat());
    assert!(tested.contains("all 4 digest functions seem to work"), "{tested}");
    assert!(tested.contains("No errors"), "{tested}");
    let ec = ["--test-ec", "--id", "03", "--label", "tested", "--key-type", P256];
    let tested = stage.tool(&[&login[..], &ec].concat());
    assert!(tested.contains("Doing a signature"), "{tested}");
    let forked = stage.tool(&["--test-fork"]);
    assert!(forked.contains("C_Initialize in forked child process"), "{forked}");
    // As many threads as it can have: each initializes, lists slots, looks at the token.
    let threads = ["--test-threads", "ILGISLT0"].repeat(10);
    let tested = stage.tool(&[&["--use-locking"], &threads[..]].concat());
    assert!(tested.contains("all threads have ended with CKR_OK"), "{tested}");
}

#[test]
fn what_one_user_has_another_does_not_see() {
    let stage = Stage::new();
    stage.key(P256, "mine", "01", &["sign"]);
    let list = ["--module", &stage.module, "--list-objects"];
    let listed = |user| {
        let output = stage.device.bus().command(user, "pkcs11-tool").args(list).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    assert!(listed(APP).contains("mine"));
    assert!(!listed(OTHER).contains("mine"));
    let delete = ["--delete-object", "--type", "privkey", "--id", "01"];
    let delete = [&["--module", &stage.module], &delete[..]].concat();
    let output = stage.device.bus().command(OTHER, "pkcs11-tool").args(&delete).output().unwrap();
    assert!(!output.status.success());
    stage.ok("pkcs11-tool", &delete);
    assert!(!listed(APP).contains("mine"));
}
