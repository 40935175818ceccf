//! RSA-2048: signatures with PSS or PKCS #1 v1.5 (RFC 8230 section 2, RFC 8812 section 2), and
//! OAEP (RFC 8230 section 3), with SHA-256, or OAEP with SHA-1. Only public keys: the private ones
//! are in chips.

use std::fmt;

use rand_core::CryptoRngCore;
use rsa::signature::Verifier as _;
use rsa::{BigUint, Oaep, RsaPublicKey, pkcs1v15, pss};
use sha1::Sha1;
use sha2::Sha256;

use super::OaepHash;
use crate::Reason;
use crate::id::KeyId;
use crate::secret::{Secret, sha256};
use crate::tpm::has_fingerprint;

/// A modulus, a signature or an OAEP ciphertext: 256 bytes.
pub const RSA_LEN: usize = 256;

/// SubjectPublicKeyInfo of an RSA-2048 key up to the modulus (RFC 3279 section 2.3.1), and the
/// exponent 65537 behind it.
const SPKI_PREFIX: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01,
    0x00,
];
const SPKI_SUFFIX: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// An RSA public key of exactly 2048 bits with the exponent 65537.
#[derive(Clone)]
pub struct RsaPublic {
    modulus: Box<[u8; RSA_LEN]>,
    id: KeyId,
    key: RsaPublicKey,
}

impl RsaPublic {
    /// Takes a modulus, big-endian.
    ///
    /// # Errors
    /// [`Reason::RsaModulus`] unless it is odd and of exactly 2048 bits.
    pub fn from_modulus(modulus: &[u8]) -> Result<RsaPublic, Reason> {
        let modulus: [u8; RSA_LEN] = modulus.try_into().map_err(|_| Reason::RsaModulus)?;
        if modulus[0] & 0x80 == 0 || modulus[RSA_LEN - 1] & 1 == 0 {
            return Err(Reason::RsaModulus);
        }
        let key = RsaPublicKey::new(BigUint::from_bytes_be(&modulus), BigUint::from(65537u32))
            .map_err(|_| Reason::RsaModulus)?;
        let id = KeyId(sha256(&[&SPKI_PREFIX, &modulus, &SPKI_SUFFIX]));
        Ok(RsaPublic { modulus: Box::new(modulus), id, key })
    }

    /// Reads a SubjectPublicKeyInfo in DER, of exactly this form.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when it is another kind of key, else as
    /// [`RsaPublic::from_modulus`].
    pub fn from_spki(der: &[u8]) -> Result<RsaPublic, Reason> {
        let modulus =
            der.strip_prefix(&SPKI_PREFIX).and_then(|rest| rest.strip_suffix(&SPKI_SUFFIX));
        RsaPublic::from_modulus(modulus.ok_or(Reason::UnknownKey)?)
    }

    /// SubjectPublicKeyInfo in DER (RFC 3279), 294 bytes.
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], self.modulus.as_slice(), &SPKI_SUFFIX].concat()
    }

    /// SHA-256 of [`RsaPublic::spki`].
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Verifies RSASSA-PSS over SHA-256 of `message`, with MGF1-SHA-256 and a salt of exactly 32
    /// bytes.
    pub(super) fn verify_pss(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let signature = pss::Signature::try_from(self.number(signature)?).ok()?;
        pss::VerifyingKey::<Sha256>::new(self.key.clone()).verify(message, &signature).ok()
    }

    /// Verifies RSASSA-PKCS1-v1_5 over SHA-256 of `message`.
    pub(super) fn verify_pkcs1(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let signature = pkcs1v15::Signature::try_from(self.number(signature)?).ok()?;
        pkcs1v15::VerifyingKey::<Sha256>::new(self.key.clone()).verify(message, &signature).ok()
    }

    /// Whether it can be factored (CVE-2017-15361); many tokens made such keys.
    pub fn is_weak(&self) -> bool {
        has_fingerprint(self.modulus.as_slice())
    }

    /// Encrypts a secret by RSAES-OAEP with the empty label.
    pub(crate) fn encrypt(
        &self,
        hash: OaepHash,
        secret: &Secret,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<[u8; RSA_LEN], Reason> {
        let padding = match hash {
            OaepHash::Sha256 => Oaep::new::<Sha256>(),
            OaepHash::Sha1 => Oaep::new::<Sha1>(),
        };
        let encrypted = self.key.encrypt(&mut rng, padding, secret.expose());
        encrypted.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Reason::UnknownKey)
    }

    /// `bytes`, if they are as long as the modulus and, as a number, below it: of the numbers that
    /// are alike modulo n only one may exist (RFC 8017 sections 5.1.2 and 5.2.2).
    pub(crate) fn number<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (bytes.len() == RSA_LEN && bytes < self.modulus.as_slice()).then_some(bytes)
    }
}

impl PartialEq for RsaPublic {
    fn eq(&self, other: &RsaPublic) -> bool {
        self.modulus == other.modulus
    }
}

impl Eq for RsaPublic {}

impl fmt::Debug for RsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublic({})", self.id)
    }
}
