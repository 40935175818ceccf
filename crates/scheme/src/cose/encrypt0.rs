//! COSE_Encrypt0 (RFC 9052 section 5.2): tag 16, A256GCM with a random IV, for answers and
//! fetches, whose keys live for an epoch.

use ciborium::value::Value;
use coset::{EncryptionContext, ProtectedHeader};
use rand_core::CryptoRngCore;

use super::{PROTECTED_A256GCM, SIZE_MAX, expect, gcm, iv_header, untag};
use crate::cbor::{self, Items};
use crate::secret::{Secret, hmac, kdf, sha256};
use crate::{Reason, label};

const TAG: u64 = 16;

/// Encrypts under `key` with a random IV. It is hedged: a generator that repeats itself, as in
/// a copied machine, repeats an IV only for the same message.
pub(crate) fn seal(
    key: &Secret,
    plaintext: &[u8],
    external_aad: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, Reason> {
    let mut random = [0; 32];
    rng.fill_bytes(&mut random);
    let iv_key = kdf(key, label::IV);
    let hedged = hmac(&iv_key, &[&random, &sha256(&[external_aad]), &sha256(&[plaintext])]);
    let mut iv = [0; 12];
    iv.copy_from_slice(&hedged[..12]);
    let ciphertext = gcm::seal(key, &iv, plaintext, &enc_structure(external_aad))?;
    let body = cbor::value!(PROTECTED_A256GCM, iv_header(&iv), ciphertext);
    let bytes = cbor::encode(&Value::Tag(TAG, Box::new(body)));
    if bytes.len() > SIZE_MAX { Err(Reason::TooLarge) } else { Ok(bytes) }
}

/// Reads the strict form and decrypts.
///
/// # Errors
/// Those of the form, and [`Reason::BadSerialLayer`]: every key used here comes from the
/// serial layer's.
pub(crate) fn open(key: &Secret, bytes: &[u8], external_aad: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut items = Items::of(untag(bytes, TAG)?, 3)?;
    expect(items.any()?, &Value::Bytes(PROTECTED_A256GCM.to_vec()))?;
    let header = items.any()?;
    let iv = match &header {
        Value::Map(pairs) => pairs.first().and_then(|(_, iv)| iv.as_bytes()),
        _ => None,
    };
    let iv: [u8; 12] =
        iv.and_then(|iv| iv.as_slice().try_into().ok()).ok_or(Reason::WrongHeader)?;
    expect(header, &iv_header(&iv))?;
    let ciphertext = items.bytes(usize::MAX)?;
    gcm::open(key, &iv, &ciphertext, &enc_structure(external_aad), Reason::BadSerialLayer)
}

fn enc_structure(external_aad: &[u8]) -> Vec<u8> {
    let protected = ProtectedHeader {
        original_data: Some(PROTECTED_A256GCM.to_vec()),
        header: Default::default(),
    };
    coset::enc_structure_data(EncryptionContext::CoseEncrypt0, protected, external_aad)
}
