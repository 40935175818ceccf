//! COSE_Sign1 (RFC 9052 section 4.2) with ES256: tag 18, protected {1: -7}, nothing unprotected.

use ciborium::value::Value;
use coset::SignatureContext;

use super::{expect, untag};
use crate::Reason;
use crate::cbor::{self, Items};
use crate::keys::{P256Public, Signature};
use crate::secret::sha256;

const TAG: u64 = 18;
/// {1: -7}, ES256.
pub(crate) const PROTECTED_ES256: &[u8] = &[0xa1, 0x01, 0x26];

/// A payload that waits for its signature.
pub struct Unsigned {
    payload: Vec<u8>,
    to_sign: Vec<u8>,
}

impl Unsigned {
    /// Puts the Sig_structure together.
    pub(crate) fn new(payload: Vec<u8>, external_aad: &[u8]) -> Unsigned {
        let to_sign = sig_structure(&payload, external_aad);
        Unsigned { payload, to_sign }
    }

    /// What is to be signed: the Sig_structure (RFC 9052 section 4.4), to be hashed with SHA-256.
    pub fn to_sign(&self) -> &[u8] {
        &self.to_sign
    }

    /// What the signature will be over, besides its context.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// SHA-256 of [`Unsigned::to_sign`], for chips that sign digests.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&self.to_sign])
    }

    /// The COSE_Sign1.
    pub fn finish(self, signature: &Signature) -> Vec<u8> {
        let body = cbor::value!(PROTECTED_ES256, Value::Map(vec![]), self.payload, signature);
        cbor::encode(&Value::Tag(TAG, Box::new(body)))
    }
}

/// A COSE_Sign1 taken apart, not yet verified.
pub(crate) struct Signed {
    payload: Vec<u8>,
    pub(crate) signature: Signature,
}

impl Signed {
    /// Reads the strict form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Signed, Reason> {
        let mut items = Items::of(untag(bytes, TAG)?, 4)?;
        expect(items.any()?, &Value::Bytes(PROTECTED_ES256.to_vec()))?;
        expect(items.any()?, &Value::Map(vec![]))?;
        let payload = items.bytes(usize::MAX)?;
        Ok(Signed { payload, signature: items.fixed()? })
    }

    /// Verifies, and only then gives the payload; `otherwise` when the signature is wrong.
    pub(crate) fn verify(
        self,
        key: &P256Public,
        external_aad: &[u8],
        otherwise: Reason,
    ) -> Result<Vec<u8>, Reason> {
        key.verify(&sig_structure(&self.payload, external_aad), &self.signature, otherwise)?;
        Ok(self.payload)
    }

    /// The payload before anything is verified: only to find out which key must verify it.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }
}

fn sig_structure(payload: &[u8], external_aad: &[u8]) -> Vec<u8> {
    let context = SignatureContext::CoseSign1;
    coset::sig_structure_data(context, es256_header(), None, external_aad, payload)
}

/// The protected header as coset wants it.
pub(crate) fn es256_header() -> coset::ProtectedHeader {
    coset::ProtectedHeader {
        original_data: Some(PROTECTED_ES256.to_vec()),
        header: Default::default(),
    }
}
