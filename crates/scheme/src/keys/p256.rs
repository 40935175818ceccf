//! P-256: ECDSA with SHA-256 (RFC 9053 section 2.1) and ECDH (section 6.3).

use std::fmt;

use aws_lc_rs::agreement;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey,
};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::Reason;
use crate::id::KeyId;
use crate::secret::{Secret, sha256, wiping_stack};

/// An uncompressed point: 0x04, X, Y; 65 bytes.
pub const POINT_LEN: usize = 65;
/// A signature: r and s, 32 bytes each, s in the lower half.
pub const SIGNATURE_LEN: usize = 64;
/// A signature as it stands in a COSE object; see [`SIGNATURE_LEN`].
pub type Signature = [u8; SIGNATURE_LEN];

/// What an agreement may leave on its stack, bytes.
const AGREEMENT: usize = 16 * 1024;

/// SubjectPublicKeyInfo of a P-256 key up to the point (RFC 5480 section 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// n, the order of P-256 (FIPS 186-4 section D.1.2.3), and n/2 rounded down.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// A public key whose point was checked to be on the curve.
#[derive(Clone)]
pub struct P256Public {
    point: [u8; POINT_LEN],
    id: KeyId,
    parsed: ParsedPublicKey,
}

impl P256Public {
    /// Takes an uncompressed point.
    ///
    /// # Errors
    /// [`Reason::BadPoint`] when it is not on the curve, or is the point at infinity.
    pub fn from_point(point: &[u8]) -> Result<P256Public, Reason> {
        let point: [u8; POINT_LEN] = point.try_into().map_err(|_| Reason::BadPoint)?;
        if point[0] != 4 {
            return Err(Reason::BadPoint);
        }
        let parsed =
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| Reason::BadPoint)?;
        let id = KeyId(sha256(&[&SPKI_PREFIX, &point]));
        Ok(P256Public { point, id, parsed })
    }

    /// Reads a SubjectPublicKeyInfo in DER, of exactly this form.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when it is another kind of key, else as [`P256Public::from_point`].
    pub fn from_spki(der: &[u8]) -> Result<P256Public, Reason> {
        P256Public::from_point(der.strip_prefix(&SPKI_PREFIX).ok_or(Reason::UnknownKey)?)
    }

    /// SubjectPublicKeyInfo in DER (RFC 5480), 91 bytes.
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.point].concat()
    }

    /// SHA-256 of [`P256Public::spki`].
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The uncompressed point.
    pub fn point(&self) -> &[u8; POINT_LEN] {
        &self.point
    }

    /// The coordinates X and Y, 32 bytes each.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        self.point[1..].split_at(32)
    }

    /// Verifies an ECDSA signature over SHA-256 of `message`.
    ///
    /// # Errors
    /// [`Reason::HighS`] when s is in the upper half, else `otherwise`.
    pub(crate) fn verify(
        &self,
        message: &[u8],
        signature: &Signature,
        otherwise: Reason,
    ) -> Result<(), Reason> {
        if has_high_s(signature) {
            return Err(Reason::HighS);
        }
        self.parsed.verify_sig(message, signature).map_err(|_| otherwise)
    }
}

impl PartialEq for P256Public {
    fn eq(&self, other: &P256Public) -> bool {
        self.point == other.point
    }
}

impl Eq for P256Public {}

impl fmt::Debug for P256Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P256Public({})", self.id)
    }
}

/// A private key in memory that agrees: the server's encryption key, and ephemeral keys.
pub struct P256Private {
    key: agreement::PrivateKey,
    public: P256Public,
}

impl P256Private {
    /// Draws a key.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> P256Private {
        loop {
            if let Ok(key) = P256Private::from_scalar(&random_scalar(rng)) {
                return key;
            }
        }
    }

    /// Takes a scalar, big-endian.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when it is zero or not below the order of the curve.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<P256Private, Reason> {
        let key = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar)
            .map_err(|_| Reason::UnknownKey)?;
        let point = key.compute_public_key().map_err(|_| Reason::UnknownKey)?;
        let public = P256Public::from_point(point.as_ref())?;
        Ok(P256Private { key, public })
    }

    /// The public half.
    pub fn public(&self) -> &P256Public {
        &self.public
    }

    /// The X coordinate of the shared point.
    ///
    /// # Errors
    /// [`Reason::BadPoint`]; it cannot happen with a point that [`P256Public`] has checked.
    pub fn agree(&self, peer: &P256Public) -> Result<Secret, Reason> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, peer.point());
        wiping_stack::<AGREEMENT, _>(|| {
            agreement::agree(&self.key, peer, Reason::BadPoint, |z| {
                Secret::try_from(z).map_err(|_| Reason::BadPoint)
            })
        })
    }
}

/// A signing key in memory: the server's identity and signing key.
///
/// The nonce of each signature comes from the library's own generator.
pub struct SigningKey {
    key: EcdsaKeyPair,
    public: P256Public,
}

impl SigningKey {
    /// Takes a scalar, big-endian.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when it is zero or not below the order of the curve.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<SigningKey, Reason> {
        let public = P256Private::from_scalar(scalar)?.public;
        let key = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            scalar,
            public.point(),
        )
        .map_err(|_| Reason::UnknownKey)?;
        debug_assert_eq!(key.public_key().as_ref(), public.point());
        Ok(SigningKey { key, public })
    }

    /// The public half.
    pub fn public(&self) -> &P256Public {
        &self.public
    }

    /// Signs SHA-256 of `message`, with s in the lower half.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, Reason> {
        self.sign_digest(&sha256(&[message]))
    }

    /// Signs a digest as a chip does, with s in the lower half.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when the library fails.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, Reason> {
        let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| Reason::UnknownKey)?;
        let signature = self.key.sign_digest(&digest).map_err(|_| Reason::UnknownKey)?;
        let mut signature: Signature =
            signature.as_ref().try_into().map_err(|_| Reason::UnknownKey)?;
        low_s(&mut signature);
        Ok(signature)
    }
}

/// A scalar to try as a private key: once in 2^32 draws it is zero or not below the order,
/// which the constructors refuse.
pub fn random_scalar(rng: &mut dyn CryptoRngCore) -> Zeroizing<[u8; 32]> {
    let mut scalar = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *scalar);
    scalar
}

/// Brings s into the lower half: (r, s) and (r, n - s) verify alike, and only one may exist.
pub fn low_s(signature: &mut Signature) {
    if has_high_s(signature) {
        negate_s(signature);
    }
}

/// Whether s is in the upper half.
pub(super) fn has_high_s(signature: &Signature) -> bool {
    signature[32..] > HALF_ORDER[..]
}

/// Puts n - s in the place of s.
fn negate_s(signature: &mut Signature) {
    let mut borrow = 0;
    for (digit, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::OsRng;

    #[test]
    fn both_sides_agree() {
        let (a, b) = (P256Private::generate(&mut OsRng), P256Private::generate(&mut OsRng));
        assert_eq!(a.agree(b.public()), b.agree(a.public()));
    }

    #[test]
    fn points_off_the_curve_are_refused() {
        let good = *P256Private::generate(&mut OsRng).public().point();
        assert!(P256Public::from_point(&good).is_ok());
        let mut off = good;
        off[64] ^= 1;
        let mut compressed = good;
        compressed[0] = 2;
        for bad in [&off[..], &compressed, &good[..33], &[0], &[0; 65]] {
            assert_eq!(P256Public::from_point(bad).err(), Some(Reason::BadPoint));
        }
        assert!(P256Private::from_scalar(&ORDER).is_err());
    }

    #[test]
    fn a_high_s_is_malformed_though_it_is_valid_ecdsa() {
        let key = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let low = key.sign(b"m").unwrap();
        let no = Reason::BadDeviceSignature;
        assert_eq!(key.public().verify(b"m", &low, no), Ok(()));
        assert_eq!(key.public().verify(b"n", &low, no), Err(no));
        let mut high = low;
        negate_s(&mut high);
        assert!(high[32..] > HALF_ORDER[..]);
        assert!(key.public().parsed.verify_sig(b"m", &high).is_ok());
        assert_eq!(key.public().verify(b"m", &high, no), Err(Reason::HighS));
        low_s(&mut high);
        assert_eq!(high, low);
    }

    #[test]
    fn spki_and_back() {
        let public = P256Private::generate(&mut OsRng).public().clone();
        assert_eq!(P256Public::from_spki(&public.spki()), Ok(public.clone()));
        assert_eq!(P256Public::from_spki(public.point()).err(), Some(Reason::UnknownKey));
    }
}
