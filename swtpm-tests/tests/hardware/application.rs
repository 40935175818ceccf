//! Keys of applications, against OpenSSL and tpm2-tools.

use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256, Sha384, Sha512};
use twinseal_hardware::{
    ApplicationKey, Ek, Error, Hash, KeyAlgorithm, KeyFile, Lane, SignScheme, TpmApplicationKey,
    Uses,
};
use twinseal_swtpm_tests::{Swtpm, Tap, probe};

use crate::eyes::open;

const SIGN: Uses = Uses { sign: true, decrypt: false };
const DECRYPT: Uses = Uses { sign: false, decrypt: true };
const BOTH: Uses = Uses { sign: true, decrypt: true };

async fn made(lane: &Lane, ek: &Ek, algorithm: KeyAlgorithm, uses: Uses) -> TpmApplicationKey {
    let key = lane.create_application_key(ek, algorithm, uses).await.unwrap();
    assert_eq!((key.algorithm(), key.uses()), (algorithm, uses));
    let stored = ApplicationKey::from(&key).to_bytes();
    let read = ApplicationKey::from_bytes(&stored).unwrap();
    assert_eq!(read.to_bytes(), stored);
    let ApplicationKey::Tpm(stored) = read else { panic!("a token's") };
    stored
}

/// A folder with a public key, for OpenSSL.
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(key: &TpmApplicationKey) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.put("key", &key.public_key().unwrap().spki_der());
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let file = self.0.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn openssl(&self, arguments: &[&str]) -> bool {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(self.0.path()).args(arguments).output().unwrap().status.success()
    }

    /// Whether OpenSSL takes `signature` for one of `digest`.
    fn verifies(&self, digest: &[u8], signature: &[u8], options: &[&str]) -> bool {
        self.put("digest", digest);
        self.put("signature", signature);
        let verify = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key"];
        let files = ["-in", "digest", "-sigfile", "signature"];
        let options: Vec<&str> = options.iter().flat_map(|option| ["-pkeyopt", option]).collect();
        self.openssl(&[&verify[..], &files, &options].concat())
    }
}

/// As OpenSSL wants it: DER of r and s.
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut bytes = number[zeros..].to_vec();
        if bytes[0] & 0x80 != 0 {
            bytes.insert(0, 0);
        }
        [&[2, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()][..], &both].concat()
}

#[tokio::test]
async fn ecc_keys_sign_any_digest_and_agree() {
    let chip = Swtpm::start();
    let lane = open(&chip.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    for (algorithm, group) in [(KeyAlgorithm::EccP256, "P-256"), (KeyAlgorithm::EccP384, "P-384")] {
        let key = made(&lane, &ek, algorithm, BOTH).await;
        let folder = Folder::of(&key);
        let digests = [
            vec![0x5a; 20],
            Sha256::digest(b"m").to_vec(),
            Sha384::digest(b"m").to_vec(),
            Sha512::digest(b"m").to_vec(),
        ];
        for digest in digests {
            let signature =
                lane.sign_digest(&key, SignScheme::Ecdsa, digest.clone()).await.unwrap();
            assert!(folder.verifies(&digest, &der(&signature), &[]), "{group} {}", digest.len());
            let mut other = digest.clone();
            other[0] ^= 1;
            assert!(!folder.verifies(&other, &der(&signature), &[]));
        }
        agrees(&lane, &key, &folder, group).await;
    }
}

async fn agrees(lane: &Lane, key: &TpmApplicationKey, folder: &Folder, group: &str) {
    let curve = format!("ec_paramgen_curve:{group}");
    assert!(folder.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", "peer"]));
    assert!(folder.openssl(&["pkey", "-in", "peer", "-pubout", "-outform", "DER", "-out", "pub"]));
    assert!(folder.openssl(&["pkey", "-pubin", "-inform", "DER", "-in", "key", "-out", "pem"]));
    let derive = ["pkeyutl", "-derive", "-inkey", "peer", "-peerkey", "pem", "-out", "secret"];
    assert!(folder.openssl(&derive));
    let spki = std::fs::read(folder.file("pub")).unwrap();
    let point_len = key.public_key().unwrap().point().unwrap().1.len();
    let point = &spki[spki.len() - point_len..];
    let secret = lane.agree_with(key, point).await.unwrap();
    assert_eq!(*secret, std::fs::read(folder.file("secret")).unwrap());
    for wrong in [&point[1..], &[&[4][..], &[1; 64]].concat(), &[4; 97], b""] {
        let refused = lane.agree_with(key, wrong).await.unwrap_err();
        assert_eq!(refused.code(), "misuse");
    }
}

#[tokio::test]
async fn rsa_keys_sign_and_decrypt_in_every_scheme() {
    let chip = Swtpm::start();
    let lane = open(&chip.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072] {
        let key = made(&lane, &ek, algorithm, BOTH).await;
        let folder = Folder::of(&key);
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let digest = vec![0xa7; hash.digest_len()];
            let md = format!("digest:{}", hash.word());
            let pkcs1 = SignScheme::RsaPkcs1(hash);
            let signature = lane.sign_digest(&key, pkcs1, digest.clone()).await.unwrap();
            assert!(folder.verifies(&digest, &signature, &[&md]));
            let pss = SignScheme::RsaPss(hash);
            let signature = lane.sign_digest(&key, pss, digest.clone()).await.unwrap();
            let options = [&md, "rsa_padding_mode:pss", "rsa_pss_saltlen:digest"];
            assert!(folder.verifies(&digest, &signature, &options));
            assert!(!folder.verifies(&vec![0xa8; hash.digest_len()], &signature, &options));
        }
        for hash in Hash::ALL {
            for label in [&b""[..], b"till\0"] {
                decrypts(&lane, &key, &folder, hash, label).await;
            }
        }
    }
}

async fn decrypts(lane: &Lane, key: &TpmApplicationKey, folder: &Folder, hash: Hash, label: &[u8]) {
    folder.put("message", b"two coffees");
    let hex: String = label.iter().map(|byte| format!("{byte:02x}")).collect();
    let oaep = format!("rsa_oaep_md:{}", hash.word());
    let mgf1 = format!("rsa_mgf1_md:{}", hash.word());
    let labelled = format!("rsa_oaep_label:{hex}");
    let mut options = vec!["rsa_padding_mode:oaep", &oaep, &mgf1];
    options.extend((!label.is_empty()).then_some(labelled.as_str()));
    let options: Vec<&str> = options.iter().flat_map(|option| ["-pkeyopt", option]).collect();
    let encrypt = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "key"];
    let files = ["-in", "message", "-out", "sealed"];
    assert!(folder.openssl(&[&encrypt[..], &files, &options].concat()));
    let sealed = std::fs::read(folder.file("sealed")).unwrap();
    let opened = lane.decrypt_oaep(key, hash, label.to_vec(), sealed.clone()).await.unwrap();
    assert_eq!(*opened, b"two coffees");
    let refused = lane.decrypt_oaep(key, hash, b"other\0".to_vec(), sealed.clone()).await;
    assert_eq!(refused.unwrap_err().code(), "rejected");
    let endless = lane.decrypt_oaep(key, hash, b"till".to_vec(), sealed).await;
    assert_eq!(endless.unwrap_err().code(), "misuse");
}

#[tokio::test]
async fn a_secret_authenticates_data() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let lane = open(&tap.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let key = made(&lane, &ek, KeyAlgorithm::HmacSha256, SIGN).await;
    assert!(key.public_key().is_none());
    let code = async |data: &[u8]| {
        lane.sign_digest(&key, SignScheme::HmacSha256, data.to_vec()).await.unwrap()
    };
    let data = [0x77; 1024];
    let first = code(&data).await;
    assert_eq!(first.len(), 32);
    assert_eq!(first, code(&data).await);
    assert_ne!(first, code(&data[1..]).await);
    assert_eq!(code(b"").await.len(), 32);
    let seen = tap.exchanges();
    let seen: Vec<&[u8]> = seen.iter().flat_map(|e| [&e.command[..], &e.response]).collect();
    assert!(!seen.iter().any(|bytes| probe_finds(bytes, &first)), "the code is encrypted");
    assert!(!seen.iter().any(|bytes| probe_finds(bytes, &data[..32])), "so is the data");
    let doubled = lane.create_application_key(&ek, KeyAlgorithm::HmacSha256, BOTH).await;
    assert_eq!(doubled.unwrap_err().code(), "misuse");
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
    let folder = Folder::of(&key);
    decrypts(&lane, &key, &folder, Hash::Sha256, b"").await;
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

#[tokio::test]
async fn a_key_does_what_it_was_made_for_in_the_chip_that_made_it() {
    let (chip, other) = (Swtpm::start(), Swtpm::start());
    let lane = open(&chip.tcti()).lane(7);
    let ek = lane.endorsement_key(None).await.unwrap();
    let signs = made(&lane, &ek, KeyAlgorithm::EccP256, SIGN).await;
    let agrees = made(&lane, &ek, KeyAlgorithm::EccP256, DECRYPT).await;
    let (_, point) = crate::eyes::peer();
    let sign = async |lane: &Lane, key: &TpmApplicationKey| {
        lane.sign_digest(key, SignScheme::Ecdsa, vec![5; 32]).await.map_err(|e| e.code())
    };
    assert_eq!(sign(&lane, &agrees).await, Err("rejected"));
    assert_eq!(lane.agree_with(&signs, &point).await.unwrap_err().code(), "rejected");
    assert_eq!(sign(&lane, &signs).await.unwrap().len(), 64);
    assert_eq!(lane.agree_with(&agrees, &point).await.unwrap().len(), 32);
    let pkcs1 = SignScheme::RsaPkcs1(Hash::Sha256);
    assert_eq!(lane.sign_digest(&signs, pkcs1, vec![5; 32]).await.unwrap_err().code(), "misuse");
    // Another chip has another parent, and its own keys go on.
    let elsewhere = open(&other.tcti()).lane(7);
    let others_ek = elsewhere.endorsement_key(None).await.unwrap();
    let own = made(&elsewhere, &others_ek, KeyAlgorithm::EccP256, SIGN).await;
    for _ in 0..3 {
        assert_eq!(sign(&elsewhere, &signs).await, Err("rejected"));
        assert_eq!(sign(&elsewhere, &own).await.unwrap().len(), 64);
    }
    let keys = lane.create_keys(&ek).await.unwrap();
    lane.certify(&keys, &signs, [1; 32]).await.unwrap();
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
    let rsa = made(&lane, &ek, KeyAlgorithm::Rsa2048, BOTH).await;
    hardware.close().await;
    for key in [&key, &rsa] {
        let folder = Folder::of(key);
        folder.put("file", KeyFile::of(key).to_pem().as_bytes());
        folder.put("message", b"two coffees");
        let signed = openssl_with_tpm(&chip, folder.0.path())
            .args(["dgst", "-sha256", "-sign", "file", "-out", "signature", "message"])
            .output()
            .unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        let verify = ["dgst", "-sha256", "-keyform", "DER", "-verify", "key", "-signature"];
        assert!(folder.openssl(&[&verify[..], &["signature", "message"]].concat()));
    }
    let (public, private) = tools_make_a_key(&chip);
    let lane = open(&chip.tcti()).lane(7);
    let file = file_of(&public[2..], &private[2..]);
    let key = imported(&lane, &ek, &file, b"sesame").await.unwrap();
    let digest = Sha256::digest(b"m").to_vec();
    let signature = lane.sign_digest(&key, SignScheme::Ecdsa, digest.clone()).await.unwrap();
    assert!(Folder::of(&key).verifies(&digest, &der(&signature), &[]));
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
