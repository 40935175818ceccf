//! COSE_Sign1 (RFC 9052 section 4.2) with the signer's one algorithm: tag 18, protected {1: alg},
//! nothing unprotected.

use ciborium::value::Value;
use coset::SignatureContext;

use super::{expect, untag};
use crate::Reason;
use crate::cbor::{self, Items};
use crate::keys::{RSA_LEN, SigningAlgorithm, Verifier};
use crate::secret::sha256;

const TAG: u64 = 18;

/// A payload that waits for its signature.
pub struct Unsigned {
    algorithm: SigningAlgorithm,
    payload: Vec<u8>,
    to_sign: Vec<u8>,
}

impl Unsigned {
    /// Puts the Sig_structure together for the server, who signs with ES256.
    pub(crate) fn new(payload: Vec<u8>, external_aad: &[u8]) -> Unsigned {
        Unsigned::with(SigningAlgorithm::Es256, payload, external_aad)
    }

    /// Puts the Sig_structure together for whoever signs with `algorithm`.
    pub(crate) fn with(
        algorithm: SigningAlgorithm,
        payload: Vec<u8>,
        external_aad: &[u8],
    ) -> Unsigned {
        let to_sign = sig_structure(algorithm, &payload, external_aad);
        Unsigned { algorithm, payload, to_sign }
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
    pub fn finish(self, signature: &[u8]) -> Vec<u8> {
        let protected = protected(self.algorithm);
        let body = cbor::value!(protected, Value::Map(vec![]), self.payload, signature);
        cbor::encode(&Value::Tag(TAG, Box::new(body)))
    }
}

/// A COSE_Sign1 taken apart, not yet verified.
pub(crate) struct Signed {
    pub(crate) algorithm: SigningAlgorithm,
    payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    /// Reads the strict form, with any algorithm that the scheme knows.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Signed, Reason> {
        let mut items = Items::of(untag(bytes, TAG)?, 4)?;
        let algorithm = algorithm_of(&items.any()?)?;
        expect(items.any()?, &Value::Map(vec![]))?;
        let payload = items.bytes(usize::MAX)?;
        Ok(Signed { algorithm, payload, signature: items.bytes(RSA_LEN)? })
    }

    /// Verifies, and only then gives the payload.
    ///
    /// # Errors
    /// Those of form; [`Reason::UnknownKey`] when the algorithm is not the key's; `otherwise` when
    /// the signature is wrong.
    pub(crate) fn verify(
        self,
        key: &impl Verifier,
        external_aad: &[u8],
        otherwise: Reason,
    ) -> Result<Vec<u8>, Reason> {
        self.algorithm.check_form(&self.signature)?;
        if self.algorithm != key.algorithm() {
            return Err(Reason::UnknownKey);
        }
        let signed = sig_structure(self.algorithm, &self.payload, external_aad);
        key.verify(&signed, &self.signature, otherwise)?;
        Ok(self.payload)
    }

    /// The payload before anything is verified: only to find out which key must verify it.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }
}

/// {1: algorithm}.
pub(crate) fn protected(algorithm: SigningAlgorithm) -> &'static [u8] {
    match algorithm {
        SigningAlgorithm::Es256 => &[0xa1, 0x01, 0x26],
        SigningAlgorithm::Ps256 => &[0xa1, 0x01, 0x38, 0x24],
        SigningAlgorithm::Rs256 => &[0xa1, 0x01, 0x39, 0x01, 0x00],
    }
}

/// Whose protected header this is.
pub(crate) fn algorithm_of(header: &Value) -> Result<SigningAlgorithm, Reason> {
    let bytes = header.as_bytes().ok_or(Reason::WrongHeader)?;
    let is_this = |algorithm: &SigningAlgorithm| protected(*algorithm) == bytes.as_slice();
    SigningAlgorithm::ALL.into_iter().find(is_this).ok_or(Reason::WrongHeader)
}

/// The protected header as coset wants it.
pub(crate) fn header(algorithm: SigningAlgorithm) -> coset::ProtectedHeader {
    let original_data = Some(protected(algorithm).to_vec());
    coset::ProtectedHeader { original_data, header: Default::default() }
}

fn sig_structure(algorithm: SigningAlgorithm, payload: &[u8], external_aad: &[u8]) -> Vec<u8> {
    let context = SignatureContext::CoseSign1;
    coset::sig_structure_data(context, header(algorithm), None, external_aad, payload)
}
