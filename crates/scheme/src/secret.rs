//! Thirty-two bytes that nobody may see.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of 32 bytes: wiped on drop, compared in constant time, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// The bytes, for those who must hand them to a cipher or keep them encrypted.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// HKDF-Extract with SHA-256 (RFC 5869 section 2.2).
pub(crate) fn extract(salt: &[u8], input: &[u8]) -> Secret {
    Secret(Hkdf::<Sha256>::extract(Some(salt), input).0.into())
}

/// HKDF-Expand with SHA-256 to 32 bytes (RFC 5869 section 2.3); `info` is the join of its parts.
pub(crate) fn expand(secret: &Secret, info: &[&[u8]]) -> Secret {
    // One block of output: HMAC over the info and the counter byte 1. Written out because
    // Hkdf::from_prk and expand both return errors that 32-byte keys cannot cause.
    let mut mac = mac(secret);
    info.iter().for_each(|part| mac.update(part));
    mac.update(&[1]);
    Secret(mac.finalize().into_bytes().into())
}

/// `KDF(secret, label)` of docs/scheme.md: extract with 32 zero bytes, expand with the label.
pub(crate) fn kdf(secret: &Secret, label: &str) -> Secret {
    expand(&extract(&[0; 32], secret.expose()), &[label.as_bytes()])
}

/// HMAC-SHA-256 (RFC 2104) over the join of the parts.
pub(crate) fn hmac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = mac(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// SHA-256 over the join of the parts.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Equality in constant time.
pub(crate) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

fn mac(key: &Secret) -> Hmac<Sha256> {
    // A key shorter than the block is padded with zeros (RFC 2104 section 2), so this is
    // the same HMAC without the error that new_from_slice would have to return.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..32].copy_from_slice(key.expose());
    let mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block);
    block.as_mut_slice().zeroize();
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expand_is_hkdf() {
        let prk = Secret([7; 32]);
        let mut expected = [0; 32];
        Hkdf::<Sha256>::from_prk(prk.expose()).unwrap().expand(b"abc", &mut expected).unwrap();
        assert_eq!(expand(&prk, &[b"a", b"bc"]).expose(), &expected);
    }

    #[test]
    fn nothing_is_printed() {
        assert_eq!(format!("{:?}", Secret([7; 32])), "Secret");
    }
}
