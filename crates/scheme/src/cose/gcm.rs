//! AES-256-GCM (RFC 9053 section 4.1), tag of 16 bytes behind the ciphertext.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

use crate::Reason;
use crate::secret::Secret;

/// Twelve zero bytes: the nonce under a key that encrypts one message only.
pub(crate) const ZERO_IV: [u8; 12] = [0; 12];

/// Encrypts. The only error is a plaintext of 64 GiB.
pub(crate) fn seal(
    key: &Secret,
    iv: &[u8; 12],
    plaintext: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, Reason> {
    cipher(key)
        .encrypt(Nonce::from_slice(iv), Payload { msg: plaintext, aad })
        .map_err(|_| Reason::TooLarge)
}

/// Decrypts; gives `otherwise` when the tag does not verify.
pub(crate) fn open(
    key: &Secret,
    iv: &[u8; 12],
    ciphertext: &[u8],
    aad: &[u8],
    otherwise: Reason,
) -> Result<Vec<u8>, Reason> {
    cipher(key)
        .decrypt(Nonce::from_slice(iv), Payload { msg: ciphertext, aad })
        .map_err(|_| otherwise)
}

fn cipher(key: &Secret) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}
