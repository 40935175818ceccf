//! The key itself, apart from what a TPM says about it.

use std::fmt;

use aws_lc_rs::agreement::{self, ParsedPublicKey, UnparsedPublicKey};
use rsa::{BigUint, RsaPublicKey, pkcs8::EncodePublicKey};

use super::Curve;
use crate::Reason;

/// An RSA or elliptic-curve public key in its one canonical form: RSA of 2048, 3072 or
/// 4096 bits with the exponent 65537, or a point that lies on P-256 or P-384.
///
/// Its `Debug` tells the kind only: an endorsement key names its device.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Rsa { modulus: Vec<u8> },
    Ecc { curve: Curve, point: Vec<u8> },
}

impl PublicKey {
    /// From an RSA modulus, big-endian without leading zeros; the exponent is 65537.
    ///
    /// # Errors
    /// [`Reason::RsaModulus`] unless it is odd and of exactly 2048, 3072 or 4096 bits.
    pub fn rsa(modulus: &[u8]) -> Result<Self, Reason> {
        let top_bit_set = modulus.first().is_some_and(|byte| byte & 0x80 != 0);
        let odd = modulus.last().is_some_and(|byte| byte & 1 != 0);
        if !top_bit_set || !odd || !matches!(modulus.len(), 256 | 384 | 512) {
            return Err(Reason::RsaModulus);
        }
        Ok(PublicKey(Kind::Rsa { modulus: modulus.to_vec() }))
    }

    /// From the coordinates of a point, big-endian; shorter ones are padded to the field.
    ///
    /// # Errors
    /// [`Reason::TpmSize`] for a coordinate that is empty or longer than the field,
    /// [`Reason::BadPoint`] for a point that is not on the curve.
    pub fn ecc(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, Reason> {
        let mut point = vec![0x04];
        for coordinate in [x, y] {
            let missing = curve.field_len().checked_sub(coordinate.len()).ok_or(Reason::TpmSize)?;
            if coordinate.is_empty() {
                return Err(Reason::TpmSize);
            }
            point.resize(point.len() + missing, 0);
            point.extend_from_slice(coordinate);
        }
        ParsedPublicKey::try_from(&UnparsedPublicKey::new(agreement_algorithm(curve), &point))
            .map_err(|_| Reason::BadPoint)?;
        Ok(PublicKey(Kind::Ecc { curve, point }))
    }

    /// The RSA modulus, exactly as many bytes as the key has bits / 8.
    pub fn modulus(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Rsa { modulus } => Some(modulus),
            Kind::Ecc { .. } => None,
        }
    }

    /// The curve and the point, uncompressed: `04 || X || Y` (SEC 1, section 2.3.3).
    pub fn point(&self) -> Option<(Curve, &[u8])> {
        match &self.0 {
            Kind::Rsa { .. } => None,
            Kind::Ecc { curve, point } => Some((*curve, point)),
        }
    }

    /// The key as DER-encoded SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7): RFC 3279
    /// for RSA with NULL parameters, RFC 5480 with the named curve for elliptic curves.
    pub fn spki_der(&self) -> Vec<u8> {
        match &self.0 {
            // Encoding two integers of known size cannot fail.
            Kind::Rsa { modulus } => rsa_public_key(modulus)
                .and_then(|key| key.to_public_key_der().ok())
                .map(|der| der.into_vec())
                .unwrap_or_default(),
            Kind::Ecc { curve, point } => [spki_prefix(*curve), point].concat(),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Rsa { modulus } => write!(f, "PublicKey(RSA-{})", modulus.len() * 8),
            Kind::Ecc { curve, .. } => write!(f, "PublicKey({curve:?})"),
        }
    }
}

pub(super) fn agreement_algorithm(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    }
}

/// The public half for the `rsa` crate; `None` cannot happen for a modulus of ours.
pub(super) fn rsa_public_key(modulus: &[u8]) -> Option<RsaPublicKey> {
    RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(65537u32)).ok()
}

/// DER of SEQUENCE { SEQUENCE { id-ecPublicKey, curve }, BIT STRING (point follows) }.
fn spki_prefix(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        Curve::P384 => &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
        ],
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::PublicKey as ParsedKey;

    use super::*;
    use crate::tpm::testing::{key_of, p256_key, p384_key, rsa_2048_key};

    #[test]
    fn a_modulus_is_odd_and_of_a_known_length_without_leading_zeros() {
        for len in [256, 384, 512] {
            assert!(PublicKey::rsa(&vec![0xc5; len]).is_ok());
        }
        let short = vec![0xc5; 128];
        let even = [&[0xc5; 255][..], &[0xc4]].concat();
        let small = [&[0x45][..], &[0xc5; 255]].concat();
        for modulus in [short, even, small, Vec::new()] {
            assert_eq!(PublicKey::rsa(&modulus), Err(Reason::RsaModulus));
        }
    }

    #[test]
    fn a_point_is_on_its_curve() {
        let key = p256_key(1);
        let (_, point) = key.point().unwrap();
        let (x, y) = point[1..].split_at(32);
        assert_eq!(PublicKey::ecc(Curve::P256, x, y), Ok(key.clone()));
        assert_eq!(PublicKey::ecc(Curve::P256, y, x), Err(Reason::BadPoint));
        assert_eq!(PublicKey::ecc(Curve::P256, &[0; 32], &[0; 32]), Err(Reason::BadPoint));
        assert_eq!(PublicKey::ecc(Curve::P384, x, y), Err(Reason::BadPoint));
        assert_eq!(PublicKey::ecc(Curve::P256, x, &[]), Err(Reason::TpmSize));
        assert_eq!(PublicKey::ecc(Curve::P256, &[0; 33], y), Err(Reason::TpmSize));
    }

    #[test]
    fn a_coordinate_without_its_leading_zeros_is_the_same_key() {
        let key = (1u16..)
            .map(|n| [&[0; 30][..], &n.to_be_bytes()].concat())
            .map(|scalar| key_of(Curve::P256, &scalar))
            .find(|key| key.point().unwrap().1[1] == 0)
            .unwrap();
        let (_, point) = key.point().unwrap();
        let (x, y) = point[1..].split_at(32);
        assert_eq!(PublicKey::ecc(Curve::P256, &x[1..], y), Ok(key.clone()));
    }

    #[test]
    fn spki_is_what_an_independent_reader_expects() {
        for key in [p256_key(1), p384_key(1), rsa_2048_key()] {
            let der = key.spki_der();
            let (rest, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&der).unwrap();
            assert!(rest.is_empty());
            match spki.parsed().unwrap() {
                ParsedKey::RSA(rsa) => {
                    assert_eq!(rsa.try_exponent(), Ok(65537));
                    assert_eq!(Some(&rsa.modulus[1..]), key.modulus());
                }
                ParsedKey::EC(point) => assert_eq!(point.data(), key.point().unwrap().1),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn debug_shows_the_kind_only() {
        assert_eq!(format!("{:?}", rsa_2048_key()), "PublicKey(RSA-2048)");
        assert_eq!(format!("{:?}", p384_key(1)), "PublicKey(P384)");
    }
}
