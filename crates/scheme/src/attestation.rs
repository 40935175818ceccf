//! An application's key, shown to live in an enrolled chip (docs/scheme.md, section 10).
//!
//! Whoever wants to know draws a nonce. The agent has the attestation key of its enrolment certify
//! the key with it, and hands over an [`Attestation`]. Who knows the attestation key, as the
//! server does from the enrolment, verifies it, with nothing else and whenever he likes.

use crate::Reason;
use crate::cbor::{self, Items};
use crate::id::{DeviceId, ServerId};
use crate::label;
use crate::secret::sha256;
use crate::tpm::{
    ApplicationKeyClaims, Certification, ChipState, PublicKey, verify_application_key,
};

/// How long a nonce may be, bytes: long enough that nobody can have guessed it.
pub const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=64;

/// The longest attestation, bytes.
const ATTESTATION_MAX: usize = 4096;
/// The longest TPM structure in it, bytes.
const STRUCTURE_MAX: usize = 1024;

/// What an agent hands over. Nothing in it is to be believed before [`Attestation::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The server that is said to know the device.
    pub server_id: ServerId,
    /// The device that is said to have the key.
    pub device_id: DeviceId,
    /// The enrolment whose attestation key has certified it.
    pub generation: u32,
    /// TPMT_PUBLIC of the key's parent.
    pub parent_public: Vec<u8>,
    /// TPMT_PUBLIC of the key.
    pub key_public: Vec<u8>,
    /// TPMS_ATTEST of TPM2_Certify.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE over it.
    pub signature: Vec<u8>,
}

/// A key that lives in the chip, was made there, and cannot leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedKey {
    /// Its public half.
    pub key: PublicKey,
    /// Whether the chip signs with it.
    pub signs: bool,
    /// Whether the chip decrypts or agrees with it.
    pub decrypts: bool,
    /// The chip when it certified the key.
    pub chip: ChipState,
}

/// The extraData of the certification: SHA-256(CBOR["twinseal-attest-v1", nonce]).
pub fn extra_data(nonce: &[u8]) -> [u8; 32] {
    sha256(&[&cbor::array!(label::ATTEST, nonce)])
}

impl Attestation {
    /// The one encoding: a CBOR array that begins with its name.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array!(
            label::ATTESTATION,
            self.server_id,
            self.device_id,
            self.generation,
            self.parent_public,
            self.key_public,
            self.attest,
            self.signature
        )
    }

    /// Reads what [`Attestation::encode`] wrote.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut items = Items::decode(bytes, ATTESTATION_MAX, 8)?;
        if items.text(label::ATTESTATION.len())? != label::ATTESTATION {
            return Err(Reason::WrongShape);
        }
        Ok(Attestation {
            server_id: ServerId(items.fixed()?),
            device_id: DeviceId(items.fixed()?),
            generation: items.uint()?,
            parent_public: items.bytes(STRUCTURE_MAX)?,
            key_public: items.bytes(STRUCTURE_MAX)?,
            attest: items.bytes(STRUCTURE_MAX)?,
            signature: items.bytes(STRUCTURE_MAX)?,
        })
    }

    /// Verifies it for `nonce`, which whoever verifies has drawn, with the attestation key that
    /// the server knows of the device: its TPMT_PUBLIC.
    ///
    /// # Errors
    /// [`Reason::WrongNonce`] for a nonce of another length than [`NONCE_LEN`]; those of
    /// [`verify_application_key`].
    pub fn verify(&self, nonce: &[u8], ak_public: &[u8]) -> Result<AttestedKey, Reason> {
        if !NONCE_LEN.contains(&nonce.len()) {
            return Err(Reason::WrongNonce);
        }
        let claims = ApplicationKeyClaims {
            parent_public: &self.parent_public,
            key_public: &self.key_public,
            certification: Certification { attest: &self.attest, signature: &self.signature },
        };
        let (key, chip) = verify_application_key(ak_public, &claims, &extra_data(nonce))?;
        let (signs, decrypts) = key.uses();
        Ok(AttestedKey { key: key.key().clone(), signs, decrypts, chip })
    }
}

impl AttestedKey {
    /// The key as an application has it, SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> Vec<u8> {
        self.key.spki_der()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::testing::{
        Area, AttestFields, SoftChip, ecdsa_signature, p256_key, p256_signing_key, p384_key,
        rsa_2048_key,
    };
    use crate::tpm::{Hierarchy, Public, QualifiedName};

    const NONCE: [u8; 32] = [0x4e; 32];

    /// Everything that a chip is asked for and tells, open to changes in one place.
    struct Told {
        parent: Area,
        key: Area,
        ak: Vec<u8>,
        attest: AttestFields,
        signer: u8,
    }

    impl Told {
        fn of(key: Area) -> Told {
            let chip = SoftChip::genuine();
            let mut told = Told {
                parent: chip.srk,
                key,
                ak: chip.ak.bytes(),
                attest: AttestFields::plain(),
                signer: 3,
            };
            told.certify();
            told
        }

        /// What the chip says of the areas as they are.
        fn certify(&mut self) {
            let name = |area: &[u8]| Public::parse(area).unwrap().name().clone();
            let (parent, ak) = (name(&self.parent.bytes()), name(&self.ak));
            let key = name(&self.key.bytes());
            let place = QualifiedName::primary(Hierarchy::Owner, &parent).child(&key);
            let signer = QualifiedName::primary(Hierarchy::Endorsement, &ak);
            self.attest.extra_data = extra_data(&NONCE).to_vec();
            self.attest.name = key.as_bytes().to_vec();
            self.attest.qualified_name = place.as_bytes().to_vec();
            self.attest.qualified_signer = signer.as_bytes().to_vec();
        }

        fn attestation(&self) -> Attestation {
            let attest = self.attest.bytes();
            Attestation {
                server_id: ServerId([1; 32]),
                device_id: DeviceId([2; 16]),
                generation: 3,
                parent_public: self.parent.bytes(),
                key_public: self.key.bytes(),
                signature: ecdsa_signature(&p256_signing_key(self.signer), &attest),
                attest,
            }
        }

        fn verify(&self) -> Result<AttestedKey, Reason> {
            self.attestation().verify(&NONCE, &self.ak)
        }
    }

    fn signing_key() -> Area {
        Area::of(&p256_key(9))
    }

    fn refusal(change: impl FnOnce(&mut Told)) -> Option<Reason> {
        let mut told = Told::of(signing_key());
        change(&mut told);
        told.verify().err()
    }

    #[test]
    fn keys_of_every_kind_are_attested() {
        for key in [p256_key(9), p384_key(9), rsa_2048_key()] {
            let told = Told::of(Area::of(&key)).verify().unwrap();
            assert_eq!((told.spki(), told.signs, told.decrypts), (key.spki_der(), true, false));
            let both = Area { attributes: 0x0006_0472, ..Area::of(&key) };
            let told = Told::of(both).verify().unwrap();
            assert_eq!((told.signs, told.decrypts), (true, true));
            assert_eq!(told.chip.clock.reset_count, 3);
        }
    }

    #[test]
    fn an_attestation_has_one_encoding() {
        let attestation = Told::of(signing_key()).attestation();
        let bytes = attestation.encode();
        assert_eq!(Attestation::decode(&bytes), Ok(attestation));
        for len in 0..bytes.len() {
            assert!(Attestation::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let mut other = bytes;
        other[5] ^= 1;
        assert_eq!(Attestation::decode(&other), Err(Reason::WrongShape));
    }

    #[test]
    fn it_is_for_one_nonce_by_one_chip() {
        let told = Told::of(signing_key());
        assert!(told.verify().is_ok());
        let attestation = told.attestation();
        let other = attestation.verify(&[0x4f; 32], &told.ak);
        assert_eq!(other, Err(Reason::AttestExtraData));
        for len in [0, 15, 65] {
            let nonce = vec![0x4e; len];
            assert_eq!(attestation.verify(&nonce, &told.ak), Err(Reason::WrongNonce));
        }
        let other_ak = Area { attributes: 0x0005_0472, scheme: vec![0x18, 0x0b], ..signing_key() };
        let other = attestation.verify(&NONCE, &other_ak.bytes());
        assert_eq!(other, Err(Reason::AttestSigner));
        assert_eq!(refusal(|told| told.signer = 4), Some(Reason::AttestSignature));
    }

    /// An attest that was made for an epoch or an enrolment says nothing of an application's key.
    #[test]
    fn an_attest_of_another_occasion_is_refused() {
        let other = |told: &mut Told| told.attest.extra_data = sha256(&[&NONCE]).to_vec();
        assert_eq!(refusal(other), Some(Reason::AttestExtraData));
        let quote = |told: &mut Told| told.attest.kind = 0x8018;
        assert_eq!(refusal(quote), Some(Reason::AttestType));
        let not_of_a_tpm = |told: &mut Told| told.attest.magic = 0;
        assert_eq!(refusal(not_of_a_tpm), Some(Reason::AttestMagic));
    }

    #[test]
    fn it_is_of_this_key_at_this_place() {
        let another = |told: &mut Told| told.key = Area::of(&p256_key(8));
        assert_eq!(refusal(another), Some(Reason::AttestName));
        let elsewhere = |told: &mut Told| told.attest.qualified_name = vec![4; 34];
        assert_eq!(refusal(elsewhere), Some(Reason::AttestQualifiedName));
        let primary = |told: &mut Told| told.attest.qualified_signer = vec![4; 34];
        assert_eq!(refusal(primary), Some(Reason::AttestSigner));
    }

    /// The chip may certify whatever is loaded; only what cannot leave it, was made in it and is
    /// opened by its authValue alone is what is claimed.
    #[test]
    fn a_key_that_can_leave_the_chip_is_refused() {
        let with = |attributes: u32| {
            refusal(|told| {
                told.key.attributes = attributes;
                told.certify();
            })
        };
        assert_eq!(with(0x0004_0472), None);
        assert_eq!(with(0x0006_0472), None);
        // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA; neither use; restricted.
        for attributes in [0x0004_0470, 0x0004_0462, 0x0004_0452, 0x0004_0432, 0x0004_0072] {
            assert_eq!(with(attributes), Some(Reason::ApplicationKeyAttributes), "{attributes:x}");
        }
        for attributes in [0x0000_0472, 0x0005_0472, 0x0004_04f2, 0x0004_0476] {
            assert_eq!(with(attributes), Some(Reason::ApplicationKeyAttributes), "{attributes:x}");
        }
        let policy = refusal(|told| {
            told.key.policy = vec![1; 32];
            told.certify();
        });
        assert_eq!(policy, Some(Reason::ApplicationKeyPolicy));
        let weak_name = refusal(|told| {
            told.key.name_algorithm = 0x000c;
            told.certify();
        });
        assert_eq!(weak_name, Some(Reason::ApplicationKeyKind));
    }

    #[test]
    fn its_parent_is_a_storage_key_that_cannot_leave() {
        let parent = |change: fn(&mut Area)| {
            refusal(|told| {
                change(&mut told.parent);
                told.certify();
            })
        };
        assert_eq!(parent(|_| ()), None);
        let duplicable = parent(|area| area.attributes &= !0x2);
        assert_eq!(duplicable, Some(Reason::SrkAttributes));
        let without_cipher = parent(|area| area.symmetric = vec![0x0010]);
        assert_eq!(without_cipher, Some(Reason::SrkScheme));
    }
}
