//! Thirty-two bytes that nobody may see.

use std::array::TryFromSliceError;
use std::hint::black_box;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a derivation of a key may leave on its stack, bytes, in builds without optimisation.
const DERIVATION: usize = 8 * 1024;

/// A secret of 32 bytes: wiped on drop, compared in constant time, never printed. It stands in one
/// place on the heap as long as it lives, so that no copy of it stays wherever it was handed on.
pub struct Secret(Box<[u8; 32]>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(mut bytes: [u8; 32]) -> Secret {
        let secret = Secret::made(|secret| secret.copy_from_slice(&bytes));
        bytes.zeroize();
        secret
    }

    /// The bytes, for those who must hand them to a cipher or keep them encrypted.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Has it written into its place.
    fn made(write: impl FnOnce(&mut [u8; 32])) -> Secret {
        let mut secret = Secret(Box::new([0; 32]));
        write(&mut secret.0);
        secret
    }
}

impl Clone for Secret {
    fn clone(&self) -> Secret {
        Secret::made(|secret| secret.copy_from_slice(self.expose()))
    }
}

impl TryFrom<&[u8]> for Secret {
    type Error = TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Secret, TryFromSliceError> {
        let bytes: &[u8; 32] = bytes.try_into()?;
        Ok(Secret::made(|secret| secret.copy_from_slice(bytes)))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        equal(self.expose(), other.expose())
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
    let extract = |prk: &mut [u8; 32]| {
        prk.copy_from_slice(&Hkdf::<Sha256>::extract(Some(salt), input).0);
    };
    wiping_stack::<DERIVATION, _>(|| Secret::made(extract))
}

/// HKDF-Expand with SHA-256 to 32 bytes (RFC 5869 section 2.3); `info` is the join of its parts.
pub(crate) fn expand(secret: &Secret, info: &[&[u8]]) -> Secret {
    // One block of output: HMAC over the info and the counter byte 1. Written out because
    // Hkdf::from_prk and expand both return errors that 32-byte keys cannot cause.
    let expand = |key: &mut [u8; 32]| {
        let mut mac = mac(secret);
        info.iter().for_each(|part| mac.update(part));
        mac.update(&[1]);
        key.copy_from_slice(&mac.finalize().into_bytes());
    };
    wiping_stack::<DERIVATION, _>(|| Secret::made(expand))
}

/// `KDF(secret, label)` of docs/scheme.md: extract with 32 zero bytes, expand with the label.
pub(crate) fn kdf(secret: &Secret, label: &str) -> Secret {
    expand(&extract(&[0; 32], secret.expose()), &[label.as_bytes()])
}

/// HMAC-SHA-256 (RFC 2104) over the join of the parts.
pub(crate) fn hmac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    wiping_stack::<DERIVATION, _>(|| {
        let mut mac = mac(key);
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    })
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

/// Does some work, and overwrites as many bytes of the stack that it was done on: libraries leave
/// copies of keys there.
pub fn wiping_stack<const LEN: usize, T>(work: impl FnOnce() -> T) -> T {
    // Neither may become part of this function: the second is to lie where the first has lain.
    #[inline(never)]
    fn done<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn wipe<const LEN: usize>() {
        black_box([0_u8; LEN]);
    }
    let done = done(work);
    wipe::<LEN>();
    done
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
        let prk = Secret::new([7; 32]);
        let mut expected = [0; 32];
        Hkdf::<Sha256>::from_prk(prk.expose()).unwrap().expand(b"abc", &mut expected).unwrap();
        assert_eq!(expand(&prk, &[b"a", b"bc"]).expose(), &expected);
    }

    #[test]
    fn nothing_is_printed() {
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "Secret");
    }
}
