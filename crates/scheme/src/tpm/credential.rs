//! TPM2_MakeCredential in software (Part 1, section 24; Part 3, TPM2_MakeCredential).

use aes::cipher::{AsyncStreamCipher, KeyIvInit};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use rand_core::CryptoRngCore;
use rsa::Oaep;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::kdf::{kdf_a, kdf_e};
use super::public_key::{agreement_algorithm, rsa_public_key};
use super::{Curve, EndorsementKey, HashAlgorithm, Name};
use crate::Reason;

/// A secret for the one chip that has both the endorsement key and an object of the given
/// Name, in the two parts that TPM2_ActivateCredential takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The content of TPM2B_ID_OBJECT, **without** that structure's own `u16` size: a
    /// TPM2B_DIGEST with the outer HMAC (`u16` size, 32 or 48 bytes), then the encrypted
    /// identity, 34 bytes. In all 68 bytes with SHA-256, 84 with SHA-384.
    pub credential_blob: Vec<u8>,
    /// The content of TPM2B_ENCRYPTED_SECRET, **without** that structure's own `u16` size:
    /// the OAEP ciphertext, as long as the modulus, for RSA; for ECC a TPMS_ECC_POINT, the
    /// two coordinates each with a `u16` size: 68 bytes for P-256, 100 for P-384.
    pub encrypted_secret: Vec<u8>,
}

/// Encrypts `credential` so that only the chip that has `ek` can open it, and only while an
/// object named `name` is loaded there.
///
/// # Errors
/// [`Reason::EkKind`] for a key to which nothing can be encrypted; a parsed key is none.
pub fn make_credential(
    ek: &EndorsementKey,
    name: &Name,
    credential: &[u8; 32],
    rng: &mut dyn CryptoRngCore,
) -> Result<Credential, Reason> {
    let hash = ek.name_algorithm();
    let (seed, encrypted_secret) = share_seed(ek, rng)?;
    let digest_len = hash.digest_len();

    let mut identity = Zeroizing::new([&[0, 32][..], credential].concat());
    encrypt(hash, &seed, name, &mut identity);

    let hmac_key = kdf_a(hash, &seed, "INTEGRITY", &[], digest_len);
    let integrity = hash.hmac(&hmac_key, &[&identity, name.as_bytes()]);
    let size = (digest_len as u16).to_be_bytes();
    let credential_blob = [&size, &integrity[..], &identity].concat();
    Ok(Credential { credential_blob, encrypted_secret })
}

const LABEL: &str = "IDENTITY";

/// A seed as long as a digest, and the form in which only the chip can recover it
/// (Part 1, annexes B.10.4 and C.6.4).
fn share_seed(
    ek: &EndorsementKey,
    rng: &mut dyn CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Reason> {
    let hash = ek.name_algorithm();
    if let Some((curve, point)) = ek.key().point() {
        return agree(hash, curve, point, rng);
    }
    let modulus = ek.key().modulus().ok_or(Reason::EkKind)?;
    encapsulate(hash, modulus, rng)
}

fn encapsulate(
    hash: HashAlgorithm,
    modulus: &[u8],
    mut rng: &mut dyn CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Reason> {
    let mut seed = Zeroizing::new(vec![0; hash.digest_len()]);
    rng.fill_bytes(&mut seed);
    // The label is hashed with its closing zero byte (Part 1, annex B.4).
    let label = format!("{LABEL}\0");
    let padding = match hash {
        HashAlgorithm::Sha256 => Oaep::new_with_label::<Sha256, _>(label),
        HashAlgorithm::Sha384 => Oaep::new_with_label::<Sha384, _>(label),
    };
    let key = rsa_public_key(modulus).ok_or(Reason::EkKind)?;
    let ciphertext = key.encrypt(&mut rng, padding, &seed).map_err(|_| Reason::EkKind)?;
    Ok((seed, ciphertext))
}

fn agree(
    hash: HashAlgorithm,
    curve: Curve,
    point: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Reason> {
    let algorithm = agreement_algorithm(curve);
    let ephemeral = ephemeral_key(curve, rng);
    let own = ephemeral.compute_public_key().map_err(|_| Reason::EkKind)?;
    let (own_x, own_y) = coordinates(curve, own.as_ref()).ok_or(Reason::EkKind)?;
    let (ek_x, _) = coordinates(curve, point).ok_or(Reason::EkKind)?;
    let peer = UnparsedPublicKey::new(algorithm, point);
    let seed = agreement::agree(&ephemeral, peer, Reason::EkKind, |shared_x| {
        Ok(kdf_e(hash, shared_x, LABEL, own_x, ek_x))
    })?;
    let size = (curve.field_len() as u16).to_be_bytes();
    Ok((seed, [&size, own_x, &size, own_y].concat()))
}

/// Draws until the number is a private key: nearly always at once.
fn ephemeral_key(curve: Curve, rng: &mut dyn CryptoRngCore) -> PrivateKey {
    let mut scalar = Zeroizing::new(vec![0; curve.field_len()]);
    loop {
        rng.fill_bytes(&mut scalar);
        if let Ok(key) = PrivateKey::from_private_key(agreement_algorithm(curve), &scalar) {
            return key;
        }
    }
}

/// X and Y of an uncompressed point.
fn coordinates(curve: Curve, point: &[u8]) -> Option<(&[u8], &[u8])> {
    point.get(1..)?.split_at_checked(curve.field_len())
}

/// AES-CFB with a zero IV; the key is used once (Part 1, section 24.4).
fn encrypt(hash: HashAlgorithm, seed: &[u8], name: &Name, data: &mut [u8]) {
    let iv = [0; 16].into();
    let key = |len| kdf_a(hash, seed, "STORAGE", name.as_bytes(), len);
    match hash {
        HashAlgorithm::Sha256 => {
            let key = key(16);
            cfb_mode::Encryptor::<aes::Aes128>::new(key[..].into(), &iv).encrypt(data);
        }
        HashAlgorithm::Sha384 => {
            let key = key(32);
            cfb_mode::Encryptor::<aes::Aes256>::new(key[..].into(), &iv).encrypt(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;
    use crate::tpm::testing;

    fn name() -> Name {
        Name::of(HashAlgorithm::Sha256, b"an attestation key")
    }

    #[test]
    fn both_parts_are_as_long_as_the_command_wants_them() {
        for area in testing::ek_areas() {
            let ek = EndorsementKey::parse(&area.bytes()).unwrap();
            let made = make_credential(&ek, &name(), &[7; 32], &mut OsRng).unwrap();
            let blob_len = 2 + ek.name_algorithm().digest_len() + 34;
            assert_eq!(made.credential_blob.len(), blob_len);
            let secret_len = match (ek.key().modulus(), ek.key().point()) {
                (Some(modulus), _) => modulus.len(),
                (None, point) => 4 + 2 * point.unwrap().0.field_len(),
            };
            assert_eq!(made.encrypted_secret.len(), secret_len);
            let again = make_credential(&ek, &name(), &[7; 32], &mut OsRng).unwrap();
            assert_ne!(made.credential_blob, again.credential_blob);
            assert_ne!(made.encrypted_secret, again.encrypted_secret);
        }
    }

    /// The chip's side of a P-256 endorsement key, written down once more from Part 1.
    fn activate(seed: u8, made: &Credential, name: &Name) -> Option<Vec<u8>> {
        let hash = HashAlgorithm::Sha256;
        let private = PrivateKey::from_private_key(&agreement::ECDH_P256, &[seed; 32]).unwrap();
        let own = testing::p256_key(seed);
        let (own_x, _) = coordinates(Curve::P256, own.point()?.1)?;
        let (x, y) = (made.encrypted_secret.get(2..34)?, made.encrypted_secret.get(36..)?);
        let peer = UnparsedPublicKey::new(&agreement::ECDH_P256, [&[4], x, y].concat());
        let shared = agreement::agree(&private, peer, (), |z| Ok(kdf_e(hash, z, LABEL, x, own_x)));
        let shared = shared.ok()?;
        let (integrity, identity) = made.credential_blob.get(2..)?.split_at(32);
        let hmac_key = kdf_a(hash, &shared, "INTEGRITY", &[], 32);
        if *hash.hmac(&hmac_key, &[identity, name.as_bytes()]) != integrity {
            return None;
        }
        let mut identity = identity.to_vec();
        let key = kdf_a(hash, &shared, "STORAGE", name.as_bytes(), 16);
        cfb_mode::Decryptor::<aes::Aes128>::new(key[..].into(), &[0; 16].into())
            .decrypt(&mut identity);
        identity.strip_prefix(&[0, 32]).map(<[u8]>::to_vec)
    }

    #[test]
    fn one_chip_and_one_name_open_it() {
        let area = testing::ek_area_of(&testing::p256_key(1));
        let ek = EndorsementKey::parse(&area.bytes()).unwrap();
        let made = make_credential(&ek, &name(), &[7; 32], &mut OsRng).unwrap();
        assert_eq!(activate(1, &made, &name()), Some(vec![7; 32]));
        assert_eq!(activate(2, &made, &name()), None);
        let other = Name::of(HashAlgorithm::Sha256, b"another");
        assert_eq!(activate(1, &made, &other), None);
    }
}
