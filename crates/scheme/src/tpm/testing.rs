//! Public areas and attests made by hand, to be right or wrong in exactly one place.

use aws_lc_rs::agreement::PrivateKey;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::public_key::agreement_algorithm;
use super::{ClockInfo, Curve, HashAlgorithm, Hierarchy, Name, PublicKey, QualifiedName, Role};

/// A TPMT_PUBLIC in pieces, each of which a test may replace.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) kind: u16,
    pub(crate) name_algorithm: u16,
    pub(crate) attributes: u32,
    pub(crate) policy: Vec<u8>,
    pub(crate) symmetric: Vec<u16>,
    pub(crate) scheme: Vec<u16>,
    /// What follows the scheme: the rest of the parameters and the key.
    pub(crate) rest: Vec<u8>,
}

impl Area {
    pub(crate) fn of(key: &PublicKey) -> Self {
        let (kind, rest) = match key.point() {
            Some((curve, point)) => (0x0023, ecc_rest(curve.id(), &point[1..])),
            None => (0x0001, rsa_rest(0, key.modulus().unwrap())),
        };
        Area {
            kind,
            name_algorithm: 0x000b,
            attributes: 0x0004_0472,
            policy: Vec::new(),
            symmetric: vec![0x0010],
            scheme: vec![0x0010],
            rest,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = words(&[self.kind, self.name_algorithm]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(sized(&self.policy));
        out.extend(words(&self.symmetric));
        out.extend(words(&self.scheme));
        out.extend(&self.rest);
        out
    }
}

/// A public area of every template that an endorsement key may have.
pub(crate) fn ek_areas() -> Vec<Area> {
    let rsa_3072 = PublicKey::rsa(&[0xc5; 384]).unwrap();
    let low = [rsa_2048_key(), p256_key(1)];
    let high = [rsa_2048_key(), p256_key(1), p384_key(1), rsa_3072];
    let low = low.iter().map(ek_area_of);
    let high = high.iter().map(ek_area_of).map(|mut area| {
        if area.name_algorithm == 0x000b {
            area.attributes = 0x0003_00f2;
            area.policy = policy(POLICY_B_SHA256);
        }
        area
    });
    low.chain(high).collect()
}

/// The public area of `key` as an endorsement key, of the low range where there is one.
pub(crate) fn ek_area_of(key: &PublicKey) -> Area {
    let strong = Area::of(key).rest.len() > 300 || key.point().is_some_and(|(_, p)| p.len() > 65);
    let (name_algorithm, attributes, policy_digest, aes_bits) = match strong {
        false => (0x000b, 0x0003_00b2, POLICY_A_SHA256, 128),
        true => (0x000c, 0x0003_00f2, POLICY_B_SHA384, 256),
    };
    Area {
        name_algorithm,
        attributes,
        policy: policy(policy_digest),
        symmetric: vec![0x0006, aes_bits, 0x0043],
        ..Area::of(key)
    }
}

// As tpm2-tools print them.
const POLICY_A_SHA256: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
const POLICY_B_SHA256: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
const POLICY_B_SHA384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
                               cb47ba09699646150f9fc000f3f80e12";

fn policy(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

pub(crate) fn ecc_rest(curve: u16, coordinates: &[u8]) -> Vec<u8> {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    [words(&[curve, 0x0010]), sized(x), sized(y)].concat()
}

pub(crate) fn rsa_rest(exponent: u32, modulus: &[u8]) -> Vec<u8> {
    let bits = (modulus.len() * 8) as u16;
    [words(&[bits]), exponent.to_be_bytes().to_vec(), sized(modulus)].concat()
}

/// A P-256 key, another for every seed from 1 on.
pub(crate) fn p256_key(seed: u8) -> PublicKey {
    key_of(Curve::P256, &[seed; 32])
}

pub(crate) fn p384_key(seed: u8) -> PublicKey {
    key_of(Curve::P384, &[seed; 48])
}

/// The key with this private half.
pub(crate) fn key_of(curve: Curve, scalar: &[u8]) -> PublicKey {
    let key = PrivateKey::from_private_key(agreement_algorithm(curve), scalar).unwrap();
    let point = key.compute_public_key().unwrap();
    let (x, y) = point.as_ref()[1..].split_at(curve.field_len());
    PublicKey::ecc(curve, x, y).unwrap()
}

/// An RSA-2048 key of the right form, to which nobody has a private half.
pub(crate) fn rsa_2048_key() -> PublicKey {
    PublicKey::rsa(&[0xc5; 256]).unwrap()
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// The keys of a chip that never was: everything is as the scheme wants it, until a test
/// changes it. The attestation key's private half is [`p256_signing_key`] of 3.
#[derive(Clone)]
pub(crate) struct SoftChip {
    pub(crate) ek: Area,
    pub(crate) srk: Area,
    pub(crate) ak: Area,
    pub(crate) signing: Area,
    pub(crate) decryption: Area,
    pub(crate) serial: Area,
}

impl SoftChip {
    pub(crate) fn genuine() -> Self {
        let area = |seed, attributes, scheme: &[u16]| Area {
            attributes,
            scheme: scheme.to_vec(),
            ..Area::of(&p256_key(seed))
        };
        SoftChip {
            ek: ek_area_of(&p256_key(1)),
            srk: Area { symmetric: vec![0x0006, 128, 0x0043], ..area(2, 0x0003_0472, &[0x0010]) },
            ak: area(3, 0x0005_0472, &[0x0018, 0x000b]),
            signing: area(4, 0x0004_0472, &[0x0018, 0x000b]),
            decryption: area(5, 0x0002_0472, &[0x0019, 0x000b]),
            serial: area(6, 0x0002_0472, &[0x0019, 0x000b]),
        }
    }

    /// The attests of signing, decryption and serial key; the clock runs on in between.
    pub(crate) fn attests(
        &self,
        extra_data: impl Fn(Role, &Name, &Name) -> [u8; 32],
    ) -> [AttestFields; 3] {
        let name = |area: &Area| Name::of(HashAlgorithm::Sha256, &area.bytes());
        let srk = QualifiedName::primary(Hierarchy::Owner, &name(&self.srk));
        let endorsement = |name: &Name| QualifiedName::primary(Hierarchy::Endorsement, name);
        let ak = name(&self.ak);
        let attest = |role, area, minute: u64| {
            let name = name(area);
            let place = match role {
                Role::Serial => endorsement(&name),
                _ => srk.child(&name),
            };
            let mut fields = AttestFields::plain();
            fields.clock.clock_ms = minute * 60_000;
            fields.extra_data = extra_data(role, &ak, &name).to_vec();
            fields.qualified_signer = endorsement(&ak).as_bytes().to_vec();
            fields.name = name.as_bytes().to_vec();
            fields.qualified_name = place.as_bytes().to_vec();
            fields
        };
        [
            attest(Role::Signing, &self.signing, 1),
            attest(Role::Decryption, &self.decryption, 3),
            attest(Role::Serial, &self.serial, 2),
        ]
    }
}

/// A TPMS_ATTEST of TPM2_Certify in pieces.
#[derive(Clone)]
pub(crate) struct AttestFields {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) qualified_signer: Vec<u8>,
    pub(crate) extra_data: Vec<u8>,
    pub(crate) clock: ClockInfo,
    pub(crate) safe: u8,
    pub(crate) firmware_version: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) qualified_name: Vec<u8>,
}

impl AttestFields {
    /// One that says nothing in particular.
    pub(crate) fn plain() -> Self {
        AttestFields {
            magic: 0xff54_4347,
            kind: 0x8017,
            qualified_signer: vec![1; 34],
            extra_data: vec![2; 32],
            clock: ClockInfo { clock_ms: 1000, reset_count: 3, restart_count: 2, safe: true },
            safe: 1,
            firmware_version: 0x0007_0001,
            name: vec![3; 34],
            qualified_name: vec![4; 34],
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [
            self.magic.to_be_bytes().to_vec(),
            words(&[self.kind]),
            sized(&self.qualified_signer),
            sized(&self.extra_data),
            self.clock.clock_ms.to_be_bytes().to_vec(),
            self.clock.reset_count.to_be_bytes().to_vec(),
            self.clock.restart_count.to_be_bytes().to_vec(),
            vec![self.safe],
            self.firmware_version.to_be_bytes().to_vec(),
            sized(&self.name),
            sized(&self.qualified_name),
        ]
        .concat()
    }
}

/// A TPMT_SIGNATURE of ECDSA with SHA-256.
pub(crate) fn ecdsa_signature(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    let value = key.sign(&SystemRandom::new(), message).unwrap();
    let (r, s) = value.as_ref().split_at(32);
    [words(&[0x0018, 0x000b]), sized(r), sized(s)].concat()
}

/// The key pair whose public half is [`p256_key`] of the same seed.
pub(crate) fn p256_signing_key(seed: u8) -> EcdsaKeyPair {
    let key = p256_key(seed);
    let (_, point) = key.point().unwrap();
    EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &[seed; 32],
        point,
    )
    .unwrap()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
