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

use crate::Reason;

/// A signature over a certificate, apart from the rest of it.
pub(crate) struct Signed<'a> {
    /// The bytes that were signed, as they came.
    pub(crate) message: &'a [u8],
    /// The signature's algorithm, as the certificate states it.
    pub(crate) algorithm: &'a Oid<'a>,
    /// PKCS #1 v1.5 as long as the modulus, or an ECDSA-Sig-Value in DER.
    pub(crate) signature: &'a [u8],
}

impl Signed<'_> {
    /// Verifies with the key of the issuer: RSA of 2048 to 4096 bits with PKCS #1 v1.5, or
    /// ECDSA on P-256, P-384 or P-521, each with SHA-2. SHA-1 is not accepted; an authority
    /// that still signs with it can be made a root by the operator.
    ///
    /// # Errors
    /// [`Reason::EkChainAlgorithm`], [`Reason::EkChainSignature`].
    pub(crate) fn verify(&self, issuer_key: &SubjectPublicKeyInfo<'_>) -> Result<(), Reason> {
        let valid = match issuer_key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            true => self.by_rsa(issuer_key)?,
            false => self.by_ecdsa(issuer_key)?,
        };
        if valid { Ok(()) } else { Err(Reason::EkChainSignature) }
    }

    fn by_rsa(&self, issuer_key: &SubjectPublicKeyInfo<'_>) -> Result<bool, Reason> {
        let key = RsaPublicKey::from_pkcs1_der(&issuer_key.subject_public_key.data)
            .map_err(|_| Reason::EkChainAlgorithm)?;
        if key.n().bits() < 2048 {
            return Err(Reason::EkChainAlgorithm);
        }
        let (message, algorithm) = (self.message, self.algorithm);
        let Ok(signature) = pkcs1v15::Signature::try_from(self.signature) else {
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

    fn by_ecdsa(&self, issuer_key: &SubjectPublicKeyInfo<'_>) -> Result<bool, Reason> {
        let parameters = issuer_key.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|any| any.as_oid().ok()).ok_or(Reason::EkChainAlgorithm)?;
        let verifier = ECDSA
            .iter()
            .find(|(for_curve, for_hash, _)| *for_curve == curve && for_hash == self.algorithm)
            .map(|(_, _, verifier)| *verifier)
            .ok_or(Reason::EkChainAlgorithm)?;
        let key = UnparsedPublicKey::new(verifier, &issuer_key.subject_public_key.data);
        Ok(key.verify(self.message, self.signature).is_ok())
    }
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair};
    use rsa::RsaPrivateKey;
    use rsa::pkcs8::EncodePublicKey;
    use rsa::signature::{SignatureEncoding, Signer};

    use super::*;
    use crate::ek::certificate::Certificate;
    use crate::ek::testing::{Draft, ec_spki, oid};
    use crate::tpm::testing::p256_key;

    /// What is said of a certificate that an authority with this key signed.
    fn outcome(
        issuer_spki: Vec<u8>,
        algorithm: &[u8],
        sign: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<(), Reason> {
        let mut issuer = Draft::authority("root", "root", 1);
        issuer.spki = issuer_spki;
        let issuer = issuer.signed_by(1);
        let issuer = Certificate::parse(&issuer).unwrap();
        let mut draft = Draft::endorsement(&p256_key(1), "root");
        draft.signature_algorithm = oid(algorithm);
        let certificate = draft.signed_with(sign);
        Certificate::parse(&certificate).unwrap().signed().verify(issuer.subject_key())
    }

    /// sha256, sha384 and sha512WithRSAEncryption, without their last byte.
    const WITH_RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];

    #[test]
    fn rsa_signs_with_each_hash_and_with_2048_bits_or_more() {
        let key = RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap();
        let spki = key.to_public_key().to_public_key_der().unwrap().into_vec();
        let sign = |hash: u8, message: &[u8]| match hash {
            11 => pkcs1v15::SigningKey::<Sha256>::new(key.clone()).sign(message).to_vec(),
            12 => pkcs1v15::SigningKey::<Sha384>::new(key.clone()).sign(message).to_vec(),
            _ => pkcs1v15::SigningKey::<Sha512>::new(key.clone()).sign(message).to_vec(),
        };
        for hash in [11, 12, 13] {
            let algorithm = [&WITH_RSA[..], &[hash]].concat();
            assert_eq!(outcome(spki.clone(), &algorithm, |tbs| sign(hash, tbs)), Ok(()));
            let other = outcome(spki.clone(), &algorithm, |_| sign(hash, b"another certificate"));
            assert_eq!(other, Err(Reason::EkChainSignature));
            let empty = outcome(spki.clone(), &algorithm, |_| Vec::new());
            assert_eq!(empty, Err(Reason::EkChainSignature));
        }
        let short = RsaPrivateKey::new(&mut rand_core::OsRng, 1024).unwrap();
        let spki = short.to_public_key().to_public_key_der().unwrap().into_vec();
        let algorithm = [&WITH_RSA[..], &[11]].concat();
        let refused = outcome(spki, &algorithm, |tbs| {
            pkcs1v15::SigningKey::<Sha256>::new(short.clone()).sign(tbs).to_vec()
        });
        assert_eq!(refused, Err(Reason::EkChainAlgorithm));
    }

    #[test]
    fn every_curve_signs() {
        let curves: [(&EcdsaSigningAlgorithm, &[u8], u8); 3] = [
            (&ecdsa::ECDSA_P256_SHA256_ASN1_SIGNING, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 2),
            (&ecdsa::ECDSA_P384_SHA384_ASN1_SIGNING, &[0x2b, 0x81, 0x04, 0x00, 0x22], 3),
            (&ecdsa::ECDSA_P521_SHA512_ASN1_SIGNING, &[0x2b, 0x81, 0x04, 0x00, 0x23], 4),
        ];
        for (signing, curve, hash) in curves {
            let key = EcdsaKeyPair::generate(signing).unwrap();
            let spki = ec_spki(curve, key.public_key().as_ref());
            let sign = |tbs: &[u8]| key.sign(&SystemRandom::new(), tbs).unwrap().as_ref().to_vec();
            let algorithm = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, hash];
            assert_eq!(outcome(spki.clone(), &algorithm, sign), Ok(()));
            let other = outcome(spki.clone(), &algorithm, |_| sign(b"another certificate"));
            assert_eq!(other, Err(Reason::EkChainSignature));
            // ecdsa-with-SHA1
            let sha1 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
            assert_eq!(outcome(spki, &sha1, sign), Err(Reason::EkChainAlgorithm));
        }
    }
}
