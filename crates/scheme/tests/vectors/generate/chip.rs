//! A chip made of test keys: public areas and attests by hand, to be wrong in one place.

use crate::crypto::{Key, sha256};
use crate::parties::Parties;

/// A TPMT_PUBLIC in pieces (TPM 2.0 Part 2 section 12.2.4).
#[derive(Clone)]
pub struct Area {
    pub kind: u16,
    pub name_algorithm: u16,
    pub attributes: u32,
    pub policy: Vec<u8>,
    pub symmetric: Vec<u16>,
    pub scheme: Vec<u16>,
    /// What follows the scheme: the rest of the parameters, and the key.
    pub rest: Vec<u8>,
}

impl Area {
    /// Of an elliptic-curve key: a child that signs, not bound to anything.
    pub fn ecc(curve: u16, coordinates: &[u8]) -> Area {
        Area {
            kind: 0x0023,
            name_algorithm: 0x000b,
            attributes: 0x0004_0472,
            policy: vec![],
            symmetric: vec![0x0010],
            scheme: vec![0x0010],
            rest: ecc_rest(curve, coordinates),
        }
    }

    pub fn p256(key: &Key) -> Area {
        Area::ecc(0x0003, &key.point()[1..])
    }

    pub fn rsa(modulus: &[u8]) -> Area {
        Area { kind: 0x0001, rest: rsa_rest(0, modulus), ..Area::ecc(0x0003, &[]) }
    }

    /// As an endorsement key of the low range (EK profile, templates L-1 and L-2), or of P-384
    /// or RSA-3072 in the high range.
    pub fn endorsement(self) -> Area {
        let strong = self.rest.len() > 300 || self.rest[1] == 4;
        let (name_algorithm, attributes, policy, bits) = match strong {
            false => (0x000b, 0x0003_00b2, POLICY_A, 128),
            true => (0x000c, 0x0003_00f2, POLICY_B_384, 256),
        };
        let policy = crate::format::unhex(policy);
        Area { name_algorithm, attributes, policy, symmetric: vec![6, bits, 0x43], ..self }
    }

    /// As an endorsement key of the high range (templates H-1 and H-2).
    pub fn high(self) -> Area {
        let policy = crate::format::unhex(POLICY_B);
        Area { attributes: 0x0003_00f2, policy, ..self.endorsement() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = words(&[self.kind, self.name_algorithm]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(sized(&self.policy));
        out.extend(words(&self.symmetric));
        out.extend(words(&self.scheme));
        out.extend(&self.rest);
        out
    }

    /// The Name with SHA-256 (Part 1 section 16).
    pub fn name(&self) -> Vec<u8> {
        assert_eq!(self.name_algorithm, 0x000b);
        [&[0x00, 0x0b][..], &sha256(self.bytes())].concat()
    }
}

const POLICY_A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
const POLICY_B: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
const POLICY_B_384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
                            cb47ba09699646150f9fc000f3f80e12";

pub fn ecc_rest(curve: u16, coordinates: &[u8]) -> Vec<u8> {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    [words(&[curve, 0x0010]), sized(x), sized(y)].concat()
}

pub fn rsa_rest(exponent: u32, modulus: &[u8]) -> Vec<u8> {
    let bits = (modulus.len() * 8) as u16;
    [words(&[bits]), exponent.to_be_bytes().to_vec(), sized(modulus)].concat()
}

/// A TPM2B: the length, and the bytes.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The public areas of the device's keys.
#[derive(Clone)]
pub struct Chip {
    pub ek: Area,
    pub srk: Area,
    pub ak: Area,
    pub signing: Area,
    pub decryption: Area,
    pub serial: Area,
    ak_key: Key,
}

/// The roles of certified keys, in the order of a claim.
pub const ROLES: [&str; 3] = ["sig", "dec", "ser"];

impl Chip {
    pub fn new(p: &Parties) -> Chip {
        let ak_key = Key::new("attestation key");
        let area = |key: &Key, attributes, scheme: &[u16]| Area {
            attributes,
            scheme: scheme.to_vec(),
            ..Area::p256(key)
        };
        let srk = area(&Key::new("storage root key"), 0x0003_0472, &[0x0010]);
        Chip {
            ek: Area::p256(&p.endorsement).endorsement(),
            srk: Area { symmetric: vec![6, 128, 0x43], ..srk },
            ak: area(&ak_key, 0x0005_0472, &[0x0018, 0x000b]),
            signing: area(&p.signing, 0x0004_0472, &[0x0018, 0x000b]),
            decryption: area(&p.decryption, 0x0002_0472, &[0x0019, 0x000b]),
            serial: area(&p.serial_key, 0x0002_0472, &[0x0019, 0x000b]),
            ak_key,
        }
    }

    pub fn certified(&self) -> [&Area; 3] {
        [&self.signing, &self.decryption, &self.serial]
    }

    /// What the AK says of the key in a role; the clock runs on in between.
    pub fn attest(&self, role: usize, extra_data: &[u8]) -> Attest {
        let name = name_of(self.certified()[role]);
        let endorsement = |name: &[u8]| qualified(&0x4000_000bu32.to_be_bytes(), name);
        let srk = qualified(&0x4000_0001u32.to_be_bytes(), &name_of(&self.srk));
        Attest {
            magic: 0xff54_4347,
            kind: 0x8017,
            qualified_signer: endorsement(&name_of(&self.ak)),
            extra_data: extra_data.to_vec(),
            clock_ms: 60_000 + role as u64,
            reset_count: 3,
            restart_count: 2,
            safe: 1,
            firmware_version: 0x0007_0001,
            qualified_name: if role == 2 { endorsement(&name) } else { qualified(&srk, &name) },
            name,
        }
    }

    /// TPMT_SIGNATURE of the AK.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        ecdsa(&self.ak_key, message)
    }
}

/// The Name of an area, whatever its algorithm says: as if it were SHA-256.
fn name_of(area: &Area) -> Vec<u8> {
    [&[0x00, 0x0b][..], &sha256(area.bytes())].concat()
}

pub fn qualified(parent: &[u8], name: &[u8]) -> Vec<u8> {
    [&[0x00, 0x0b][..], &sha256([parent, name].concat())].concat()
}

/// TPMT_SIGNATURE of ECDSA with SHA-256 (Part 2 section 11.3.4).
pub fn ecdsa(key: &Key, message: &[u8]) -> Vec<u8> {
    let signature = key.sign(message);
    let (r, s) = signature.split_at(32);
    [words(&[0x0018, 0x000b]), sized(r), sized(s)].concat()
}

/// A TPMS_ATTEST of TPM2_Certify in pieces (Part 2 section 10.12).
#[derive(Clone)]
pub struct Attest {
    pub magic: u32,
    pub kind: u16,
    pub qualified_signer: Vec<u8>,
    pub extra_data: Vec<u8>,
    pub clock_ms: u64,
    pub reset_count: u32,
    pub restart_count: u32,
    pub safe: u8,
    pub firmware_version: u64,
    pub name: Vec<u8>,
    pub qualified_name: Vec<u8>,
}

impl Attest {
    pub fn bytes(&self) -> Vec<u8> {
        [
            self.magic.to_be_bytes().to_vec(),
            words(&[self.kind]),
            sized(&self.qualified_signer),
            sized(&self.extra_data),
            self.clock_ms.to_be_bytes().to_vec(),
            self.reset_count.to_be_bytes().to_vec(),
            self.restart_count.to_be_bytes().to_vec(),
            vec![self.safe],
            self.firmware_version.to_be_bytes().to_vec(),
            sized(&self.name),
            sized(&self.qualified_name),
        ]
        .concat()
    }
}
