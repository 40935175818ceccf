//! What a test sees a chip with, and checks its answers by: the scheme's own parsers.

use std::time::Duration;

use sha2::{Digest, Sha256};
use twinseal_hardware::{ChildKey, Config, Hardware, Lane};
use twinseal_scheme::keys::{P256Private, P256Public, SigningPublic};
use twinseal_scheme::tpm::Public;

/// A chip with empty authorisations.
///
/// Patient, since many chips are emulated at once here; what becomes of a deadline is shown where
/// one is set.
pub fn open(tcti: &str) -> Hardware {
    let mut config = Config::new(tcti.parse().unwrap());
    config.limits.deadline = Duration::from_secs(240);
    Hardware::open(config).unwrap()
}

/// The public half of a P-256 key in the chip.
pub fn p256(tpmt_public: &[u8]) -> P256Public {
    let public = Public::parse(tpmt_public).unwrap();
    let (_, point) = public.key().point().unwrap();
    P256Public::from_point(point).unwrap()
}

/// Has `message` signed, and verifies the signature.
pub async fn sign_and_verify(lane: &Lane, key: &ChildKey, message: &[u8]) -> Vec<u8> {
    let signature = lane.sign(key, Sha256::digest(message).into()).await.unwrap();
    verify(key, message, &signature);
    signature
}

/// Verifies a signature of `message` by `key`'s public half, in the one form of messages.
pub fn verify(key: &ChildKey, message: &[u8], signature: &[u8]) {
    let public = SigningPublic::from_area(&Public::parse(key.public()).unwrap()).unwrap();
    assert!(public.has_signed(message, signature));
}

/// A key pair outside the chip, and its uncompressed point.
pub fn peer() -> (P256Private, [u8; 65]) {
    let private = P256Private::generate(&mut rand_core::OsRng);
    let point = *private.public().point();
    (private, point)
}

/// The fields of stored keys; the first is their title.
pub fn fields(stored: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = stored;
    let mut fields = Vec::new();
    while let Some((size, tail)) = rest.split_first_chunk::<2>() {
        let (field, tail) = tail.split_at(u16::from_be_bytes(*size).into());
        fields.push(field.to_vec());
        rest = tail;
    }
    fields
}

/// The stored keys of these fields.
pub fn join(fields: &[Vec<u8>]) -> Vec<u8> {
    let sized =
        |field: &Vec<u8>| [&u16::try_from(field.len()).unwrap().to_be_bytes()[..], field].concat();
    fields.iter().flat_map(sized).collect()
}
