//! Keys of applications in a TPM: what a probe on its bus sees, and key files. What they do is the
//! same in every chip (`tests/conformance`).

use std::path::Path;
use std::process::Command;

use twinseal_hardware::{
    ApplicationKey, Ek, Error, Hash, KeyAlgorithm, KeyFile, Lane, SignScheme, TpmApplicationKey,
    Uses,
};
use twinseal_swtpm_tests::{OpenSsl, Swtpm, Tap, ecdsa_der, probe};

use crate::eyes::open;

const SIGN: Uses = Uses { sign: true, decrypt: false };
const DECRYPT: Uses = Uses { sign: false, decrypt: true };

async fn made(lane: &Lane, ek: &Ek, algorithm: KeyAlgorithm, uses: Uses) -> TpmApplicationKey {
    let key = lane.create_application_key(ek, algorithm, uses).await.unwrap();
    assert_eq!((key.algorithm(), key.uses()), (algorithm, uses));
    let stored = ApplicationKey::from(&key).to_bytes();
    let read = ApplicationKey::from_bytes(&stored).unwrap();
    assert_eq!(read.to_bytes(), stored);
    let ApplicationKey::Tpm(stored) = read else { panic!("a token's") };
    stored
}

fn openssl_of(key: &TpmApplicationKey) -> OpenSsl {
    OpenSsl::with_key(&ApplicationKey::from(key).public_key().unwrap().spki_der())
}

/// A code may serve as a key, and what it is of may be a secret.
#[tokio::test]
async fn a_probe_on_the_bus_sees_neither_data_nor_code_of_an_application() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let lane = open(&tap.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let key = made(&lane, &ek, KeyAlgorithm::HmacSha256, SIGN).await;
    let data = [0x77; 1024];
    let code = lane.sign_digest(&key, SignScheme::HmacSha256, data.to_vec()).await.unwrap();
    let seen = tap.exchanges();
    let seen: Vec<&[u8]> = seen.iter().flat_map(|e| [&e.command[..], &e.response]).collect();
    assert!(!seen.iter().any(|bytes| probe_finds(bytes, &code)));
    assert!(!seen.iter().any(|bytes| probe_finds(bytes, &data[..32])));
}

fn probe_finds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

/// What an agreement and a decryption give is on the TPM's bus in no form that a probe can read.
#[tokio::test]
async fn a_probe_on_the_bus_sees_no_secret_of_an_application() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let lane = open(&tap.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let key = made(&lane, &ek, KeyAlgorithm::EccP256, DECRYPT).await;
    let (_, point) = crate::eyes::peer();
    let secret = lane.agree_with(&key, &point).await.unwrap();
    let key = made(&lane, &ek, KeyAlgorithm::Rsa2048, DECRYPT).await;
    let openssl = openssl_of(&key);
    let sealed = openssl.encrypted(b"two coffees", "sha256", b"");
    let opened = lane.decrypt_oaep(&key, Hash::Sha256, Vec::new(), sealed).await.unwrap();
    assert_eq!(*opened, b"two coffees");
    let seen = tap.exchanges();
    let decrypted = probe::readable(&seen);
    for secret in [&secret[..], b"two coffees"] {
        let shown = |bytes: &[u8]| probe_finds(bytes, secret);
        assert!(!seen.iter().any(|e| shown(&e.command) || shown(&e.response)));
        assert!(!probe::holds(&decrypted, secret));
    }
    // That the tap sees the same messages: the point is no secret.
    assert!(seen.iter().any(|e| probe_finds(&e.command, &point[1..33])));
}

/// A blob of the scheme's keys never becomes an application's, whatever its file says.
#[tokio::test]
async fn a_key_of_the_scheme_cannot_be_imported() {
    let chip = Swtpm::start();
    let lane = open(&chip.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    let fields = crate::eyes::fields(&keys.signing.to_bytes());
    let (public, private, auth) = (&fields[2], &fields[3], &fields[4]);
    let own = made(&lane, &ek, KeyAlgorithm::EccP256, SIGN).await;
    let own_fields = crate::eyes::fields(&ApplicationKey::from(&own).to_bytes());
    let good = file_of(&own_fields[2], &own_fields[3]);
    assert_eq!(imported(&lane, &ek, &good, b"").await.map(|key| key.uses()), Ok(SIGN));
    let stolen = file_of(public, private);
    for password in [&b""[..], auth] {
        let refused = imported(&lane, &ek, &stolen, password).await.unwrap_err();
        assert!(matches!(refused, Error::Rejected { command: "TPM2_Load", .. }), "{refused:?}");
    }
    // Nor with the public half of a key that may be loaded.
    let mixed = file_of(public, &own_fields[3]);
    assert_eq!(imported(&lane, &ek, &mixed, b"").await.unwrap_err().code(), "rejected");
}

/// A key file that holds these, as other software would write it.
fn file_of(public: &[u8], private: &[u8]) -> Vec<u8> {
    let element = |tag: u8, contents: &[u8]| {
        let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
        let len = match len {
            [0, len @ 0..=0x7f] => vec![len],
            [0, len] => vec![0x81, len],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag][..], &len, contents].concat()
    };
    let fields = [
        element(6, &[0x67, 0x81, 5, 10, 1, 3]),
        element(2, &[0x40, 0, 0, 1]),
        element(4, &crate::raw::sized(public)),
        element(4, &crate::raw::sized(private)),
    ];
    element(0x30, &fields.concat())
}

async fn imported(
    lane: &Lane,
    ek: &Ek,
    file: &[u8],
    password: &[u8],
) -> Result<TpmApplicationKey, Error> {
    let auth = twinseal_hardware::AuthValue::new(password.to_vec()).unwrap();
    lane.import_application_key(ek, KeyFile::parse(file)?, auth).await
}

/// Into other software: OpenSSL loads an exported file and signs with it. Out of other software:
/// a key that tpm2-tools made below the same parent, with a password.
#[tokio::test]
async fn key_files_pass_between_programs() {
    let chip = Swtpm::start();
    let hardware = open(&chip.tcti());
    let lane = hardware.lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let key = made(&lane, &ek, KeyAlgorithm::EccP256, SIGN).await;
    let rsa = made(&lane, &ek, KeyAlgorithm::Rsa2048, SIGN).await;
    hardware.close().await;
    for key in [&key, &rsa] {
        let folder = openssl_of(key);
        folder.put("file", KeyFile::of(key).to_pem().as_bytes());
        folder.put("message", b"two coffees");
        let signed = openssl_with_tpm(&chip, folder.path())
            .args(["dgst", "-sha256", "-sign", "file", "-out", "signature", "message"])
            .output()
            .unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        let verify = ["dgst", "-sha256", "-keyform", "DER", "-verify", "key", "-signature"];
        assert!(folder.run(&[&verify[..], &["signature", "message"]].concat()));
    }
    let (public, private) = tools_make_a_key(&chip);
    let lane = open(&chip.tcti()).lane(7);
    let file = file_of(&public[2..], &private[2..]);
    let key = imported(&lane, &ek, &file, b"sesame").await.unwrap();
    let digest = vec![0x5a; 32];
    let signature = lane.sign_digest(&key, SignScheme::Ecdsa, digest.clone()).await.unwrap();
    assert!(openssl_of(&key).verifies(&digest, &ecdsa_der(&signature), &[]));
    let wrong = imported(&lane, &ek, &file, b"mellon").await.unwrap_err();
    assert_eq!(wrong.code(), "rejected");
    assert_eq!(lane.lockout().await.unwrap().failures, 0);
}

fn openssl_with_tpm(chip: &Swtpm, folder: &Path) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).env("TPM2OPENSSL_TCTI", chip.tcti());
    // The provider is asked before the built-in one, and that one verifies and hashes.
    let config = "openssl_conf = c\n[c]\nproviders = p\n[p]\ntpm2 = on\nbase = on\ndefault = on\n\
                  [on]\nactivate = 1\n";
    std::fs::write(folder.join("openssl.cnf"), config).unwrap();
    openssl.env("OPENSSL_CONF", folder.join("openssl.cnf"));
    openssl
}

/// TPM2B_PUBLIC and TPM2B_PRIVATE of a key with the password `sesame`.
fn tools_make_a_key(chip: &Swtpm) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (parent, public, private) = (file("parent"), file("public"), file("private"));
    std::fs::write(file("unique"), [0; 4]).unwrap();
    let born = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda";
    let storage = format!("{born}|restricted|decrypt");
    let primary = ["-C", "o", "-G", "ecc256:aes128cfb", "-g", "sha256", "-a", &storage];
    let unique = file("unique");
    chip.tool("tpm2_createprimary", &[&primary[..], &["-u", &unique, "-c", &parent]].concat());
    chip.tool("tpm2_flushcontext", &["-t"]);
    let signing = format!("{born}|sign");
    let child = ["-C", &parent, "-G", "ecc256", "-a", &signing, "-p", "sesame"];
    chip.tool("tpm2_create", &[&child[..], &["-u", &public, "-r", &private]].concat());
    chip.tool("tpm2_flushcontext", &["-t"]);
    (std::fs::read(public).unwrap(), std::fs::read(private).unwrap())
}
