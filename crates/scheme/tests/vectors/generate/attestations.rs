//! Attestations of an application's key.

use super::chip::{Area, Attest, Chip, ecdsa, qualified};
use super::device_keys::fingerprinted;
use crate::crypto::{Key, drawn, sha256};
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{array, bstr, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    [good(p), areas(p), attests(p), forms(p)].concat()
}

fn nonce() -> [u8; 32] {
    drawn("the nonce of who asks for an attestation")
}

/// All that a device hands over, to be wrong in one place.
#[derive(Clone)]
struct Told {
    parent: Area,
    key: Area,
    ak: Area,
    attest: Attest,
}

impl Told {
    /// As the chip tells it of this key.
    fn of(p: &Parties, parent: Area, key: Area) -> Told {
        let chip = Chip::new(p);
        let name = |area: &Area| [&[0x00, 0x0b][..], &sha256(area.bytes())].concat();
        let place = qualified(&0x4000_0001u32.to_be_bytes(), &name(&parent));
        let extra_data = sha256(array(&[tstr("twinseal-attest-v1"), bstr(nonce())]));
        let mut attest = chip.attest(0, &extra_data);
        attest.name = name(&key);
        attest.qualified_name = qualified(&place, &attest.name);
        Told { parent, key, ak: chip.ak, attest }
    }

    fn vector(&self, p: &Parties) -> Vector {
        self.signed_by(p, &Key::new("attestation key"))
    }

    fn signed_by(&self, p: &Parties, signer: &Key) -> Vector {
        let attest = self.attest.bytes();
        let attestation = array(&[
            tstr("twinseal-attestation-v1"),
            bstr(p.server_id()),
            bstr(drawn::<16>("an attested device")),
            uint(3),
            bstr(self.parent.bytes()),
            bstr(self.key.bytes()),
            bstr(&attest),
            bstr(ecdsa(signer, &attest)),
        ]);
        let fields = vec![
            bytes("attestation", attestation),
            bytes("nonce", nonce()),
            bytes("ak-public", self.ak.bytes()),
        ];
        Vector::good("attestation", "", "attestation", fields)
    }
}

fn key() -> Key {
    Key::new("application key")
}

fn genuine(p: &Parties) -> Told {
    Told::of(p, Chip::new(p).srk, Area::p256(&key()))
}

fn good(p: &Parties) -> Vec<Vector> {
    let good = |name: &str, attributes: u32, signs: &str, decrypts: &str| {
        let key_area = Area { attributes, ..Area::p256(&key()) };
        let mut vector = Told::of(p, Chip::new(p).srk, key_area).vector(p);
        vector.name = name.into();
        vector.fields.extend([
            bytes("out-spki", key().spki()),
            word("out-signs", signs),
            word("out-decrypts", decrypts),
        ]);
        vector
    };
    vec![
        good("signs", 0x0004_0472, "true", "false"),
        good("agrees", 0x0002_0472, "false", "true"),
        good("both", 0x0006_0472, "true", "true"),
    ]
}

/// Keys and parents that are not as they must be, and certified as they then are.
fn areas(p: &Parties) -> Vec<Vector> {
    let srk = Chip::new(p).srk;
    let of_key = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Area)| {
        let mut area = Area::p256(&key());
        change(&mut area);
        Told::of(p, srk.clone(), area).vector(p).refused(expect, &format!("app-{rule}"), fault)
    };
    let attributes = "application-key-attributes";
    let mut vectors = vec![
        of_key("application-key-kind", "sha384", "SHA-384 as name algorithm", &|a| {
            a.name_algorithm = 0x000c;
        }),
        of_key("application-key-policy", "policy", "a policy", &|a| a.policy = vec![0; 32]),
        of_key(attributes, "no-use", "neither signs nor decrypts", &|a| a.attributes ^= 1 << 18),
        of_key("key-roca", "roca", "a modulus with the fingerprint of CVE-2017-15361", &|a| {
            *a = Area::rsa(&fingerprinted());
        }),
    ];
    for (bit, name) in [
        (1, "fixed-tpm"),
        (2, "st-clear"),
        (4, "fixed-parent"),
        (5, "sensitive-data-origin"),
        (6, "user-with-auth"),
        (7, "admin-with-policy"),
        (10, "no-da"),
        (16, "restricted"),
    ] {
        let fault = format!("the attribute {name} the other way");
        vectors.push(of_key(attributes, name, &fault, &|a| a.attributes ^= 1 << bit));
    }
    let duplicable = Area { attributes: srk.attributes ^ 1 << 1, ..srk.clone() };
    let told = Told::of(p, duplicable, Area::p256(&key()));
    let fault = "a parent that can leave the chip";
    vectors.push(told.vector(p).refused("srk-attributes", "app-parent", fault));
    vectors
}

/// Attests that are not as they must be, and signed as they then are.
fn attests(p: &Parties) -> Vec<Vector> {
    let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Told)| {
        let mut told = genuine(p);
        change(&mut told);
        told.vector(p).refused(expect, &format!("app-{rule}"), fault)
    };
    let software = genuine(p).signed_by(p, &Key::new("a key in software"));
    vec![
        refused("attest-magic", "magic", "no structure of a TPM", &|t| t.attest.magic ^= 1),
        refused("attest-type", "quote", "a quote", &|t| t.attest.kind = 0x8018),
        refused("attest-extra-data", "extra-data", "an attest for another nonce", &|t| {
            t.attest.extra_data[31] ^= 1;
        }),
        refused("attest-name", "name", "an attest of another key", &|t| t.attest.name[33] ^= 1),
        refused("attest-qualified-name", "place", "a key below another parent", &|t| {
            t.attest.qualified_name[33] ^= 1;
        }),
        refused("attest-signer", "signer", "by a key elsewhere in the chip", &|t| {
            t.attest.qualified_signer[33] ^= 1;
        }),
        software.refused("attest-signature", "app-signature", "signed by a key in software"),
    ]
}

fn forms(p: &Parties) -> Vec<Vector> {
    let mut short = genuine(p).vector(p);
    short.fields[1] = bytes("nonce", &nonce()[..15]);
    vec![short.refused("wrong-nonce", "app-nonce-15", "a nonce of fifteen bytes")]
}
