//! The TPM's key derivations (Part 1, section 11.4.10; SP 800-108 and SP 800-56A).
//!
//! Nothing here derives more than one digest's length, so one block is enough.

use zeroize::Zeroizing;

use super::HashAlgorithm;

/// KDFa: HMAC in counter mode; `len` bytes, at most a digest's.
pub(super) fn kdf_a(
    hash: HashAlgorithm,
    key: &[u8],
    label: &str,
    context: &[u8],
    len: usize,
) -> Zeroizing<Vec<u8>> {
    let bits = (len as u32 * 8).to_be_bytes();
    let mut out = hash.hmac(key, &[&FIRST_BLOCK, label.as_bytes(), &[0], context, &bits]);
    out.truncate(len);
    out
}

/// KDFe: one-step derivation from the x coordinate of a shared point; a digest's length.
/// `party_u` is the x coordinate of the ephemeral key, `party_v` that of the static one.
pub(super) fn kdf_e(
    hash: HashAlgorithm,
    shared_x: &[u8],
    label: &str,
    party_u: &[u8],
    party_v: &[u8],
) -> Zeroizing<Vec<u8>> {
    let parts = [&FIRST_BLOCK, shared_x, label.as_bytes(), &[0], party_u, party_v];
    Zeroizing::new(hash.digest(&parts))
}

/// Counters begin at one.
const FIRST_BLOCK: [u8; 4] = [0, 0, 0, 1];
