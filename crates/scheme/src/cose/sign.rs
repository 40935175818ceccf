//! COSE_Sign (RFC 9052 section 4.1) by one or two signers, each with his own algorithm: tag 98, for
//! receipts.

use ciborium::value::Value;
use coset::{ProtectedHeader, SignatureContext};

use super::sign1::{algorithm_of, header, protected};
use super::{expect, untag};
use crate::Reason;
use crate::cbor::{self, Items};
use crate::keys::{RSA_LEN, SigningAlgorithm, Verifier};

const TAG: u64 = 98;
/// Signers at the most.
const SIGNERS_MAX: usize = 2;

/// A payload with its signatures, in the order of signing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MultiSigned {
    pub payload: Vec<u8>,
    pub signatures: Vec<(SigningAlgorithm, Vec<u8>)>,
}

impl MultiSigned {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let none = Value::Map(vec![]);
        let signatures = self.signatures.iter();
        let signatures = signatures.map(|(a, s)| cbor::value!(protected(*a), none.clone(), s));
        let empty: &[u8] = &[];
        let body = cbor::value!(empty, none, self.payload, Value::Array(signatures.collect()));
        cbor::encode(&Value::Tag(TAG, Box::new(body)))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<MultiSigned, Reason> {
        let mut items = Items::of(untag(bytes, TAG)?, 4)?;
        let none = Value::Map(vec![]);
        expect(items.any()?, &Value::Bytes(vec![]))?;
        expect(items.any()?, &none)?;
        let payload = items.bytes(usize::MAX)?;
        let signatures = items.list(SIGNERS_MAX)?.into_iter().map(|one| {
            let mut one = Items::of(one, 3)?;
            let algorithm = algorithm_of(&one.any()?)?;
            expect(one.any()?, &none)?;
            Ok((algorithm, one.bytes(RSA_LEN)?))
        });
        let signatures = signatures.collect::<Result<Vec<_>, Reason>>()?;
        if signatures.is_empty() {
            return Err(Reason::WrongShape);
        }
        Ok(MultiSigned { payload, signatures })
    }

    /// Verifies the signature at `place` with a key, as [`super::sign1::Signed::verify`] does.
    pub(crate) fn verify(
        &self,
        place: usize,
        key: &impl Verifier,
        external_aad: &[u8],
        otherwise: Reason,
    ) -> Result<(), Reason> {
        let (algorithm, signature) = self.signatures.get(place).ok_or(otherwise)?;
        algorithm.check_form(signature)?;
        if *algorithm != key.algorithm() {
            return Err(Reason::UnknownKey);
        }
        let signed = sig_structure(*algorithm, &self.payload, external_aad);
        key.verify(&signed, signature, otherwise)
    }
}

/// What a signer signs.
pub(crate) fn sig_structure(
    algorithm: SigningAlgorithm,
    payload: &[u8],
    external_aad: &[u8],
) -> Vec<u8> {
    // An empty protected header is a zero-length string (RFC 9052 section 3).
    let body = ProtectedHeader { original_data: Some(vec![]), header: Default::default() };
    let context = SignatureContext::CoseSignature;
    coset::sig_structure_data(context, body, Some(header(algorithm)), external_aad, payload)
}
