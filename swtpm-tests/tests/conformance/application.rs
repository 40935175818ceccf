//! Keys of applications, against OpenSSL.

use sha2::{Digest, Sha256, Sha384, Sha512};
use twinseal_hardware::{ApplicationKey, Hash, KeyAlgorithm, Lane, SignScheme, Uses};
use twinseal_swtpm_tests::{ChipKind, OpenSsl, ecdsa_der};

use crate::bench::{Bench, point};

const SIGN: Uses = Uses { sign: true, decrypt: false };
const DECRYPT: Uses = Uses { sign: false, decrypt: true };
const BOTH: Uses = Uses { sign: true, decrypt: true };

async fn made(bench: &Bench, lane: &Lane, algorithm: KeyAlgorithm, uses: Uses) -> ApplicationKey {
    let key = bench.create_application_key(lane, algorithm, uses).await.expect("a key");
    assert_eq!((key.algorithm(), key.uses()), (algorithm, uses));
    let stored = ApplicationKey::from_bytes(&key.to_bytes()).expect("a stored key");
    assert_eq!(stored.to_bytes(), key.to_bytes());
    stored
}

fn folder_of(key: &ApplicationKey) -> OpenSsl {
    OpenSsl::with_key(&key.public_key().expect("a public half").spki_der())
}

/// Every algorithm is named here, so what a description names is what the functions below try.
pub async fn algorithms_are_described(bench: &Bench) {
    let described = bench.open().lane(0).describe().await.expect("a description").algorithms;
    assert_eq!(described, KeyAlgorithm::ALL.map(KeyAlgorithm::word));
}

pub async fn ecc_keys_sign_any_digest_and_agree(bench: &Bench) {
    let lane = bench.open().lane(7);
    for (algorithm, group) in [(KeyAlgorithm::EccP256, "P-256"), (KeyAlgorithm::EccP384, "P-384")] {
        let key = made(bench, &lane, algorithm, BOTH).await;
        let folder = folder_of(&key);
        let digests = [
            vec![0x5a; 20],
            Sha256::digest(b"m").to_vec(),
            Sha384::digest(b"m").to_vec(),
            Sha512::digest(b"m").to_vec(),
        ];
        for digest in digests {
            let signature = lane.sign_digest(&key, SignScheme::Ecdsa, digest.clone()).await;
            let signature = ecdsa_der(&signature.expect("a signature"));
            assert!(folder.verifies(&digest, &signature, &[]), "{group} {}", digest.len());
            let mut other = digest.clone();
            other[0] ^= 1;
            assert!(!folder.verifies(&other, &signature, &[]));
        }
        agrees(&lane, &key, &folder, group).await;
    }
}

async fn agrees(lane: &Lane, key: &ApplicationKey, folder: &OpenSsl, group: &str) {
    let curve = format!("ec_paramgen_curve:{group}");
    assert!(folder.run(&["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", "peer"]));
    assert!(folder.run(&["pkey", "-in", "peer", "-pubout", "-outform", "DER", "-out", "pub"]));
    assert!(folder.run(&["pkey", "-pubin", "-inform", "DER", "-in", "key", "-out", "pem"]));
    let derive = ["pkeyutl", "-derive", "-inkey", "peer", "-peerkey", "pem", "-out", "secret"];
    assert!(folder.run(&derive));
    let spki = folder.read("pub");
    let public = key.public_key().expect("a public half");
    let (_, own) = public.point().expect("a key on a curve");
    let point = &spki[spki.len() - own.len()..];
    let secret = lane.agree_with(key, point).await.expect("an agreement");
    assert_eq!(*secret, folder.read("secret"));
    for wrong in [&point[1..], &[&[4][..], &[1; 64]].concat(), &[4; 97], b""] {
        assert_eq!(lane.agree_with(key, wrong).await.unwrap_err().code(), "misuse");
    }
}

pub async fn rsa_keys_sign_and_decrypt_in_every_scheme(bench: &Bench) {
    let lane = bench.open().lane(7);
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072] {
        let key = made(bench, &lane, algorithm, BOTH).await;
        let folder = folder_of(&key);
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let digest = vec![0xa7; hash.digest_len()];
            let md = format!("digest:{}", hash.word());
            let signed = async |scheme| {
                lane.sign_digest(&key, scheme, digest.clone()).await.expect("a signature")
            };
            let signature = signed(SignScheme::RsaPkcs1(hash)).await;
            assert!(folder.verifies(&digest, &signature, &[&md]));
            let signature = signed(SignScheme::RsaPss(hash)).await;
            let options = [&md, "rsa_padding_mode:pss", "rsa_pss_saltlen:digest"];
            assert!(folder.verifies(&digest, &signature, &options));
            assert!(!folder.verifies(&vec![0xa8; hash.digest_len()], &signature, &options));
        }
        for hash in Hash::ALL {
            for label in [&b""[..], b"till\0"] {
                decrypts(bench, &lane, &key, &folder, (hash, label)).await;
            }
        }
    }
}

/// SoftHSM knows OAEP with SHA-1 and without a label: another hash it refuses by name, and what was
/// sealed with a label it cannot open.
async fn decrypts(
    bench: &Bench,
    lane: &Lane,
    key: &ApplicationKey,
    folder: &OpenSsl,
    (hash, label): (Hash, &[u8]),
) {
    let sealed = folder.encrypted(b"two coffees", hash.word(), label);
    let opened = lane.decrypt_oaep(key, hash, label.to_vec(), sealed.clone()).await;
    if bench.chip.kind().name() == "softhsm" && (hash != Hash::Sha1 || !label.is_empty()) {
        let refusal = if hash == Hash::Sha1 { "rejected" } else { "incapable" };
        return assert_eq!(opened.unwrap_err().code(), refusal, "{hash:?} {label:?}");
    }
    assert_eq!(*opened.expect("what was sealed"), b"two coffees");
    let mut damaged = sealed.clone();
    damaged[100] ^= 1;
    let refused = lane.decrypt_oaep(key, hash, label.to_vec(), damaged).await.unwrap_err();
    assert_eq!(refused.code(), "rejected");
    let endless = lane.decrypt_oaep(key, hash, b"till".to_vec(), sealed).await;
    assert_eq!(endless.unwrap_err().code(), "misuse");
}

pub async fn a_secret_authenticates_data(bench: &Bench) {
    let lane = bench.open().lane(7);
    let key = made(bench, &lane, KeyAlgorithm::HmacSha256, SIGN).await;
    assert!(key.public_key().is_none());
    let code = async |data: &[u8]| {
        let code = lane.sign_digest(&key, SignScheme::HmacSha256, data.to_vec()).await;
        code.expect("a code")
    };
    let data = [0x77; 1024];
    let first = code(&data).await;
    assert_eq!(first.len(), 32);
    assert_eq!(first, code(&data).await);
    assert_ne!(first, code(&data[1..]).await);
    assert_eq!(code(b"").await.len(), 32);
    let doubled = bench.create_application_key(&lane, KeyAlgorithm::HmacSha256, BOTH).await;
    assert_eq!(doubled.unwrap_err().code(), "misuse");
}

pub async fn a_key_does_what_it_was_made_for_in_the_chip_that_made_it(bench: &Bench) {
    let lane = bench.open().lane(7);
    let signs = made(bench, &lane, KeyAlgorithm::EccP256, SIGN).await;
    let agrees = made(bench, &lane, KeyAlgorithm::EccP256, DECRYPT).await;
    let sign = async |lane: &Lane, key: &ApplicationKey| {
        lane.sign_digest(key, SignScheme::Ecdsa, vec![5; 32]).await.map_err(|e| e.code())
    };
    assert_eq!(sign(&lane, &agrees).await, Err("rejected"));
    assert_eq!(lane.agree_with(&signs, &point()).await.unwrap_err().code(), "rejected");
    assert_eq!(sign(&lane, &signs).await.map(|signature| signature.len()), Ok(64));
    assert_eq!(lane.agree_with(&agrees, &point()).await.expect("a secret").len(), 32);
    let pkcs1 = SignScheme::RsaPkcs1(Hash::Sha256);
    assert_eq!(lane.sign_digest(&signs, pkcs1, vec![5; 32]).await.unwrap_err().code(), "misuse");
    // Another chip has not got it, and its own keys go on.
    let other = Bench::with(bench.chip.kind());
    let elsewhere = other.open().lane(7);
    let own = made(&other, &elsewhere, KeyAlgorithm::EccP256, SIGN).await;
    let refusal = match bench.chip.kind() {
        ChipKind::Tpm => "rejected",
        ChipKind::Token(_) => "cleared",
    };
    for _ in 0..3 {
        assert_eq!(sign(&elsewhere, &signs).await, Err(refusal));
        assert_eq!(sign(&elsewhere, &own).await.map(|signature| signature.len()), Ok(64));
    }
}
