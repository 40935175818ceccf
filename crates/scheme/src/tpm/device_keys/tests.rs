use proptest::prelude::*;

use super::*;
use crate::keys::SigningAlgorithm;
use crate::secret::sha256;
use crate::tpm::testing::{
    Area, AttestFields, SoftChip, ecdsa_signature, p256_key, p256_signing_key, p384_key,
    rsa_2048_key,
};

fn extra_data(role: Role, ak: &Name, name: &Name) -> [u8; 32] {
    sha256(&[role.word().as_bytes(), ak.as_bytes(), name.as_bytes()])
}

/// What a device would send.
struct Sent {
    areas: [Vec<u8>; 6],
    certifications: [(Vec<u8>, Vec<u8>); 3],
}

impl Sent {
    fn by(chip: &SoftChip) -> Self {
        Sent::with(chip, chip.attests(extra_data))
    }

    fn with(chip: &SoftChip, attests: [AttestFields; 3]) -> Self {
        let areas = [&chip.ek, &chip.srk, &chip.ak, &chip.signing, &chip.decryption, &chip.serial];
        let certifications = attests.map(|fields| {
            let attest = fields.bytes();
            let signature = ecdsa_signature(&p256_signing_key(3), &attest);
            (attest, signature)
        });
        Sent { areas: areas.map(Area::bytes), certifications }
    }

    fn verify(&self) -> Result<VerifiedDeviceKeys, Reason> {
        let [ek, srk, ak, signing, decryption, serial] = &self.areas;
        let [certify_signing, certify_decryption, certify_serial] = self
            .certifications
            .each_ref()
            .map(|(attest, signature)| Certification { attest, signature });
        let claims = DeviceKeyClaims {
            ek_public: ek,
            srk_public: srk,
            ak_public: ak,
            signing_public: signing,
            decryption_public: decryption,
            serial_public: serial,
            certify_signing,
            certify_decryption,
            certify_serial,
        };
        verify_device_keys(&claims, extra_data)
    }
}

#[test]
fn a_genuine_chip_is_accepted_and_everything_is_told_of_it() {
    let chip = SoftChip::genuine();
    let keys = Sent::by(&chip).verify().unwrap();
    assert_eq!(keys.ek.key(), &p256_key(1));
    assert_eq!(keys.signing.key.spki(), p256_key(4).spki_der());
    assert_eq!(keys.decryption.key.spki(), p256_key(5).spki_der());
    assert_eq!(keys.serial.spki(), p256_key(6).spki_der());
    assert_eq!(keys.ak_name, *Public::parse(&chip.ak.bytes()).unwrap().name());
    assert_eq!(keys.chip.clock.clock_ms, 180_000);
    assert_eq!(keys.chip.firmware_version, 0x0007_0001);
}

#[test]
fn rsa_keys_bound_to_a_scheme_may_sign_and_decrypt() {
    for (scheme, algorithm) in
        [(0x0014, SigningAlgorithm::Rs256), (0x0016, SigningAlgorithm::Ps256)]
    {
        let mut chip = SoftChip::genuine();
        chip.signing.kind = 0x0001;
        chip.signing.rest = Area::of(&rsa_2048_key()).rest;
        chip.signing.scheme = vec![scheme, 0x000b];
        chip.decryption.kind = 0x0001;
        chip.decryption.rest = Area::of(&rsa_2048_key()).rest;
        chip.decryption.scheme = vec![0x0017, 0x000b];
        let keys = Sent::by(&chip).verify().unwrap();
        assert!(matches!(keys.decryption.key, DecryptionPublic::RsaOaep(..)));
        assert_eq!(keys.signing.key.algorithm(), algorithm);
        assert_eq!(keys.signing.key.spki(), rsa_2048_key().spki_der());
    }
}

type Pick = fn(&mut SoftChip) -> &mut Area;

/// Each key with its reasons for a wrong kind, attribute, policy and scheme.
const KEYS: [(Pick, [Reason; 4]); 5] = [
    (
        |chip| &mut chip.srk,
        [Reason::SrkKind, Reason::SrkAttributes, Reason::SrkPolicy, Reason::SrkScheme],
    ),
    (
        |chip| &mut chip.ak,
        [Reason::AkKind, Reason::AkAttributes, Reason::AkPolicy, Reason::AkScheme],
    ),
    (
        |chip| &mut chip.signing,
        [
            Reason::SigningKind,
            Reason::SigningAttributes,
            Reason::SigningPolicy,
            Reason::SigningScheme,
        ],
    ),
    (
        |chip| &mut chip.decryption,
        [
            Reason::DecryptionKind,
            Reason::DecryptionAttributes,
            Reason::DecryptionPolicy,
            Reason::DecryptionScheme,
        ],
    ),
    (
        |chip| &mut chip.serial,
        [
            Reason::SerialKeyKind,
            Reason::SerialKeyAttributes,
            Reason::SerialKeyPolicy,
            Reason::SerialKeyScheme,
        ],
    ),
];

/// What is said of a chip with one key changed, and certified as it then is.
fn refusal(pick: Pick, change: impl FnOnce(&mut Area)) -> Option<Reason> {
    let mut chip = SoftChip::genuine();
    change(pick(&mut chip));
    Sent::by(&chip).verify().err()
}

#[test]
fn every_attribute_of_every_key_counts() {
    for (pick, [_, attributes, _, _]) in KEYS {
        for bit in 0..32 {
            let refused = refusal(pick, |area| area.attributes ^= 1 << bit);
            assert_eq!(refused, Some(attributes), "bit {bit}");
        }
    }
}

#[test]
fn no_key_may_be_of_another_kind_or_have_a_policy() {
    for (pick, [kind, _, policy, _]) in KEYS {
        let p384 = |area: &mut Area| area.rest = Area::of(&p384_key(9)).rest;
        assert_eq!(refusal(pick, p384), Some(kind));
        assert_eq!(refusal(pick, |area| area.name_algorithm = 0x000c), Some(kind));
        assert_eq!(refusal(pick, |area| area.policy = vec![0; 32]), Some(policy));
    }
    let rsa = |area: &mut Area| {
        area.kind = 0x0001;
        area.rest = Area::of(&rsa_2048_key()).rest;
    };
    for pick in [0, 1, 4] {
        let (pick, [kind, ..]) = KEYS[pick];
        assert_eq!(refusal(pick, rsa), Some(kind));
    }
    for pick in [2, 3] {
        let (pick, [kind, ..]) = KEYS[pick];
        let rsa_3072 = |area: &mut Area| {
            area.kind = 0x0001;
            area.rest = crate::tpm::testing::rsa_rest(0, &[0xc5; 384]);
        };
        assert_eq!(refusal(pick, rsa_3072), Some(kind));
    }
}

#[test]
fn every_key_is_bound_to_its_scheme() {
    for (pick, [_, _, _, scheme]) in KEYS {
        // OAEP, ECDSA with SHA-384, ECDH with SHA-384: no key has any of them.
        for other in [[0x0017, 0x000b], [0x0018, 0x000c], [0x0019, 0x000c]] {
            assert_eq!(refusal(pick, |area| area.scheme = other.to_vec()), Some(scheme));
        }
        let aes_256 = |area: &mut Area| area.symmetric = vec![0x0006, 256, 0x0043];
        assert_eq!(refusal(pick, aes_256), Some(scheme));
    }
    for (pick, [_, _, _, scheme]) in &KEYS[1..] {
        assert_eq!(refusal(*pick, |area| area.scheme = vec![0x0010]), Some(*scheme));
    }
    let (pick, [.., scheme]) = KEYS[0];
    assert_eq!(refusal(pick, |area| area.symmetric = vec![0x0010]), Some(scheme));
}

#[test]
fn an_endorsement_key_that_no_template_makes() {
    let refused = refusal(|chip| &mut chip.ek, |area| area.attributes ^= 1 << 10);
    assert_eq!(refused, Some(Reason::EkAttributes));
}

#[test]
fn one_key_in_two_roles() {
    let mut chip = SoftChip::genuine();
    chip.serial = chip.decryption.clone();
    assert_eq!(Sent::by(&chip).verify().err(), Some(Reason::NamesNotDistinct));
}

/// What is said when one of the three attests is changed before it is signed.
fn attest_refusals(change: impl Fn(&mut AttestFields)) -> [Option<Reason>; 3] {
    [0, 1, 2].map(|changed| {
        let chip = SoftChip::genuine();
        let mut attests = chip.attests(extra_data);
        change(&mut attests[changed]);
        Sent::with(&chip, attests).verify().err()
    })
}

#[test]
fn every_field_of_every_attest_counts() {
    let all = |reason| [Some(reason); 3];
    assert_eq!(attest_refusals(|a| a.magic ^= 1), all(Reason::AttestMagic));
    assert_eq!(attest_refusals(|a| a.kind = 0x801a), all(Reason::AttestType));
    assert_eq!(attest_refusals(|a| a.extra_data[0] ^= 1), all(Reason::AttestExtraData));
    assert_eq!(attest_refusals(|a| a.extra_data.clear()), all(Reason::AttestExtraData));
    assert_eq!(attest_refusals(|a| a.name[33] ^= 1), all(Reason::AttestName));
    assert_eq!(attest_refusals(|a| a.qualified_signer[33] ^= 1), all(Reason::AttestSigner));
    assert_eq!(attest_refusals(|a| a.qualified_name[33] ^= 1), all(Reason::AttestQualifiedName));
    assert_eq!(attest_refusals(|a| a.clock.clock_ms += 1), [None; 3]);
}

#[test]
fn a_key_that_hangs_elsewhere() {
    // A child of the storage root as serial key, and primaries where children belong.
    for index in 0..3 {
        let chip = SoftChip::genuine();
        let srk = Public::parse(&chip.srk.bytes()).unwrap();
        let mut attests = chip.attests(extra_data);
        let name = Name::from_trusted(&attests[index].name).unwrap();
        let elsewhere = match index {
            2 => QualifiedName::primary(Hierarchy::Owner, srk.name()).child(&name),
            _ => QualifiedName::primary(Hierarchy::Owner, &name),
        };
        attests[index].qualified_name = elsewhere.as_bytes().to_vec();
        let refused = Sent::with(&chip, attests).verify().err();
        assert_eq!(refused, Some(Reason::AttestQualifiedName));
    }
}

#[test]
fn an_attest_that_another_key_signed_or_under_another_scheme() {
    for index in 0..3 {
        let mut sent = Sent::by(&SoftChip::genuine());
        let (attest, signature) = &mut sent.certifications[index];
        *signature = ecdsa_signature(&p256_signing_key(4), attest);
        assert_eq!(sent.verify().err(), Some(Reason::AttestSignature));
        let (_, signature) = &mut sent.certifications[index];
        signature[3] = 0x0c;
        assert_eq!(sent.verify().err(), Some(Reason::AttestScheme));
    }
}

#[test]
fn an_attest_used_for_another_role() {
    let mut sent = Sent::by(&SoftChip::genuine());
    sent.certifications.swap(0, 2);
    assert_eq!(sent.verify().err(), Some(Reason::AttestExtraData));
}

fn verify_epoch(change: impl FnOnce(&mut AttestFields)) -> Result<ChipState, Reason> {
    let chip = SoftChip::genuine();
    let [mut fields, _, _] = chip.attests(|_, _, _| [8; 32]);
    change(&mut fields);
    let attest = fields.bytes();
    let signature = ecdsa_signature(&p256_signing_key(3), &attest);
    let name = |area: &Area| Public::parse(&area.bytes()).unwrap().name().clone();
    let certification = Certification { attest: &attest, signature: &signature };
    let (srk, signing) = (name(&chip.srk), name(&chip.signing));
    verify_epoch_attest(&chip.ak.bytes(), &srk, &signing, certification, &[8; 32])
}

#[test]
fn an_epoch_attest_tells_the_clock() {
    let state = verify_epoch(|_| ()).unwrap();
    assert_eq!((state.clock.reset_count, state.clock.clock_ms), (3, 60_000));
    assert_eq!(verify_epoch(|a| a.extra_data[0] ^= 1), Err(Reason::AttestExtraData));
    assert_eq!(verify_epoch(|a| a.name[9] ^= 1), Err(Reason::AttestName));
    assert_eq!(verify_epoch(|a| a.qualified_name[9] ^= 1), Err(Reason::AttestQualifiedName));
    assert_eq!(verify_epoch(|a| a.kind = 0x8018), Err(Reason::AttestType));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_changed_byte_anywhere_is_refused(part in 0usize..12, at in 0usize..200, bit in 0u8..8) {
        let mut sent = Sent::by(&SoftChip::genuine());
        let bytes = match part {
            0..6 => &mut sent.areas[part],
            6..9 => &mut sent.certifications[part - 6].0,
            _ => &mut sent.certifications[part - 9].1,
        };
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // The endorsement key is tied to the others by the credential alone.
        match (part, sent.verify()) {
            (0, Ok(keys)) => prop_assert_ne!(keys.ek.key(), &p256_key(1)),
            (_, outcome) => prop_assert!(outcome.is_err()),
        }
    }
}
