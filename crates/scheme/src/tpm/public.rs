//! The public area of a key (TPMT_PUBLIC; Part 2, section 12.2.4).

use super::algorithm::{NULL, Symmetric};
use super::reader::Reader;
use super::{Curve, HashAlgorithm, Name, PublicKey, Scheme};
use crate::Reason;

/// A parsed public area of an asymmetric key.
///
/// Only what this scheme or the TCG's EK templates use is understood: RSA and ECC keys,
/// SHA-256 and SHA-384 as name algorithm, AES-CFB, no ECC key derivation scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    pub(super) name_algorithm: HashAlgorithm,
    pub(super) attributes: u32,
    pub(super) policy: Vec<u8>,
    pub(super) symmetric: Symmetric,
    scheme: Scheme,
    key: PublicKey,
    name: Name,
}

impl Public {
    /// Parses a TPMT_PUBLIC, the form without a size in front.
    ///
    /// # Errors
    /// [`Reason::TpmShort`], [`Reason::TpmTrailing`], [`Reason::TpmSize`],
    /// [`Reason::TpmAlgorithm`], [`Reason::RsaExponent`], [`Reason::RsaModulus`] and
    /// [`Reason::BadPoint`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16()?;
        let name_algorithm = HashAlgorithm::read(&mut reader)?;
        let attributes = reader.u32()?;
        let policy = reader.sized(name_algorithm.digest_len())?.to_vec();
        if !policy.is_empty() && policy.len() != name_algorithm.digest_len() {
            return Err(Reason::TpmSize);
        }
        let symmetric = Symmetric::read(&mut reader)?;
        let scheme = Scheme::read(&mut reader)?;
        let key = match kind {
            RSA => read_rsa(&mut reader)?,
            ECC => read_ecc(&mut reader)?,
            _ => return Err(Reason::TpmAlgorithm),
        };
        reader.end()?;
        let name = Name::of(name_algorithm, bytes);
        Ok(Public { name_algorithm, attributes, policy, symmetric, scheme, key, name })
    }

    /// Parses a TPM2B_PUBLIC, the form with a `u16` size in front, as tools write it.
    ///
    /// # Errors
    /// As [`Public::parse`]; the size must be that of what follows.
    pub fn parse_sized(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new(bytes);
        let area = reader.sized(usize::from(u16::MAX))?;
        reader.end()?;
        Public::parse(area)
    }

    /// The Name, computed from the bytes that were parsed.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key itself.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether the TPM signs with it, and whether it decrypts or agrees with it (TPMA_OBJECT;
    /// Part 2, section 8.3).
    pub fn uses(&self) -> (bool, bool) {
        (self.attributes & 1 << 18 != 0, self.attributes & 1 << 17 != 0)
    }

    /// What the key is bound to do.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// TPM_ALG_RSA
const RSA: u16 = 0x0001;
/// TPM_ALG_ECC
const ECC: u16 = 0x0023;

/// What is left of TPMS_RSA_PARMS, then TPM2B_PUBLIC_KEY_RSA.
fn read_rsa(reader: &mut Reader<'_>) -> Result<PublicKey, Reason> {
    let bits = usize::from(reader.u16()?);
    // An exponent of zero stands for the default.
    if !matches!(reader.u32()?, 0 | 65537) {
        return Err(Reason::RsaExponent);
    }
    let modulus = reader.sized(512)?;
    if modulus.len() * 8 != bits {
        return Err(Reason::TpmSize);
    }
    PublicKey::rsa(modulus)
}

/// What is left of TPMS_ECC_PARMS, then TPMS_ECC_POINT.
fn read_ecc(reader: &mut Reader<'_>) -> Result<PublicKey, Reason> {
    let curve = Curve::read(reader)?;
    if reader.u16()? != NULL {
        return Err(Reason::TpmAlgorithm);
    }
    let x = reader.sized(curve.field_len())?;
    let y = reader.sized(curve.field_len())?;
    PublicKey::ecc(curve, x, y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tpm::testing::{Area, ecc_rest, p256_key, p384_key, rsa_2048_key, rsa_rest, sized};

    #[test]
    fn keys_of_every_known_kind_are_read() {
        let keys = [p256_key(1), p384_key(1), rsa_2048_key()];
        for key in keys {
            let bytes = Area::of(&key).bytes();
            let public = Public::parse(&bytes).unwrap();
            assert_eq!(public.key(), &key);
            assert_eq!(public.scheme(), Scheme::Null);
            assert_eq!(Public::parse_sized(&sized(&bytes)), Ok(public));
        }
    }

    #[test]
    fn the_name_is_the_hash_of_the_bytes_with_the_name_algorithm() {
        let mut area = Area::of(&p256_key(1));
        let name = Public::parse(&area.bytes()).unwrap().name().clone();
        assert_eq!(
            name.as_bytes(),
            [&[0, 0x0b][..], &crate::secret::sha256(&[&area.bytes()])].concat()
        );
        area.name_algorithm = 0x000c;
        let name = Public::parse(&area.bytes()).unwrap().name().clone();
        assert_eq!(name.as_bytes().len(), 50);
        assert_eq!(Name::from_trusted(name.as_bytes()), Some(name));
    }

    #[test]
    fn too_few_and_too_many_bytes() {
        let bytes = Area::of(&p256_key(1)).bytes();
        for len in 0..bytes.len() {
            assert_eq!(Public::parse(&bytes[..len]), Err(Reason::TpmShort), "{len} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Public::parse(&longer), Err(Reason::TpmTrailing));
        assert_eq!(
            Public::parse_sized(&[&sized(&bytes)[..], &[0]].concat()),
            Err(Reason::TpmTrailing)
        );
    }

    fn refusal(key: PublicKey, change: impl FnOnce(&mut Area)) -> Option<Reason> {
        let mut area = Area::of(&key);
        change(&mut area);
        Public::parse(&area.bytes()).err()
    }

    #[test]
    fn unknown_algorithms() {
        let unknown = Some(Reason::TpmAlgorithm);
        let ecc = || p256_key(1);
        // TPM_ALG_KEYEDHASH, SHA-1, AES-192, AES-128 in CTR mode, ECDAA, P-521, KDF1.
        assert_eq!(refusal(ecc(), |area| area.kind = 0x0008), unknown);
        assert_eq!(refusal(ecc(), |area| area.name_algorithm = 0x0004), unknown);
        assert_eq!(refusal(ecc(), |area| area.symmetric = vec![6, 192, 0x0043]), unknown);
        assert_eq!(refusal(ecc(), |area| area.symmetric = vec![6, 128, 0x0040]), unknown);
        assert_eq!(refusal(ecc(), |area| area.scheme = vec![0x001a, 0x000b, 0]), unknown);
        assert_eq!(refusal(ecc(), |area| area.rest = ecc_rest(5, &[1; 64])), unknown);
        assert_eq!(refusal(ecc(), |area| area.rest[3] = 0x20), unknown);
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let size = Some(Reason::TpmSize);
        assert_eq!(refusal(p256_key(1), |area| area.policy = vec![0; 31]), size);
        assert_eq!(refusal(p256_key(1), |area| area.policy = vec![0; 48]), size);
        assert_eq!(refusal(p256_key(1), |area| area.rest = ecc_rest(3, &[0; 66])), size);
        let stated_3072 = |area: &mut Area| area.rest[0] = 0x0c;
        assert_eq!(refusal(rsa_2048_key(), stated_3072), size);
    }

    #[test]
    fn rsa_parameters() {
        let exponent_3 = |area: &mut Area| area.rest = rsa_rest(3, &[0xc5; 256]);
        assert_eq!(refusal(rsa_2048_key(), exponent_3), Some(Reason::RsaExponent));
        let stated = |area: &mut Area| area.rest = rsa_rest(65537, &[0xc5; 256]);
        assert_eq!(refusal(rsa_2048_key(), stated), None);
        let even = |area: &mut Area| area.rest = rsa_rest(0, &[0xc4; 256]);
        assert_eq!(refusal(rsa_2048_key(), even), Some(Reason::RsaModulus));
    }

    #[test]
    fn a_point_off_the_curve() {
        let off = |area: &mut Area| area.rest = ecc_rest(3, &[1; 64]);
        assert_eq!(refusal(p256_key(1), off), Some(Reason::BadPoint));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Public::parse(&bytes);
            let _ = Public::parse_sized(&bytes);
        }

        #[test]
        fn what_is_read_has_the_name_of_exactly_these_bytes(at in 0usize..86, to: u8) {
            let mut bytes = Area::of(&p256_key(1)).bytes();
            let before = Public::parse(&bytes).unwrap();
            let changed = bytes[at] != to;
            bytes[at] = to;
            if let Ok(after) = Public::parse(&bytes) {
                prop_assert_eq!(before.name() != after.name(), changed);
            }
        }
    }
}
