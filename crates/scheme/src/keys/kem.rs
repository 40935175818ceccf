//! ML-KEM-768 (FIPS 203): the part of an epoch secret that a quantum computer does not undo.
//!
//! The randomness of encapsulation comes from the library's own generator: it offers no
//! other way, and a caller's weak generator could undo the secret.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use zeroize::Zeroizing;

use crate::Reason;
use crate::id::KeyId;
use crate::secret::{Secret, sha256};

/// An encapsulation key, bytes.
pub const KEM_PUBLIC_LEN: usize = 1184;
/// A ciphertext, bytes.
pub const KEM_CIPHERTEXT_LEN: usize = 1088;

/// SubjectPublicKeyInfo of an ML-KEM-768 key up to the key (RFC 9935 section 4).
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x04, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04,
    0x02, 0x03, 0x82, 0x04, 0xa1, 0x00,
];

/// An encapsulation key, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic {
    bytes: Vec<u8>,
    id: KeyId,
}

impl KemPublic {
    /// Reads a SubjectPublicKeyInfo in DER, of exactly this form.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when it is another kind of key, or not a valid one.
    pub fn from_spki(der: &[u8]) -> Result<KemPublic, Reason> {
        let bytes = der.strip_prefix(&SPKI_PREFIX).ok_or(Reason::UnknownKey)?;
        KemPublic::from_bytes(bytes)
    }

    /// SubjectPublicKeyInfo in DER, 1,206 bytes.
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.bytes].concat()
    }

    /// SHA-256 of [`KemPublic::spki`].
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// A fresh secret, and the ciphertext that only the private key opens.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when the library refuses the key.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, Secret), Reason> {
        let key = encapsulation_key(&self.bytes)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| Reason::UnknownKey)?;
        let secret = Secret::try_from(secret.as_ref()).map_err(|_| Reason::UnknownKey)?;
        Ok((ciphertext.as_ref().to_vec(), secret))
    }

    fn from_bytes(bytes: &[u8]) -> Result<KemPublic, Reason> {
        encapsulation_key(bytes)?;
        if !is_reduced(bytes) {
            return Err(Reason::UnknownKey);
        }
        Ok(KemPublic { bytes: bytes.to_vec(), id: KeyId(sha256(&[&SPKI_PREFIX, bytes])) })
    }
}

impl std::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KemPublic({})", self.id)
    }
}

/// A decapsulation key.
pub struct KemPrivate {
    key: DecapsulationKey,
    public: KemPublic,
}

impl KemPrivate {
    /// Draws a key, and gives it with the bytes to keep.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when the library fails.
    pub fn generate() -> Result<(KemPrivate, Zeroizing<Vec<u8>>), Reason> {
        let failed = |_| Reason::UnknownKey;
        let key = DecapsulationKey::generate(&ML_KEM_768).map_err(failed)?;
        let bytes = Zeroizing::new(key.key_bytes().map_err(failed)?.as_ref().to_vec());
        let public = key.encapsulation_key().map_err(failed)?;
        let public = KemPublic::from_bytes(public.key_bytes().map_err(failed)?.as_ref())?;
        Ok((KemPrivate { key, public }, bytes))
    }

    /// Takes kept bytes, with the public key that belongs to them.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when they are not such a key.
    pub fn from_bytes(bytes: &[u8], public: KemPublic) -> Result<KemPrivate, Reason> {
        let key = DecapsulationKey::new(&ML_KEM_768, bytes).map_err(|_| Reason::UnknownKey)?;
        Ok(KemPrivate { key, public })
    }

    /// The public half.
    pub fn public(&self) -> &KemPublic {
        &self.public
    }

    /// The secret of a ciphertext. A wrong ciphertext of the right length gives a secret
    /// that nobody knows (implicit rejection), so the layer above fails.
    ///
    /// # Errors
    /// [`Reason::WrongShape`] when the ciphertext has another length.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, Reason> {
        let secret =
            self.key.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| Reason::WrongShape)?;
        Secret::try_from(secret.as_ref()).map_err(|_| Reason::WrongShape)
    }
}

fn encapsulation_key(bytes: &[u8]) -> Result<EncapsulationKey, Reason> {
    EncapsulationKey::new(&ML_KEM_768, bytes).map_err(|_| Reason::UnknownKey)
}

/// Whether every number in the key is below q = 3329 (FIPS 203 section 7.2): else one key would
/// have several encodings. The library checks it only when it encapsulates.
fn is_reduced(key: &[u8]) -> bool {
    const SEED_LEN: usize = 32;
    let numbers = key.get(..KEM_PUBLIC_LEN - SEED_LEN).unwrap_or_default();
    numbers.chunks(3).all(|packed| {
        let [low, middle, high] = packed else { return false };
        let first = u16::from(*low) | u16::from(middle & 0x0f) << 8;
        let second = u16::from(middle >> 4) | u16::from(*high) << 4;
        first < 3329 && second < 3329
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_share_a_secret_and_the_key_can_be_kept() {
        let (private, bytes) = KemPrivate::generate().unwrap();
        let public = private.public().clone();
        assert_eq!(KemPublic::from_spki(&public.spki()), Ok(public.clone()));
        let (ciphertext, secret) = public.encapsulate().unwrap();
        assert_eq!(ciphertext.len(), KEM_CIPHERTEXT_LEN);
        assert_eq!(private.decapsulate(&ciphertext).unwrap(), secret);
        let kept = KemPrivate::from_bytes(&bytes, public).unwrap();
        assert_eq!(kept.decapsulate(&ciphertext).unwrap(), secret);
        assert_eq!(kept.decapsulate(&ciphertext[1..]).err(), Some(Reason::WrongShape));
        let mut other = ciphertext;
        other[0] ^= 1;
        assert!(kept.decapsulate(&other).unwrap() != secret);
    }
}
