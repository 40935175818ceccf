//! Keys of applications on the bus and at the command line: whose they are, what they do, and
//! what a server can tell of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use twinseal_swtpm_tests::{Desk, Device, User, World, bytes};

/// Both in the group `twinseal-keys`, 1503.
const ONE: User = User::App(2001);
const OTHER: User = User::App(2002);
/// May have no keys.
const STRANGER: User = User::App(2003);
const MANAGED: &str = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
const INTROSPECT: &str = "org.freedesktop.DBus.Introspectable.Introspect";
const UNKNOWN: &str = "org.freedesktop.DBus.Error.UnknownObject";
const NOT_ALLOWED: &str = "org.twinseal.Error.NotAllowed";

fn create(device: &Device, user: User, options: &str) -> String {
    let made = device.call(user, "", "CreateKey", &["till", "ecc-p256", options]).unwrap();
    made.split('\'').nth(1).unwrap().to_owned()
}

/// What may be called on a key, with arguments that are right.
fn calls() -> Vec<(&'static str, Vec<String>)> {
    let digest = bytes(&[7; 32]);
    let nonce = bytes(&[9; 32]);
    let all = |arguments: &[&str]| arguments.iter().map(|one| (*one).to_owned()).collect();
    vec![
        ("Key.Sign", all(&[&digest, "ecdsa", "{}"])),
        ("Key.Decrypt", all(&[&digest, "rsa-oaep-sha256", "{}"])),
        ("Key.Agree", all(&[&digest, "{}"])),
        ("Key.Attest", all(&[&nonce, "{}"])),
        ("Key.Export", all(&["{}"])),
        ("Key.Change", all(&["{'label': <'mine'>}"])),
        ("Key.Delete", all(&["{}"])),
        ("org.freedesktop.DBus.Properties.GetAll", all(&["org.twinseal.Agent1.Key"])),
    ]
}

fn call(
    device: &Device,
    user: User,
    path: &str,
    (method, arguments): &(&str, Vec<String>),
) -> Result<String, String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    device.call(user, path, method, &arguments).map_err(|refusal| refusal.name)
}

/// Neither sees, uses, changes nor deletes the other's; nor does root. No enrolment is needed.
#[test]
fn a_key_of_another_does_not_exist() {
    let device = Device::start();
    let key = create(&device, ONE, "{}");
    let nobodys = format!("{}{}", &key[..key.len() - 32], "0".repeat(32));
    let under_other = key.replace("u2001", "u2002");
    for user in [OTHER, STRANGER, User::Root, User::Operator, User::Agent] {
        for one in calls() {
            for path in [&key, &nobodys, &under_other] {
                assert_eq!(call(&device, user, path, &one), Err(UNKNOWN.to_owned()), "{one:?}");
            }
        }
        for method in [MANAGED, INTROSPECT] {
            let seen = device.call(user, "", method, &[]).unwrap();
            assert!(!seen.contains("u2001") && !seen.contains("Agent1.Key"), "{seen}");
        }
    }
    // Its owner does all of it, in this order; what an elliptic key for signing is not for fails
    // by name.
    let outcomes: Vec<_> = calls().iter().map(|one| call(&device, ONE, &key, one)).collect();
    let kind = |at: usize| outcomes[at].as_ref().map(String::as_str).map_err(String::as_str);
    assert!(kind(0).unwrap().contains("0x"), "{outcomes:?}");
    assert_eq!(kind(1), Err("org.twinseal.Error.InvalidArgument"));
    assert_eq!(kind(2), Err("org.twinseal.Error.InvalidArgument"));
    assert_eq!(kind(3), Err("org.twinseal.Error.NotEnrolled"));
    assert!(kind(4).is_ok() && kind(5).is_ok() && kind(6).is_ok(), "{outcomes:?}");
    assert_eq!(kind(7), Err(UNKNOWN), "it is deleted");
    let refused = device.call(STRANGER, "", "CreateKey", &["x", "ecc-p256", "{}"]).unwrap_err();
    assert_eq!(refused.name, NOT_ALLOWED);
}

/// Who is in the group sees and uses it, and neither takes it away nor changes it.
#[test]
fn a_key_is_shared_with_a_group_to_use() {
    let mut device = Device::start();
    let shared = create(&device, ONE, "{'group': <uint32 1503>, 'id': <@ay [1, 2]>}");
    let own = create(&device, ONE, "{}");
    let seen = shared.replace("u2001", "u2002");
    let listed = device.call(OTHER, "", MANAGED, &[]).unwrap();
    assert!(listed.contains(&seen) && !listed.contains(own.rsplit('/').next().unwrap()));
    assert_eq!(device.property(OTHER, &seen, ".Key", "Owner"), Ok("uint32 2001".to_owned()));
    assert_eq!(device.property(OTHER, &seen, ".Key", "Group"), Ok("uint32 1503".to_owned()));
    let calls = calls();
    assert!(call(&device, OTHER, &seen, &calls[0]).is_ok());
    for denied in ["Key.Export", "Key.Change", "Key.Delete"] {
        let one = calls.iter().find(|(method, _)| *method == denied).unwrap();
        assert_eq!(call(&device, OTHER, &seen, one), Err(NOT_ALLOWED.to_owned()), "{denied}");
    }
    let calls_of_stranger = call(&device, STRANGER, &shared.replace("u2001", "u2003"), &calls[0]);
    assert_eq!(calls_of_stranger, Err(UNKNOWN.to_owned()));
    // A group that is not the caller's.
    let foreign = ["x", "ecc-p256", "{'group': <uint32 1500>}"];
    assert_eq!(device.call(ONE, "", "CreateKey", &foreign).unwrap_err().name, NOT_ALLOWED);
    // It is durable, and so is its end.
    device.restart_agent();
    assert!(call(&device, OTHER, &seen, &calls[0]).is_ok());
    assert!(call(&device, ONE, &shared, &calls[6]).is_ok());
    assert_eq!(call(&device, OTHER, &seen, &calls[0]), Err(UNKNOWN.to_owned()));
    assert!(call(&device, ONE, &own, &calls[0]).is_ok());
}

/// A key of before a TPM2_Clear says so, whatever the agent's state is, and new ones are made.
#[test]
fn a_key_of_a_cleared_chip_is_over() {
    let mut device = Device::start();
    let old = create(&device, ONE, "{}");
    let sign = &calls()[0];
    assert!(call(&device, ONE, &old, sign).is_ok());
    device.kill_agent();
    device.tpm().tool("tpm2_clear", &[]);
    device.restart_agent();
    for _ in 0..3 {
        let refused = call(&device, ONE, &old, sign);
        assert_eq!(refused, Err("org.twinseal.Error.ChipCleared".to_owned()));
    }
    assert_eq!(device.state(), "NotEnrolled");
    let new = create(&device, ONE, "{}");
    assert!(call(&device, ONE, &new, sign).is_ok());
    assert!(call(&device, ONE, &old, sign).is_err());
    assert!(call(&device, ONE, &old, &calls()[6]).is_ok(), "it can be deleted");
}

#[test]
fn the_command_line_makes_and_uses_keys() {
    let device = Device::start();
    let desk = Desk::of(&device, ONE);
    let rsa = ["rsa", "--algorithm", "rsa-2048", "--use", "sign", "--use", "decrypt"];
    let rsa = desk.create(&[&rsa[..], &["--id", "0a0b"]].concat());
    let (public, digest) = (desk.file("public"), desk.put("digest", &[7; 32]));
    let shown = desk.key(&["show", &rsa, "--public-key", &public]);
    assert_eq!((&shown["label"], &shown["id"]), (&json!("rsa"), &json!("0a0b")));
    assert_eq!(shown["uses"], json!(["sign", "decrypt"]));
    let signature = desk.file("signature");
    desk.key(&["sign", &rsa, &digest, "--scheme", "rsa-pss-sha256", "--output", &signature]);
    let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "public", "-in", "digest"];
    let pss = ["rsa_padding_mode:pss", "digest:sha256", "rsa_pss_saltlen:digest"];
    let pss: Vec<&str> = pss.iter().flat_map(|option| ["-pkeyopt", option]).collect();
    assert!(desk.openssl(&[&verify[..], &["-sigfile", "signature"], &pss].concat()));
    let oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"];
    desk.put("message", b"two coffees");
    let seal = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "public", "-in", "message"];
    assert!(desk.openssl(&[&seal[..], &["-out", "sealed"], &oaep].concat()));
    let opened = desk.key(&["decrypt", &rsa, &desk.file("sealed")]);
    assert_eq!(opened["plaintext"], "dHdvIGNvZmZlZXM=");

    let ecc = desk.create(&["agrees", "--use", "agree"]);
    desk.key(&["show", &ecc, "--public-key", &public]);
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    assert!(desk.openssl(&[&["genpkey", "-out", "peer"], &curve[..]].concat()));
    assert!(desk.openssl(&["pkey", "-in", "peer", "-pubout", "-out", "peer.pub"]));
    let derive = ["pkeyutl", "-derive", "-inkey", "peer", "-peerkey", "public", "-out", "secret"];
    assert!(desk.openssl(&derive));
    let secret = desk.file("agreed");
    desk.key(&["agree", &ecc, &desk.file("peer.pub"), "--output", &secret]);
    assert_eq!(fs::read(&secret).unwrap(), fs::read(desk.file("secret")).unwrap());
    // What it is not for is refused by the chip.
    let (code, refused) = desk.try_key(&["sign", &ecc, &digest, "--scheme", "ecdsa"]);
    assert_eq!((code, &refused["error"]["kind"]), (9, &json!("Rejected")));
    keys_pass_and_change(&desk, &rsa, &ecc);
}

fn keys_pass_and_change(desk: &Desk<'_>, rsa: &str, ecc: &str) {
    let file = desk.file("file");
    desk.key(&["export", rsa, "--output", &file]);
    assert!(fs::read_to_string(&file).unwrap().contains("BEGIN TSS2 PRIVATE KEY"));
    let again = desk.key(&["import", "again", &file])["key"].as_str().unwrap().to_owned();
    let of = |key: &str| desk.key(&["show", key])["public_key"].clone();
    assert_eq!(of(rsa), of(&again));
    let (code, refused) = desk.try_key(&["import", "x", &desk.file("public")]);
    assert_eq!((code, &refused["error"]["kind"]), (2, &json!("InvalidArgument")));

    // A certificate of the key, and one of another.
    for (name, key) in [("own", rsa), ("others", ecc)] {
        desk.key(&["show", key, "--public-key", &desk.file("public")]);
        let subject = ["-subj", "/CN=till", "-force_pubkey", "public", "-key", "peer"];
        let x509 = ["x509", "-new", "-out", name];
        assert!(desk.openssl(&[&x509[..], &subject].concat()), "{name}");
    }
    let (own, others) = (desk.file("own"), desk.file("others"));
    let (code, _) = desk.try_key(&["change", rsa, "--certificate", &others]);
    assert_eq!(code, 2);
    desk.key(&["change", rsa, "--certificate", &own, "--label", "till", "--id", "01"]);
    let stored = desk.file("stored");
    let shown = desk.key(&["show", rsa, "--certificate", &stored]);
    assert_eq!((&shown["label"], &shown["id"]), (&json!("till"), &json!("01")));
    assert_eq!(fs::read(&stored).unwrap(), fs::read(&own).unwrap());
    desk.key(&["change", rsa, "--no-certificate"]);
    assert_eq!(desk.key(&["show", rsa])["certificate"], "");

    let names = desk.key(&["list"])["keys"].as_array().unwrap().len();
    assert_eq!(names, 3);
    desk.key(&["delete", rsa]);
    let (code, gone) = desk.try_key(&["show", rsa]);
    assert_eq!((code, &gone["error"]["kind"]), (6, &json!("NotFound")));
    assert_eq!(desk.key(&["list"])["keys"].as_array().unwrap().len(), names - 1);
}

/// A server tells a key in an enrolled chip from everything else, without asking the device.
#[test]
fn a_key_is_attested_to_whoever_asks() {
    let world = World::start();
    let device = world.enrolled(Device::builder(), &[("holder", "till 7")]);
    let desk = Desk::of(&device, ONE);
    let key = desk.create(&["till"]);
    let (nonce, other) = ("4e".repeat(32), "4f".repeat(32));
    let attestation = desk.file("attestation");
    desk.key(&["attest", &key, "--nonce", &nonce, "--output", &attestation]);
    let public = desk.file("key.der");
    let verify = ["attest", "verify", &attestation, "--nonce", &nonce, "--public-key", &public];
    let told = world.server().run(&verify);
    assert_eq!((&told["algorithm"], &told["state"]), (&json!("ecc-p256"), &json!("active")));
    assert_eq!((&told["signs"], &told["decrypts"]), (&json!(true), &json!(false)));
    let spki = desk.key(&["show", &key])["public_key"].clone();
    assert_eq!(json!(base64_of(Path::new(&public))), spki);

    let refused = |server: &World, file: &str, nonce: &str| -> Value {
        let output = server.server().try_run(&["attest", "verify", file, "--nonce", nonce]);
        assert!(!output.status.success());
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        error["error"]["code"].clone()
    };
    assert_eq!(refused(&world, &attestation, &other), "attest-extra-data");
    assert_eq!(refused(&world, &attestation, "4e"), "wrong-nonce");
    let mut changed = fs::read(&attestation).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    let changed = desk.put("changed", &changed);
    assert_eq!(refused(&world, &changed, &nonce), "attest-signature");
    assert_eq!(refused(&world, &public, &nonce), "not-cbor");
    // Another server does not know the device.
    assert_eq!(refused(&World::start(), &attestation, &nonce), "unknown-server");
    let (code, short) = desk.try_key(&["attest", &key, "--nonce", "4e"]);
    assert_eq!((code, &short["error"]["kind"]), (2, &json!("InvalidArgument")));
}

fn base64_of(file: &Path) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(fs::read(file).unwrap())
}

/// The chip's random bytes are for everybody, and so is the tag that tells chips apart.
#[test]
fn everybody_gets_random_bytes_and_the_chips_tag() {
    let (device, another) = (Device::start(), Device::start());
    let random = |length: &str| device.call(STRANGER, "", "Random", &[length, "{}"]);
    let (first, second) = (random("32").unwrap(), random("32").unwrap());
    assert_ne!(first, second);
    assert_eq!(first.matches("0x").count(), 32);
    assert_eq!(random("1025").unwrap_err().name, "org.twinseal.Error.InvalidArgument");
    let tag = |device: &Device| device.property(STRANGER, "", "", "HardwareTag").unwrap();
    assert_eq!(tag(&device).len(), 16);
    assert_eq!(tag(&device), tag(&device));
    assert_ne!(tag(&device), tag(&another));
    let hardware = device.property(STRANGER, "", "", "Hardware").unwrap();
    assert!(hardware.contains("hmac-sha256") && hardware.contains("ecc-p384"), "{hardware}");
}
