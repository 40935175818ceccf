//! The public half of a key that a device decrypts with, and the one algorithm that was pinned at
//! enrolment (docs/scheme.md section 3). A token's serial key is one of these too.

use ciborium::value::Value;

use super::signing::{p256, rsa};
use super::{P256Public, RsaPublic, item};
use crate::Reason;
use crate::id::KeyId;
use crate::tpm::{HashAlgorithm, Public, Scheme};

/// The hash of RSAES-OAEP, and of the MGF1 within it (RFC 8230 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OaepHash {
    /// SHA-256.
    Sha256,
    /// SHA-1, of tokens that know no other. OAEP does not rest on what SHA-1 has lost.
    Sha1,
}

/// How a device decrypts (IANA COSE Algorithms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecryptionAlgorithm {
    /// ECDH-ES on P-256 with HKDF-256.
    EcdhEs,
    /// RSAES-OAEP with the empty label.
    RsaOaep(OaepHash),
}

impl OaepHash {
    /// The number in COSE headers of RSAES-OAEP with this hash.
    pub fn number(self) -> i16 {
        match self {
            OaepHash::Sha256 => -41,
            OaepHash::Sha1 => -40,
        }
    }
}

impl DecryptionAlgorithm {
    /// Every algorithm.
    pub const ALL: [DecryptionAlgorithm; 3] = [
        DecryptionAlgorithm::EcdhEs,
        DecryptionAlgorithm::RsaOaep(OaepHash::Sha256),
        DecryptionAlgorithm::RsaOaep(OaepHash::Sha1),
    ];

    /// Its number in COSE headers.
    pub fn number(self) -> i16 {
        match self {
            DecryptionAlgorithm::EcdhEs => -25,
            DecryptionAlgorithm::RsaOaep(hash) => hash.number(),
        }
    }

    /// The algorithm of a number.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] for any other number.
    pub fn of_number(number: i64) -> Result<DecryptionAlgorithm, Reason> {
        let is_this = |algorithm: &DecryptionAlgorithm| i64::from(algorithm.number()) == number;
        DecryptionAlgorithm::ALL.into_iter().find(is_this).ok_or(Reason::UnknownKey)
    }

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            DecryptionAlgorithm::EcdhEs => "ECDH-ES",
            DecryptionAlgorithm::RsaOaep(OaepHash::Sha256) => "RSAES-OAEP with SHA-256",
            DecryptionAlgorithm::RsaOaep(OaepHash::Sha1) => "RSAES-OAEP with SHA-1",
        }
    }
}

/// Encrypts what a device receives; of a token's serial key, the secret that gives CK_0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecryptionPublic {
    /// ECDH-ES with HKDF-256.
    EcdhEs(P256Public),
    /// RSAES-OAEP.
    RsaOaep(OaepHash, RsaPublic),
}

impl DecryptionPublic {
    /// The key of a public area, which must be bound to an algorithm. A TPM's OAEP is with SHA-256.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`], [`Reason::BadPoint`], [`Reason::RsaModulus`].
    pub fn from_area(area: &Public) -> Result<DecryptionPublic, Reason> {
        match area.scheme() {
            Scheme::Ecdh(HashAlgorithm::Sha256) => p256(area).map(DecryptionPublic::EcdhEs),
            Scheme::Oaep(HashAlgorithm::Sha256) => {
                Ok(DecryptionPublic::RsaOaep(OaepHash::Sha256, rsa(area)?))
            }
            _ => Err(Reason::UnknownKey),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER, which does not say how an RSA key decrypts.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] for a key that cannot decrypt so, [`Reason::BadPoint`],
    /// [`Reason::RsaModulus`].
    pub fn from_spki(
        algorithm: DecryptionAlgorithm,
        der: &[u8],
    ) -> Result<DecryptionPublic, Reason> {
        Ok(match algorithm {
            DecryptionAlgorithm::EcdhEs => DecryptionPublic::EcdhEs(P256Public::from_spki(der)?),
            DecryptionAlgorithm::RsaOaep(hash) => {
                DecryptionPublic::RsaOaep(hash, RsaPublic::from_spki(der)?)
            }
        })
    }

    /// SubjectPublicKeyInfo in DER, 91 or 294 bytes.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            DecryptionPublic::EcdhEs(key) => key.spki(),
            DecryptionPublic::RsaOaep(_, key) => key.spki(),
        }
    }

    /// SHA-256 of [`DecryptionPublic::spki`].
    pub fn id(&self) -> KeyId {
        match self {
            DecryptionPublic::EcdhEs(key) => key.id(),
            DecryptionPublic::RsaOaep(_, key) => key.id(),
        }
    }

    /// How the key decrypts.
    pub fn algorithm(&self) -> DecryptionAlgorithm {
        match self {
            DecryptionPublic::EcdhEs(_) => DecryptionAlgorithm::EcdhEs,
            DecryptionPublic::RsaOaep(hash, _) => DecryptionAlgorithm::RsaOaep(*hash),
        }
    }

    /// The key, where it is an RSA key.
    pub(crate) fn rsa(&self) -> Option<&RsaPublic> {
        match self {
            DecryptionPublic::EcdhEs(_) => None,
            DecryptionPublic::RsaOaep(_, key) => Some(key),
        }
    }

    /// As it stands in statements.
    pub(crate) fn to_item(&self) -> Value {
        item::write(self.rsa().map(|_| self.algorithm().number()), &self.spki())
    }

    /// What [`DecryptionPublic::to_item`] made.
    ///
    /// # Errors
    /// [`Reason::WrongShape`], and those of [`DecryptionPublic::from_spki`].
    pub(crate) fn from_item(item: Value) -> Result<DecryptionPublic, Reason> {
        let (number, spki) = item::read(item)?;
        let Some(number) = number else {
            return DecryptionPublic::from_spki(DecryptionAlgorithm::EcdhEs, &spki);
        };
        match DecryptionAlgorithm::of_number(number)? {
            DecryptionAlgorithm::EcdhEs => Err(Reason::WrongShape),
            algorithm => DecryptionPublic::from_spki(algorithm, &spki),
        }
    }
}
