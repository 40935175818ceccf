//! RSA-2048 signing and decryption keys, against OpenSSL, and junk that must harm nobody.

use std::path::Path;
use std::process::Command;

use rand_core::{OsRng, RngCore};
use twinseal_hardware::{Config, DeviceKeys, Hardware, KeyFamily, Lane};
use twinseal_scheme::keys::{DecryptionPublic, RSA_LEN, SigningAlgorithm, SigningPublic};
use twinseal_scheme::tpm::Public;
use twinseal_swtpm_tests::{Swtpm, Tap, probe};

use crate::eyes::{fields, peer, sign_and_verify};
use crate::leaving::template;
use crate::raw::{OWNER, Raw};

/// What another side knows of the chip: its decryption key, in a folder for OpenSSL.
struct Sender {
    folder: tempfile::TempDir,
    modulus: Vec<u8>,
}

impl Sender {
    fn to(keys: &DeviceKeys) -> Sender {
        let area = Public::parse(keys.decryption.public()).unwrap();
        let public = DecryptionPublic::from_area(&area).unwrap();
        assert!(matches!(public, DecryptionPublic::RsaOaep(..)));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), public.spki()).unwrap();
        Sender { folder, modulus: area.key().modulus().unwrap().to_vec() }
    }

    fn encrypt(&self, message: &[u8], options: &[&str]) -> [u8; RSA_LEN] {
        let file = |name: &str| self.folder.path().join(name);
        std::fs::write(file("message"), message).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey"]);
        openssl.arg(file("key")).arg("-in").arg(file("message")).arg("-out").arg(file("out"));
        for option in options {
            openssl.args(["-pkeyopt", option]);
        }
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::read(file("out")).unwrap().try_into().unwrap()
    }
}

const OAEP: [&str; 3] = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"];

async fn rsa_device(chip: &Swtpm) -> (Hardware, Lane, DeviceKeys) {
    let mut config = Config::new(chip.tcti().parse().unwrap());
    config.prefer = KeyFamily::Rsa;
    let hardware = Hardware::open(config).unwrap();
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    (hardware, lane, keys)
}

#[tokio::test]
async fn rsa_keys_are_of_the_schemes_form_and_outlive_the_process() {
    let chip = Swtpm::start();
    let (hardware, lane, keys) = rsa_device(&chip).await;
    let area = Public::parse(keys.signing.public()).unwrap();
    let public = SigningPublic::from_area(&area).unwrap();
    // This emulator's salts are as long as the hash, as FIPS 186 wants them.
    assert_eq!(public.algorithm(), SigningAlgorithm::Ps256);
    let signature = sign_and_verify(&lane, &keys.signing, b"message").await;
    assert_eq!(signature.len(), RSA_LEN);
    assert!(!public.has_signed(b"massage", &signature));
    assert!(openssl_verifies(&public.spki(), b"message", &signature));
    assert!(!openssl_verifies(&public.spki(), b"massage", &signature));

    let sender = Sender::to(&keys);
    let sealed = sender.encrypt(&[0x5a; 32], &OAEP);
    assert_eq!(lane.decrypt(&keys.decryption, sealed).await.unwrap().expose(), &[0x5a; 32]);
    // An RSA device's serial key agrees on P-256 all the same.
    lane.agree_serial(&keys, peer().1).await.unwrap();
    lane.certify(&keys, &keys.signing, [7; 32]).await.unwrap();
    lane.certify(&keys, &keys.decryption, [7; 32]).await.unwrap();
    hardware.close().await;

    // Stored keys say themselves what they are, whatever is preferred by now.
    let stored = DeviceKeys::from_bytes(&keys.to_bytes()).unwrap();
    let hardware = crate::eyes::open(&chip.tcti());
    let lane = hardware.lane(0);
    sign_and_verify(&lane, &stored.signing, b"again").await;
    assert_eq!(lane.decrypt(&stored.decryption, sealed).await.unwrap().expose(), &[0x5a; 32]);
}

/// This chip answers junk with TPM_RC_FAILURE, as if it had broken down. It has not: each piece is
/// refused by itself, and the next good message opens.
#[tokio::test]
async fn junk_for_an_rsa_key_harms_nobody() {
    let chip = Swtpm::start();
    let (hardware, lane, keys) = rsa_device(&chip).await;
    let sender = Sender::to(&keys);
    let good = sender.encrypt(&[0x5a; 32], &OAEP);
    let (mut changed, mut random) = (good, [0; RSA_LEN]);
    changed[128] ^= 1;
    OsRng.fill_bytes(&mut random[1..]);
    let modulus: [u8; RSA_LEN] = sender.modulus.clone().try_into().unwrap();
    let labelled = [&OAEP[..], &["rsa_oaep_label:00"]].concat();
    let sha1 = ["rsa_padding_mode:oaep"];
    let junk = [
        ("zero", [0; RSA_LEN]),
        ("one", *[&[0; RSA_LEN - 1][..], &[1]].concat().first_chunk().unwrap()),
        ("the modulus", modulus),
        ("above the modulus", [0xff; RSA_LEN]),
        ("random", random),
        ("a bit changed", changed),
        ("with a label", sender.encrypt(&[0x5a; 32], &labelled)),
        ("with SHA-1", sender.encrypt(&[0x5a; 32], &sha1)),
        ("PKCS #1 v1.5", sender.encrypt(&[0x5a; 32], &["rsa_padding_mode:pkcs1"])),
        ("31 bytes", sender.encrypt(&[0x5a; 31], &OAEP)),
        ("33 bytes", sender.encrypt(&[0x5a; 33], &OAEP)),
        ("nothing", sender.encrypt(&[], &OAEP)),
    ];
    for (what, ciphertext) in junk {
        let refused = lane.decrypt(&keys.decryption, ciphertext).await;
        assert_eq!(refused.map(drop).map_err(|e| e.code()), Err("rejected"), "{what}");
        let opened = lane.decrypt(&keys.decryption, good).await.unwrap();
        assert_eq!(opened.expose(), &[0x5a; 32], "after {what}");
        sign_and_verify(&lane, &keys.signing, what.as_bytes()).await;
    }
    let described = lane.describe().await.unwrap();
    assert_eq!((described.lockout.locked_out, described.lockout.failures), (false, 0));
    hardware.close().await;
    let left = chip.tool("tpm2_getcap", &["handles-transient"]);
    assert_eq!(left, "", "handles after an orderly end");
}

/// That a probe would see it: the same decryption, its answer encrypted in a session without a
/// salt, as many programs do it.
#[tokio::test]
async fn a_probe_on_the_bus_reads_an_oaep_plaintext_that_an_unsalted_session_encrypts() {
    let chip = Swtpm::start();
    let (hardware, _, keys) = rsa_device(&chip).await;
    let sealed = Sender::to(&keys).encrypt(&[0x5a; 32], &OAEP);
    hardware.close().await;
    let stored = fields(&keys.to_bytes());
    let tap = Tap::on(&chip);
    let mut raw = Raw::through(&tap);
    let root = raw.primary(OWNER, &template(&stored[3], &[0; 32]));
    let [public, private, auth] = [13, 14, 15].map(|at| stored[at].as_slice());
    let key = raw.load(root, private, public);
    raw.decrypt_unsalted(key, auth, public, &sealed);
    let seen = tap.exchanges();
    let clear: Vec<_> = seen.iter().map(|exchange| exchange.response.clone()).collect();
    assert!(!probe::holds(&clear, &[0x5a; 32]), "it is encrypted");
    assert!(probe::holds(&probe::readable(&seen), &[0x5a; 32]), "and the probe reads it");
}

#[tokio::test]
async fn a_key_does_nothing_but_what_it_is_for() {
    let chip = Swtpm::start();
    let (_hardware, lane, keys) = rsa_device(&chip).await;
    let sealed = Sender::to(&keys).encrypt(&[1; 32], &OAEP);
    assert!(lane.decrypt(&keys.signing, sealed).await.is_err());
    assert!(lane.sign(&keys.decryption, [1; 32]).await.is_err());
    assert!(lane.agree(&keys.decryption, peer().1).await.is_err());
    assert_eq!(lane.decrypt(&keys.decryption, sealed).await.unwrap().expose(), &[1; 32]);
    sign_and_verify(&lane, &keys.signing, b"still").await;
}

fn openssl_verifies(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    };
    let (key, signature) = (file("key", spki), file("signature", signature));
    let pss = ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest"];
    let verify = |message: &Path| {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-keyform", "DER", "-verify"]).arg(&key);
        openssl.args(pss.iter().flat_map(|option| ["-sigopt", option]));
        openssl.arg("-signature").arg(&signature).arg(message).output().unwrap()
    };
    verify(&file("message", message)).status.success()
}
