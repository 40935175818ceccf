//! The public half of the key that a device signs with, and the one algorithm that was pinned at
//! enrolment (docs/scheme.md section 3).

use ciborium::value::Value;

use super::p256::has_high_s;
use super::rsa::RSA_LEN;
use super::{P256Public, RsaPublic, item};
use crate::Reason;
use crate::id::KeyId;
use crate::tpm::{Curve, HashAlgorithm, Public, Scheme};

/// How a party signs (IANA COSE Algorithms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256; r and s, 64 bytes.
    Es256,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes; 256 bytes.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256; 256 bytes.
    Rs256,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [SigningAlgorithm; 3] =
        [SigningAlgorithm::Es256, SigningAlgorithm::Ps256, SigningAlgorithm::Rs256];

    /// Its number in COSE headers.
    pub fn number(self) -> i16 {
        match self {
            SigningAlgorithm::Es256 => -7,
            SigningAlgorithm::Ps256 => -37,
            SigningAlgorithm::Rs256 => -257,
        }
    }

    /// The algorithm of a number.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] for any other number.
    pub fn of_number(number: i64) -> Result<SigningAlgorithm, Reason> {
        let is_this = |algorithm: &SigningAlgorithm| i64::from(algorithm.number()) == number;
        SigningAlgorithm::ALL.into_iter().find(is_this).ok_or(Reason::UnknownKey)
    }

    /// Its name in the registry.
    pub fn word(self) -> &'static str {
        match self {
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::Ps256 => "PS256",
            SigningAlgorithm::Rs256 => "RS256",
        }
    }

    /// Checks what can be seen of a signature without a key, so that it looks the same for every
    /// device, known or not.
    ///
    /// # Errors
    /// [`Reason::WrongShape`] for another length, [`Reason::HighS`].
    pub(crate) fn check_form(self, signature: &[u8]) -> Result<(), Reason> {
        match self {
            SigningAlgorithm::Es256 => {
                let signature = signature.try_into().map_err(|_| Reason::WrongShape)?;
                if has_high_s(signature) { Err(Reason::HighS) } else { Ok(()) }
            }
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => {
                if signature.len() == RSA_LEN {
                    Ok(())
                } else {
                    Err(Reason::WrongShape)
                }
            }
        }
    }
}

/// Whoever's signatures can be verified.
pub(crate) trait Verifier {
    /// The only algorithm that he signs with.
    fn algorithm(&self) -> SigningAlgorithm;

    /// Verifies over SHA-256 of `message`.
    ///
    /// # Errors
    /// Those of [`SigningAlgorithm::check_form`], else `otherwise`.
    fn verify(&self, message: &[u8], signature: &[u8], otherwise: Reason) -> Result<(), Reason>;
}

impl Verifier for P256Public {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn verify(&self, message: &[u8], signature: &[u8], otherwise: Reason) -> Result<(), Reason> {
        let signature = signature.try_into().map_err(|_| Reason::WrongShape)?;
        P256Public::verify(self, message, signature, otherwise)
    }
}

/// Verifies what a device signs: Key31, Key41 of the patent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningPublic {
    /// ES256.
    Es256(P256Public),
    /// PS256.
    Ps256(RsaPublic),
    /// RS256.
    Rs256(RsaPublic),
}

impl SigningPublic {
    /// The key of a public area, which must be bound to an algorithm.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`], [`Reason::BadPoint`], [`Reason::RsaModulus`].
    pub fn from_area(area: &Public) -> Result<SigningPublic, Reason> {
        match area.scheme() {
            Scheme::Ecdsa(HashAlgorithm::Sha256) => p256(area).map(SigningPublic::Es256),
            Scheme::RsaPss(HashAlgorithm::Sha256) => rsa(area).map(SigningPublic::Ps256),
            Scheme::RsaSsa(HashAlgorithm::Sha256) => rsa(area).map(SigningPublic::Rs256),
            _ => Err(Reason::UnknownKey),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER, which does not say how an RSA key signs.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] for a key that cannot sign so, [`Reason::BadPoint`],
    /// [`Reason::RsaModulus`].
    pub fn from_spki(algorithm: SigningAlgorithm, der: &[u8]) -> Result<SigningPublic, Reason> {
        match algorithm {
            SigningAlgorithm::Es256 => P256Public::from_spki(der).map(SigningPublic::Es256),
            SigningAlgorithm::Ps256 => RsaPublic::from_spki(der).map(SigningPublic::Ps256),
            SigningAlgorithm::Rs256 => RsaPublic::from_spki(der).map(SigningPublic::Rs256),
        }
    }

    /// SubjectPublicKeyInfo in DER, 91 or 294 bytes.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            SigningPublic::Es256(key) => key.spki(),
            SigningPublic::Ps256(key) | SigningPublic::Rs256(key) => key.spki(),
        }
    }

    /// SHA-256 of [`SigningPublic::spki`].
    pub fn id(&self) -> KeyId {
        match self {
            SigningPublic::Es256(key) => key.id(),
            SigningPublic::Ps256(key) | SigningPublic::Rs256(key) => key.id(),
        }
    }

    /// How the key signs.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self {
            SigningPublic::Es256(_) => SigningAlgorithm::Es256,
            SigningPublic::Ps256(_) => SigningAlgorithm::Ps256,
            SigningPublic::Rs256(_) => SigningAlgorithm::Rs256,
        }
    }

    /// The key, where it is an RSA key.
    pub(crate) fn rsa(&self) -> Option<&RsaPublic> {
        match self {
            SigningPublic::Es256(_) => None,
            SigningPublic::Ps256(key) | SigningPublic::Rs256(key) => Some(key),
        }
    }

    /// As it stands in statements.
    pub(crate) fn to_item(&self) -> Value {
        item::write(self.rsa().map(|_| self.algorithm().number()), &self.spki())
    }

    /// What [`SigningPublic::to_item`] made.
    ///
    /// # Errors
    /// [`Reason::WrongShape`], and those of [`SigningPublic::from_spki`].
    pub(crate) fn from_item(item: Value) -> Result<SigningPublic, Reason> {
        let (number, spki) = item::read(item)?;
        let Some(number) = number else {
            return SigningPublic::from_spki(SigningAlgorithm::Es256, &spki);
        };
        match SigningAlgorithm::of_number(number)? {
            SigningAlgorithm::Es256 => Err(Reason::WrongShape),
            algorithm => SigningPublic::from_spki(algorithm, &spki),
        }
    }

    /// Whether `signature` is this key's over SHA-256 of `message`, in the one form that messages
    /// may have: s in the lower half, a salt as long as the hash.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Verifier::verify(self, message, signature, Reason::BadDeviceSignature).is_ok()
    }
}

impl Verifier for SigningPublic {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningPublic::algorithm(self)
    }

    fn verify(&self, message: &[u8], signature: &[u8], otherwise: Reason) -> Result<(), Reason> {
        match self {
            SigningPublic::Es256(key) => Verifier::verify(key, message, signature, otherwise),
            SigningPublic::Ps256(key) => key.verify_pss(message, signature).ok_or(otherwise),
            SigningPublic::Rs256(key) => key.verify_pkcs1(message, signature).ok_or(otherwise),
        }
    }
}

pub(super) fn p256(area: &Public) -> Result<P256Public, Reason> {
    match area.key().point() {
        Some((Curve::P256, point)) => P256Public::from_point(point),
        _ => Err(Reason::UnknownKey),
    }
}

pub(super) fn rsa(area: &Public) -> Result<RsaPublic, Reason> {
    RsaPublic::from_modulus(area.key().modulus().ok_or(Reason::UnknownKey)?)
}
