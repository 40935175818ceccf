//! The keys of a claim: an endorsement key, and keys that one chip has certified.

use super::chip::{Area, Attest, Chip, ROLES, ecdsa, qualified};
use super::last_changed;
use super::tpm::modulus;
use crate::crypto::{Key, drawn, sha256};
use crate::format::{Field, Vector, bytes};
use crate::parties::Parties;
use crate::wire::{array, bstr, tstr};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    [good(p), serials(p), areas(p), attests(p), epoch_attests(p)].concat()
}

/// SHA-256 of the challenge that the certifications are for.
fn m0_hash() -> [u8; 32] {
    drawn("the challenge of the certifications")
}

/// extraData of a certification at enrolment.
pub fn certify(p: &Parties, m0: [u8; 32], role: &str, ak: &[u8], name: &[u8]) -> [u8; 32] {
    sha256(array(&[
        tstr("twinseal-certify-v1"),
        tstr(role),
        bstr(m0),
        bstr(p.server_id()),
        bstr(p.serial()),
        bstr(ak),
        bstr(name),
    ]))
}

/// Attests and signatures of a chip's three keys, for one challenge.
pub fn certifications(p: &Parties, chip: &Chip, m0: [u8; 32]) -> [(Vec<u8>, Vec<u8>); 3] {
    [0, 1, 2].map(|role| {
        let attest = certification(p, chip, m0, role).bytes();
        let signature = chip.sign(&attest);
        (attest, signature)
    })
}

fn certification(p: &Parties, chip: &Chip, m0: [u8; 32], role: usize) -> Attest {
    let ak = [&[0x00, 0x0b][..], &sha256(chip.ak.bytes())].concat();
    let name = chip.attest(role, &[]).name;
    chip.attest(role, &certify(p, m0, ROLES[role], &ak, &name))
}

/// The claim of the right chip: what vectors share.
pub fn shared(p: &Parties) -> Vec<Field> {
    let chip = Chip::new(p);
    claim(&chip, &certifications(p, &chip, m0_hash()))
}

fn claim(chip: &Chip, certifications: &[(Vec<u8>, Vec<u8>); 3]) -> Vec<Field> {
    let mut fields = vec![
        bytes("m0-hash", m0_hash()),
        bytes("ek-public", chip.ek.bytes()),
        bytes("srk-public", chip.srk.bytes()),
        bytes("ak-public", chip.ak.bytes()),
    ];
    for (role, name) in ["signing", "decryption", "serial-key"].iter().enumerate() {
        let (attest, signature) = &certifications[role];
        fields.extend([
            bytes(&format!("{name}-public"), chip.certified()[role].bytes()),
            bytes(&format!("{name}-attest"), attest),
            bytes(&format!("{name}-attest-signature"), signature),
        ]);
    }
    fields
}

/// Only what is not as the right chip has it.
fn vector(p: &Parties, chip: &Chip, certifications: &[(Vec<u8>, Vec<u8>); 3]) -> Vector {
    let shared = shared(p);
    let mut fields = claim(chip, certifications);
    fields.retain(|field| !shared.contains(field));
    Vector::good("device-keys", "", "device-keys", fields).with("parties chip")
}

pub fn of(p: &Parties, chip: &Chip) -> Vector {
    vector(p, chip, &certifications(p, chip, m0_hash()))
}

fn good(p: &Parties) -> Vec<Vector> {
    let chip = Chip::new(p);
    let mut good = of(p, &chip);
    good.name = "good".into();
    good.fields.extend([
        bytes("out-srk-name", chip.srk.name()),
        bytes("out-ak-name", chip.ak.name()),
        bytes("out-signing-name", chip.signing.name()),
        bytes("out-signing-spki", p.signing.spki()),
        bytes("out-decryption-name", chip.decryption.name()),
        bytes("out-decryption-spki", p.decryption.spki()),
        bytes("out-serial-key-name", chip.serial.name()),
        bytes("out-serial-key-spki", p.serial_key.spki()),
    ]);
    vec![good]
}

/// Serials of endorsement keys, and what is refused of them.
fn serials(p: &Parties) -> Vec<Vector> {
    let vector = |name: &str, area: &Area, serial: [u8; 32]| {
        let fields = vec![bytes("ek-public", area.bytes()), bytes("out-serial", serial)];
        Vector::good("serial", name, "serial-of-ek", fields)
    };
    let hashed = |key: &[u8]| sha256([b"twinseal/S/v1\0", key].concat());
    let rsa = |name: &str, area: Area, len: usize| {
        let bits = ((len * 8) as u16).to_be_bytes();
        let key = [&[0, 1][..], &bits, &modulus(len), &[0, 1, 0, 1]].concat();
        vector(name, &area, hashed(&key))
    };
    let p384 = p384_point();
    let p384_area = Area::ecc(0x0004, &p384[1..]).endorsement();
    let p256 = Area::p256(&p.endorsement);
    let mut vectors = vec![
        vector("p256-low", &p256.clone().endorsement(), p.serial()),
        vector("p256-high", &p256.clone().high(), p.serial()),
        vector("p384", &p384_area, hashed(&[&[0, 0x23, 0, 4][..], &p384[1..]].concat())),
        rsa("rsa-2048-low", Area::rsa(&modulus(256)).endorsement(), 256),
        rsa("rsa-2048-high", Area::rsa(&modulus(256)).high(), 256),
        rsa("rsa-3072", Area::rsa(&modulus(384)).endorsement(), 384),
    ];
    let refused = |expect: &str, rule: &str, fault: &str, area: Area| {
        vector("", &area, [0; 32]).refused(expect, &format!("ek-{rule}"), fault)
    };
    let ek = p256.endorsement();
    let changed = |change: fn(&mut Area)| {
        let mut area = ek.clone();
        change(&mut area);
        area
    };
    let roca = Area::rsa(&fingerprinted()).endorsement();
    vectors.extend([
        refused("ek-kind", "rsa-4096", "an RSA-4096 key", Area::rsa(&modulus(512)).endorsement()),
        refused("ek-kind", "sha384", "SHA-384 as the name algorithm of a P-256 key", {
            changed(|a| (a.name_algorithm, a.policy) = (0x000c, vec![0; 48]))
        }),
        refused("ek-attributes", "attributes", "fixedParent clear", {
            changed(|a| a.attributes ^= 1 << 4)
        }),
        refused(
            "ek-attributes",
            "sign",
            "a key that signs too",
            changed(|a| a.attributes |= 1 << 18),
        ),
        refused("ek-policy", "policy", "another policy", changed(|a| a.policy[0] ^= 1)),
        refused("ek-policy", "no-policy", "no policy", changed(|a| a.policy.clear())),
        refused("ek-symmetric", "symmetric", "AES-256 in place of AES-128", {
            changed(|a| a.symmetric[1] = 256)
        }),
        refused("ek-scheme", "scheme", "bound to ECDH", changed(|a| a.scheme = vec![0x19, 0x0b])),
        refused("ek-roca", "roca", "a modulus with the fingerprint of CVE-2017-15361", roca),
    ]);
    let chip = Chip::new(p);
    let mut other = of(p, &chip);
    other.fields.push(bytes("serial", last_changed(&p.serial())));
    vectors.push(other.refused(
        "wrong-serial",
        "serial",
        "another serial than the key's is stated",
    ));
    vectors
}

pub fn p384_point() -> Vec<u8> {
    use aws_lc_rs::agreement::{ECDH_P384, PrivateKey};
    let scalar: [u8; 48] = drawn("endorsement P-384");
    let key = PrivateKey::from_private_key(&ECDH_P384, &scalar).unwrap();
    key.compute_public_key().unwrap().as_ref().to_vec()
}

/// An odd number of 2,048 bits that is a power of 65537 modulo all small primes, as the moduli
/// of the flawed generator are.
pub fn fingerprinted() -> Vec<u8> {
    use rsa::BigUint;
    let prime = |n: &u32| (2..*n).all(|d| !n.is_multiple_of(d));
    let product: BigUint = (3u32..=167).filter(prime).map(BigUint::from).product();
    let power = BigUint::from(65537u32).modpow(&BigUint::from(1_234_567u32), &product);
    let top = (BigUint::from(1u32) << 2047usize) / &product + 1u32;
    let number = &top * &product + &power;
    let odd = if number.to_bytes_be()[255] & 1 == 1 { number } else { number + product };
    odd.to_bytes_be()
}

type Pick = fn(&mut Chip) -> &mut Area;

/// The other keys, each with what its reasons begin with.
const KEYS: [(&str, Pick); 5] = [
    ("srk", |chip| &mut chip.srk),
    ("ak", |chip| &mut chip.ak),
    ("signing", |chip| &mut chip.signing),
    ("decryption", |chip| &mut chip.decryption),
    ("serial-key", |chip| &mut chip.serial),
];

/// TPMA_OBJECT (Part 2 section 8.3), and the highest of the reserved bits.
const ATTRIBUTES: [(u32, &str); 13] = [
    (1, "fixed-tpm"),
    (2, "st-clear"),
    (4, "fixed-parent"),
    (5, "sensitive-data-origin"),
    (6, "user-with-auth"),
    (7, "admin-with-policy"),
    (10, "no-da"),
    (11, "encrypted-duplication"),
    (16, "restricted"),
    (17, "decrypt"),
    (18, "sign"),
    (19, "x509-sign"),
    (31, "reserved"),
];

/// Public areas that are not as they must be, and certified as they then are.
fn areas(p: &Parties) -> Vec<Vector> {
    let p384 = p384_point();
    let mut vectors = Vec::new();
    for (key, pick) in KEYS {
        let refused = |what: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Area)| {
            let mut chip = Chip::new(p);
            change(pick(&mut chip));
            of(p, &chip).refused(&format!("{key}-{what}"), &format!("{key}-{rule}"), fault)
        };
        vectors.extend([
            refused("kind", "p384", "a key on P-384", &|a| {
                a.rest = Area::ecc(0x0004, &p384[1..]).rest;
            }),
            refused("kind", "rsa-3072", "an RSA-3072 key", &|a| {
                (a.kind, a.rest) = (0x0001, Area::rsa(&modulus(384)).rest);
            }),
            refused("kind", "sha384", "SHA-384 as name algorithm", &|a| a.name_algorithm = 0x000c),
            refused("policy", "policy", "a policy", &|a| a.policy = vec![0; 32]),
            refused("scheme", "scheme", "bound to OAEP", &|a| a.scheme = vec![0x17, 0x0b]),
            refused("scheme", "symmetric", "AES-256", &|a| a.symmetric = vec![6, 256, 0x43]),
        ]);
        for (bit, name) in ATTRIBUTES {
            let fault = format!("the attribute {name} the other way");
            let rule = format!("attribute-{name}");
            vectors.push(refused("attributes", &rule, &fault, &|a| a.attributes ^= 1 << bit));
        }
    }
    let mut twice = Chip::new(p);
    twice.serial = twice.decryption.clone();
    let fault = "the decryption key as serial key too";
    vectors.push(of(p, &twice).refused("names-not-distinct", "names", fault));
    vectors
}

/// Attests that are not as they must be, and signed as they then are.
fn attests(p: &Parties) -> Vec<Vector> {
    let chip = Chip::new(p);
    let good = certifications(p, &chip, m0_hash());
    let mut vectors = Vec::new();
    for (role, word) in ROLES.iter().enumerate() {
        let signed = |expect: &str, rule: &str, fault: &str, attest: Attest| {
            let mut certifications = good.clone();
            let attest = attest.bytes();
            certifications[role] = (attest.clone(), chip.sign(&attest));
            vector(p, &chip, &certifications).refused(expect, &format!("{word}-{rule}"), fault)
        };
        let refused = |expect: &str, rule: &str, fault: &str, change: fn(&mut Attest)| {
            let mut attest = certification(p, &chip, m0_hash(), role);
            change(&mut attest);
            signed(expect, rule, fault, attest)
        };
        let elsewhere = [&[0x40, 0, 0, 0x01][..], &[0x40, 0, 0, 0x0b]][usize::from(role < 2)];
        let mut misplaced = certification(p, &chip, m0_hash(), role);
        misplaced.qualified_name = qualified(elsewhere, &misplaced.name);
        let other_role = certification(p, &chip, m0_hash(), role);
        let other_role = Attest {
            extra_data: certify(
                p,
                m0_hash(),
                ROLES[(role + 1) % 3],
                &chip.ak.name(),
                &other_role.name,
            )
            .to_vec(),
            ..other_role
        };
        let other_m0 = certification(p, &chip, [0; 32], role);
        let mut forged = good.clone();
        forged[role].1 = ecdsa(&Key::new("another chip's attestation key"), &good[role].0);
        let mut rescheme = good.clone();
        rescheme[role].1[3] = 0x0c;
        let extra = "attest-extra-data";
        vectors.extend([
            refused("attest-magic", "magic", "another magic", |a| a.magic ^= 1),
            refused("attest-type", "creation", "a creation attest", |a| a.kind = 0x801a),
            refused("attest-type", "quote", "a quote", |a| a.kind = 0x8018),
            refused(extra, "no-extra-data", "no extraData", |a| a.extra_data.clear()),
            signed(extra, "other-role", "the extraData of another role", other_role),
            signed(extra, "other-challenge", "the extraData of another challenge", other_m0),
            refused("attest-name", "name", "another Name", |a| a.name[33] ^= 1),
            refused("attest-qualified-name", "qualified-name", "another qualified Name", |a| {
                a.qualified_name[33] ^= 1;
            }),
            signed("attest-qualified-name", "elsewhere", "the key hangs elsewhere", misplaced),
            refused("attest-signer", "signer", "another qualified signer", |a| {
                a.qualified_signer[33] ^= 1;
            }),
            vector(p, &chip, &forged).refused(
                "attest-signature",
                &format!("{word}-forged"),
                "signed by another chip",
            ),
            vector(p, &chip, &rescheme).refused(
                "attest-scheme",
                &format!("{word}-scheme"),
                "a signature that says SHA-384",
            ),
        ]);
    }
    vectors
}

/// The attest of an epoch-open.
fn epoch_attests(p: &Parties) -> Vec<Vector> {
    let chip = Chip::new(p);
    let extra_data: [u8; 32] = drawn("extraData of an epoch-open");
    let vector = |attest: &Attest| {
        let attest = attest.bytes();
        let fields = vec![
            bytes("ak-public", chip.ak.bytes()),
            bytes("srk-name", chip.srk.name()),
            bytes("signing-name", chip.signing.name()),
            bytes("attest", &attest),
            bytes("attest-signature", chip.sign(&attest)),
            bytes("extra-data", extra_data),
        ];
        Vector::good("epoch-attest", "", "epoch-attest", fields)
    };
    let attest = chip.attest(0, &extra_data);
    let refused = |expect: &str, rule: &str, fault: &str, change: fn(&mut Attest)| {
        let mut attest = attest.clone();
        change(&mut attest);
        vector(&attest).refused(expect, rule, fault)
    };
    let mut good = vector(&attest);
    good.name = "good".into();
    let clock = format!("{} {} {}", attest.reset_count, attest.restart_count, attest.clock_ms);
    good.fields.push(("out-clock".into(), clock));
    vec![
        good,
        refused("attest-extra-data", "extra-data", "of another epoch", |a| a.extra_data[0] ^= 1),
        refused("attest-name", "name", "of another key", |a| a.name[9] ^= 1),
        refused("attest-qualified-name", "place", "of a key elsewhere", |a| {
            a.qualified_name[9] ^= 1;
        }),
        refused("attest-type", "quote", "a quote", |a| a.kind = 0x8018),
    ]
}
