//! Who signed a certificate.

use aws_lc_rs::signature::{self as ecdsa, EcdsaVerificationAlgorithm, UnparsedPublicKey};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPublicKey, pkcs1v15};
use sha2::{Sha256, Sha384, Sha512};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::certificate::Certificate;
use crate::Reason;

/// Verifies the signature of `certificate` by the key of its issuer: RSA of 2048 to 4096
/// bits with PKCS #1 v1.5, or ECDSA on P-256, P-384 or P-521, each with SHA-2. SHA-1 is not
/// accepted; an authority that still signs with it can be made a root by the operator.
///
/// # Errors
/// [`Reason::EkChainAlgorithm`], [`Reason::EkChainSignature`].
pub(super) fn verify(
    certificate: &Certificate<'_>,
    issuer_key: &SubjectPublicKeyInfo<'_>,
) -> Result<(), Reason> {
    let algorithm = certificate.signature_algorithm();
    let valid = match issuer_key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        true => by_rsa(certificate, algorithm, issuer_key)?,
        false => by_ecdsa(certificate, algorithm, issuer_key)?,
    };
    if valid { Ok(()) } else { Err(Reason::EkChainSignature) }
}

fn by_rsa(
    certificate: &Certificate<'_>,
    algorithm: &Oid<'_>,
    issuer_key: &SubjectPublicKeyInfo<'_>,
) -> Result<bool, Reason> {
    let key = RsaPublicKey::from_pkcs1_der(&issuer_key.subject_public_key.data)
        .map_err(|_| Reason::EkChainAlgorithm)?;
    if key.n().bits() < 2048 {
        return Err(Reason::EkChainAlgorithm);
    }
    let message = certificate.signed_bytes();
    let Ok(signature) = pkcs1v15::Signature::try_from(certificate.signature()) else {
        return Ok(false);
    };
    let verified = if *algorithm == OID_PKCS1_SHA256WITHRSA {
        pkcs1v15::VerifyingKey::<Sha256>::new(key).verify(message, &signature)
    } else if *algorithm == OID_PKCS1_SHA384WITHRSA {
        pkcs1v15::VerifyingKey::<Sha384>::new(key).verify(message, &signature)
    } else if *algorithm == OID_PKCS1_SHA512WITHRSA {
        pkcs1v15::VerifyingKey::<Sha512>::new(key).verify(message, &signature)
    } else {
        return Err(Reason::EkChainAlgorithm);
    };
    Ok(verified.is_ok())
}

fn by_ecdsa(
    certificate: &Certificate<'_>,
    algorithm: &Oid<'_>,
    issuer_key: &SubjectPublicKeyInfo<'_>,
) -> Result<bool, Reason> {
    let parameters = issuer_key.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.as_oid().ok()).ok_or(Reason::EkChainAlgorithm)?;
    let verifier = ECDSA
        .iter()
        .find(|(for_curve, for_hash, _)| *for_curve == curve && for_hash == algorithm)
        .map(|(_, _, verifier)| *verifier)
        .ok_or(Reason::EkChainAlgorithm)?;
    let key = UnparsedPublicKey::new(verifier, &issuer_key.subject_public_key.data);
    Ok(key.verify(certificate.signed_bytes(), certificate.signature()).is_ok())
}

/// Curve of the key, signature algorithm, verifier.
const ECDSA: [(Oid<'static>, Oid<'static>, &EcdsaVerificationAlgorithm); 9] = [
    (OID_EC_P256, OID_SIG_ECDSA_WITH_SHA256, &ecdsa::ECDSA_P256_SHA256_ASN1),
    (OID_EC_P256, OID_SIG_ECDSA_WITH_SHA384, &ecdsa::ECDSA_P256_SHA384_ASN1),
    (OID_EC_P256, OID_SIG_ECDSA_WITH_SHA512, &ecdsa::ECDSA_P256_SHA512_ASN1),
    (OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA256, &ecdsa::ECDSA_P384_SHA256_ASN1),
    (OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA384, &ecdsa::ECDSA_P384_SHA384_ASN1),
    (OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA512, &ecdsa::ECDSA_P384_SHA512_ASN1),
    (OID_NIST_EC_P521, OID_SIG_ECDSA_WITH_SHA256, &ecdsa::ECDSA_P521_SHA256_ASN1),
    (OID_NIST_EC_P521, OID_SIG_ECDSA_WITH_SHA384, &ecdsa::ECDSA_P521_SHA384_ASN1),
    (OID_NIST_EC_P521, OID_SIG_ECDSA_WITH_SHA512, &ecdsa::ECDSA_P521_SHA512_ASN1),
];
