//! TPM structures by themselves: public areas, attests, signatures; and hardware serials.

use super::chip::{Area, Attest, Chip, ecc_rest, ecdsa, rsa_rest, sized};
use super::{changed, last_changed};
use crate::crypto::{Key, sha256};
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;

pub fn vectors(p: &Parties) -> Vec<Vector> {
    [publics(p), bad_publics(p), attests(p), signatures(p), token_serials()].concat()
}

/// An odd number that is no product of two known primes; nobody has a private key.
pub fn modulus(len: usize) -> Vec<u8> {
    vec![0xc5; len]
}

fn public(area: &[u8]) -> Vector {
    Vector::good("tpm-public", "", "tpm-public", vec![bytes("public", area)])
}

fn publics(p: &Parties) -> Vec<Vector> {
    let chip = Chip::new(p);
    let rsa = Area { scheme: vec![0x0014, 0x000b], ..Area::rsa(&modulus(256)) };
    // A coordinate whose first byte is zero may be written without it: another Name, one key.
    let short_key =
        (0..).map(|n| Key::new(&format!("short {n}"))).find(|key| key.x()[0] == 0).unwrap();
    let mut short = Area::p256(&short_key);
    short.rest =
        [&[0, 3, 0, 0x10][..], &sized(&short_key.x()[1..]), &sized(&short_key.y())].concat();
    let good = |name: &str, area: &Area, spki: Vec<u8>| {
        let mut vector = public(&area.bytes());
        vector.name = name.into();
        vector.fields.extend([bytes("out-name", area.name()), bytes("out-spki", spki)]);
        vector
    };
    vec![
        good("ak", &chip.ak, Key::new("attestation key").spki()),
        good("signing", &chip.signing, p.signing.spki()),
        good("decryption", &chip.decryption, p.decryption.spki()),
        good("short-x", &short, short_key.spki()),
        good("rsa", &rsa, rsa_spki(&modulus(256))),
        good("rsa-exponent-stated", &Area { rest: rsa_rest(65537, &modulus(256)), ..rsa }, {
            rsa_spki(&modulus(256))
        }),
    ]
}

/// SubjectPublicKeyInfo of an RSA-2048 key whose first byte is over 0x7f (RFC 3279).
pub fn rsa_spki(modulus: &[u8]) -> Vec<u8> {
    let prefix =
        crate::format::unhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100");
    [&prefix[..], modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat()
}

fn bad_publics(p: &Parties) -> Vec<Vector> {
    let area = Chip::new(p).ak;
    let good = area.bytes();
    let point = Key::new("attestation key").point();
    let (x, y) = point[1..].split_at(32);
    let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Area)| {
        let mut area = area.clone();
        change(&mut area);
        public(&area.bytes()).refused(expect, rule, fault)
    };
    let rsa = |expect: &str, rule: &str, fault: &str, rest: Vec<u8>| {
        public(&Area { rest, ..Area::rsa(&modulus(256)) }.bytes()).refused(expect, rule, fault)
    };
    let ecc = |x: &[u8], y: &[u8]| [&[0, 3, 0, 0x10][..], &sized(x), &sized(y)].concat();
    let (algorithm, size) = ("tpm-algorithm", "tpm-size");
    let [even, small] = [last_changed(&modulus(256)), changed_top(&modulus(256))];
    vec![
        public(&good[..good.len() - 1]).refused("tpm-short", "short", "the last byte missing"),
        public(&[]).refused("tpm-short", "empty", "no bytes"),
        public(&[&good[..], &[0]].concat()).refused("tpm-trailing", "trailing", "a byte behind"),
        public(&sized(&good)).refused(algorithm, "sized", "a size in front"),
        refused(algorithm, "kind", "a keyed hash", &|a| a.kind = 0x0008),
        refused(algorithm, "name-sha1", "SHA-1 as name algorithm", &|a| a.name_algorithm = 4),
        refused(algorithm, "aes-192", "AES-192", &|a| a.symmetric = vec![6, 192, 0x43]),
        refused(algorithm, "aes-ctr", "AES in counter mode", &|a| a.symmetric = vec![6, 128, 0x40]),
        refused(algorithm, "ecdaa", "ECDAA as scheme", &|a| a.scheme = vec![0x1a, 0x0b, 0]),
        refused(algorithm, "scheme-sha1", "ECDSA with SHA-1", &|a| a.scheme = vec![0x18, 4]),
        refused(algorithm, "p521", "the curve P-521", &|a| a.rest = ecc_rest(5, &[1; 132])),
        refused(algorithm, "kdf", "a key derivation scheme", &|a| a.rest[3] = 0x20),
        refused(size, "policy-31", "a policy of 31 bytes", &|a| a.policy = vec![0; 31]),
        refused(size, "policy-48", "a policy of 48 bytes", &|a| a.policy = vec![0; 48]),
        refused(size, "x-33", "an X coordinate of 33 bytes", &|a| {
            a.rest = ecc(&[&[0], x].concat(), y);
        }),
        refused(size, "y-empty", "no Y coordinate", &|a| a.rest = ecc(x, &[])),
        refused("bad-point", "point-off", "a point off the curve", &|a| {
            a.rest = ecc(x, &last_changed(y));
        }),
        refused("bad-point", "point-zero", "zeros as coordinates", &|a| a.rest = ecc(&[0], &[0])),
        refused("bad-point", "point-p384", "P-256 coordinates on P-384", &|a| a.rest[1] = 4),
        rsa("rsa-exponent", "exponent-3", "the exponent 3", rsa_rest(3, &modulus(256))),
        rsa("rsa-exponent", "exponent-1", "the exponent 1", rsa_rest(1, &modulus(256))),
        rsa("rsa-modulus", "modulus-even", "an even modulus", rsa_rest(0, &even)),
        rsa("rsa-modulus", "modulus-small", "a modulus of 2,047 bits", rsa_rest(0, &small)),
        rsa("rsa-modulus", "modulus-1024", "a modulus of 1,024 bits", rsa_rest(0, &modulus(128))),
        rsa(size, "bits", "bits that are not those of the modulus", {
            changed(&rsa_rest(0, &modulus(256)), 0)
        }),
        rsa(size, "modulus-8192", "a modulus of 8,192 bits", rsa_rest(0, &modulus(1024))),
    ]
}

/// Without its highest bit.
fn changed_top(bytes: &[u8]) -> Vec<u8> {
    [&[bytes[0] & 0x7f], &bytes[1..]].concat()
}

fn attests(p: &Parties) -> Vec<Vector> {
    let attest = Chip::new(p).attest(0, &[2; 32]);
    let vector =
        |attest: &[u8]| Vector::good("tpm-attest", "", "tpm-attest", vec![bytes("attest", attest)]);
    let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Attest)| {
        let mut attest = attest.clone();
        change(&mut attest);
        vector(&attest.bytes()).refused(expect, rule, fault)
    };
    let good = attest.bytes();
    let mut accepted = vector(&good);
    accepted.name = "good".into();
    accepted.fields.extend([
        bytes("out-qualified-signer", &attest.qualified_signer),
        bytes("out-extra-data", &attest.extra_data),
        word("out-clock", format!("{} {} {}", 3, 2, attest.clock_ms)),
        word("out-safe", 1),
        word("out-firmware-version", attest.firmware_version),
        bytes("out-name", &attest.name),
        bytes("out-qualified-name", &attest.qualified_name),
    ]);
    let mut vectors = vec![
        accepted,
        vector(&good[..good.len() - 1]).refused("tpm-short", "short", "the last byte missing"),
        vector(&[&good[..], &[0]].concat()).refused("tpm-trailing", "trailing", "a byte behind"),
        refused("attest-magic", "magic", "another magic", &|a| a.magic ^= 1),
        refused("tpm-yes-no", "safe-2", "a clock that is neither safe nor not", &|a| a.safe = 2),
        refused("tpm-size", "name-67", "a Name of 67 bytes", &|a| a.name = vec![0; 67]),
        refused("tpm-size", "extra-67", "67 bytes of extraData", &|a| a.extra_data = vec![0; 67]),
    ];
    let kinds = [
        (0x8014, "nv"),
        (0x8015, "command-audit"),
        (0x8016, "session-audit"),
        (0x8018, "quote"),
        (0x8019, "time"),
        (0x801a, "creation"),
        (0x801c, "nv-digest"),
    ];
    vectors.extend(kinds.map(|(kind, name)| {
        let fault = format!("an attest of the type {name}");
        refused("attest-type", &format!("type-{name}"), &fault, &|a| a.kind = kind)
    }));
    vectors
}

fn signatures(p: &Parties) -> Vec<Vector> {
    let chip = Chip::new(p);
    let message = b"\xffTCG, an attest";
    let good = chip.sign(message);
    let vector = |area: &Area, signature: &[u8]| {
        let fields = vec![
            bytes("public", area.bytes()),
            bytes("message", message),
            bytes("signature", signature),
        ];
        Vector::good("tpm-signature", "", "tpm-signature", fields)
    };
    let refused = |expect: &str, rule: &str, fault: &str, signature: Vec<u8>| {
        vector(&chip.ak, &signature).refused(expect, rule, fault)
    };
    let high = Key::new("attestation key").sign_high(message);
    let high = [&good[..4], &sized(&high[..32]), &sized(&high[32..])].concat();
    let with_scheme = |scheme: &[u16]| Area { scheme: scheme.to_vec(), ..chip.ak.clone() };
    let mut accepted = vector(&chip.ak, &good);
    accepted.name = "good".into();
    let mut accepted_high = vector(&chip.ak, &high);
    accepted_high.name = "high-s".into();
    let (scheme, signature) = ("attest-scheme", "attest-signature");
    let stranger = Key::new("another chip's attestation key");
    vec![
        accepted,
        accepted_high,
        refused("tpm-short", "short", "the last byte missing", good[..good.len() - 1].to_vec()),
        refused("tpm-trailing", "trailing", "a byte behind", [&good[..], &[0]].concat()),
        refused("tpm-algorithm", "oaep", "a scheme that signs nothing", vec![0, 0x17, 0, 0x0b]),
        refused("tpm-algorithm", "hmac", "an HMAC", vec![0, 0x05, 0, 0x0b]),
        refused("tpm-size", "r-49", "an r of 49 bytes", {
            [&good[..4], &sized(&[1; 49]), &sized(&[1; 32])].concat()
        }),
        refused(signature, "r-48", "an r longer than the curve's order", {
            [&good[..4], &sized(&[1; 48]), &sized(&[1; 32])].concat()
        }),
        refused(signature, "changed", "a bit of s changed", last_changed(&good)),
        refused(signature, "signer", "by another chip", ecdsa(&stranger, message)),
        refused(scheme, "sha384", "with SHA-384", [&[0, 0x18, 0, 0x0c], &good[4..]].concat()),
        vector(&with_scheme(&[0x0010]), &good).refused(
            scheme,
            "unbound",
            "by a key that is not bound to a scheme",
        ),
    ]
}

fn token_serials() -> Vec<Vector> {
    let vector = |fields: [&str; 3]| {
        let keys = ["manufacturer", "model", "serial"];
        let fields = keys.iter().zip(fields).map(|(key, value)| bytes(key, value)).collect();
        Vector::good("serial", "", "serial-of-token", fields)
    };
    let serial = sha256(b"twinseal/S/token/v1\0\x83\x66Vendor\x65Model\x640042");
    let good = |name: &str, fields: [&str; 3]| {
        let mut vector = vector(fields);
        vector.name = name.into();
        vector.fields.push(bytes("out-serial", serial));
        vector
    };
    vec![
        good("token", ["Vendor", "Model", "0042"]),
        good("token-padded", ["Vendor      ", "Model\0\0\0", "  0042  "]),
        vector(["Vendor", "Model", "    "]).refused(
            "token-serial-empty",
            "token-empty",
            "a serial of spaces",
        ),
        vector(["Vendor", "Model", "0000 "]).refused(
            "token-serial-zero",
            "token-zero",
            "a serial of zeros",
        ),
    ]
}
