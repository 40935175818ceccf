//! The endorsement key as the chip's public area shows it (scheme, section 3, check 4).

use super::algorithm::Symmetric;
use super::{Curve, HashAlgorithm, Public, PublicKey, Scheme, roca};
use crate::Reason;
use crate::serial::HardwareSerial;

/// An endorsement key whose public area is one that the TCG's templates make.
///
/// | template | key | name algorithm | attributes | policy | symmetric |
/// |---|---|---|---|---|---|
/// | L-1 | RSA-2048 | SHA-256 | 0x000300b2 | A | AES-128-CFB |
/// | L-2 | P-256 | SHA-256 | 0x000300b2 | A | AES-128-CFB |
/// | H-1 | RSA-2048 | SHA-256 | 0x000300f2 | B | AES-128-CFB |
/// | H-2 | P-256 | SHA-256 | 0x000300f2 | B | AES-128-CFB |
/// | H-3 | P-384 | SHA-384 | 0x000300f2 | B | AES-256-CFB |
/// | H-6 | RSA-3072 | SHA-384 | 0x000300f2 | B | AES-256-CFB |
///
/// The attributes (Part 2, section 8.3) are fixedTPM, fixedParent, sensitiveDataOrigin,
/// adminWithPolicy, restricted and decrypt, in the high range also userWithAuth. The
/// scheme is TPM_ALG_NULL. Policy A is TPM2_PolicySecret(TPM_RH_ENDORSEMENT); policy B
/// offers that or what is written to a reserved NV index (EK profile, appendix B).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementKey {
    public: Public,
}

impl EndorsementKey {
    /// Parses a TPMT_PUBLIC and checks that a TCG template made it and that its RSA
    /// modulus does not bear the ROCA fingerprint.
    ///
    /// # Errors
    /// As [`Public::parse`], and [`Reason::EkKind`], [`Reason::EkAttributes`],
    /// [`Reason::EkPolicy`], [`Reason::EkScheme`], [`Reason::EkSymmetric`],
    /// [`Reason::EkRoca`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let public = Public::parse(bytes)?;
        let template = Template::of(&public).ok_or(Reason::EkKind)?;
        if public.attributes != template.attributes {
            return Err(Reason::EkAttributes);
        }
        if public.policy != template.policy {
            return Err(Reason::EkPolicy);
        }
        if public.symmetric != template.symmetric {
            return Err(Reason::EkSymmetric);
        }
        if public.scheme() != Scheme::Null {
            return Err(Reason::EkScheme);
        }
        if public.key().modulus().is_some_and(roca::has_fingerprint) {
            return Err(Reason::EkRoca);
        }
        Ok(EndorsementKey { public })
    }

    /// The key itself, to be compared with that of the certificate.
    pub fn key(&self) -> &PublicKey {
        self.public.key()
    }

    /// The hardware serial of the chip that has this key.
    pub fn serial(&self) -> HardwareSerial {
        HardwareSerial::of_endorsement_key(self.key())
    }

    pub(super) fn name_algorithm(&self) -> HashAlgorithm {
        self.public.name_algorithm
    }
}

/// What the template of one kind of key demands.
struct Template {
    attributes: u32,
    policy: &'static [u8],
    symmetric: Symmetric,
}

const LOW_RANGE: u32 = 0x0003_00b2;
const HIGH_RANGE: u32 = 0x0003_00f2;

impl Template {
    /// The template for this kind of key and name algorithm. Where there are two, the
    /// policy decides: only the high range has policy B.
    fn of(public: &Public) -> Option<Template> {
        let modulus_len = public.key().modulus().map(<[u8]>::len);
        let curve = public.key().point().map(|(curve, _)| curve);
        match (modulus_len, curve, public.name_algorithm) {
            (Some(256), None, HashAlgorithm::Sha256)
            | (None, Some(Curve::P256), HashAlgorithm::Sha256) => {
                let high = public.policy == POLICY_B_SHA256;
                Some(Template {
                    attributes: if high { HIGH_RANGE } else { LOW_RANGE },
                    policy: if high { &POLICY_B_SHA256 } else { &POLICY_A_SHA256 },
                    symmetric: Symmetric::Aes128Cfb,
                })
            }
            (Some(384), None, HashAlgorithm::Sha384)
            | (None, Some(Curve::P384), HashAlgorithm::Sha384) => Some(Template {
                attributes: HIGH_RANGE,
                policy: &POLICY_B_SHA384,
                symmetric: Symmetric::Aes256Cfb,
            }),
            _ => None,
        }
    }
}

const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3,
    0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::testing::{self, Area};

    #[test]
    fn every_template_is_accepted() {
        for area in testing::ek_areas() {
            let ek = EndorsementKey::parse(&area.bytes()).unwrap();
            assert_eq!(ek.serial(), HardwareSerial::of_endorsement_key(ek.key()));
        }
    }

    fn refusals(change: impl Fn(&mut Area)) -> Vec<Reason> {
        let changed = testing::ek_areas().into_iter().map(|mut area| {
            change(&mut area);
            EndorsementKey::parse(&area.bytes()).unwrap_err()
        });
        changed.collect()
    }

    #[test]
    fn one_wrong_field_in_each_template() {
        let all = |reason| vec![reason; testing::ek_areas().len()];
        for bit in 0..32 {
            assert_eq!(refusals(|area| area.attributes ^= 1 << bit), all(Reason::EkAttributes));
        }
        assert_eq!(refusals(|area| area.symmetric = vec![0x0010]), all(Reason::EkSymmetric));
        let other_aes = |area: &mut Area| area.symmetric[1] ^= 128 ^ 256;
        assert_eq!(refusals(other_aes), all(Reason::EkSymmetric));
        let bound = |area: &mut Area| area.scheme = vec![0x0018, 0x000b];
        assert_eq!(refusals(bound), all(Reason::EkScheme));
    }

    #[test]
    fn another_policy() {
        for mut area in testing::ek_areas() {
            area.attributes = match area.name_algorithm {
                0x000b => LOW_RANGE,
                _ => HIGH_RANGE,
            };
            area.policy[0] ^= 1;
            assert_eq!(EndorsementKey::parse(&area.bytes()), Err(Reason::EkPolicy));
            area.policy.clear();
            assert_eq!(EndorsementKey::parse(&area.bytes()), Err(Reason::EkPolicy));
        }
    }

    #[test]
    fn a_key_of_another_kind() {
        let big = PublicKey::rsa(&[0xc5; 512]).unwrap();
        for key in [big, testing::p384_key(1)] {
            assert_eq!(EndorsementKey::parse(&Area::of(&key).bytes()), Err(Reason::EkKind));
        }
    }

    #[test]
    fn a_modulus_with_the_roca_fingerprint() {
        let key = PublicKey::rsa(&roca::tests::fingerprinted_modulus()).unwrap();
        let mut area = testing::ek_areas()[0].clone();
        area.rest = Area::of(&key).rest;
        assert_eq!(EndorsementKey::parse(&area.bytes()), Err(Reason::EkRoca));
    }

    /// The digests as the commands compute them (Part 3, TPM2_PolicySecret,
    /// TPM2_PolicyAuthorizeNV, TPM2_PolicyOR), from the index that the EK profile reserves.
    #[test]
    fn the_policies_are_what_their_definitions_give() {
        let policies = |hash: HashAlgorithm, index: u32| {
            let len = hash.digest_len();
            let zeros = vec![0; len];
            let by_secret = hash.digest(&[&zeros, &[0, 0, 1, 0x51], &[0x40, 0, 0, 0x0b]]);
            let a = hash.digest(&[&by_secret]);
            let nv = hash.digest(&[
                &index.to_be_bytes(),
                &hash.id().to_be_bytes(),
                &0x220f_1008u32.to_be_bytes(),
                &testing::sized(&a),
                &(len as u16 + 2).to_be_bytes(),
            ]);
            let by_nv = hash.digest(&[&zeros, &[0, 0, 1, 0x92], &hash.id().to_be_bytes(), &nv]);
            let b = hash.digest(&[&zeros, &[0, 0, 1, 0x71], &a, &by_nv]);
            (a, b)
        };
        let (a, b) = policies(HashAlgorithm::Sha256, 0x01c0_7f01);
        assert_eq!((&a[..], &b[..]), (&POLICY_A_SHA256[..], &POLICY_B_SHA256[..]));
        let (_, b) = policies(HashAlgorithm::Sha384, 0x01c0_7f02);
        assert_eq!(b, POLICY_B_SHA384);
    }
}
