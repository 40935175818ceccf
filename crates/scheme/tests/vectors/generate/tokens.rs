//! The claim of a token, and the credential that only its decryption key opens.

use super::signed::Signed;
use super::transcript::Transcript;
use super::{changed, last_changed};
use crate::crypto::{Key, sha256};
use crate::forge::{Ea, Form};
use crate::format::{Vector, bytes};
use crate::parties::Parties;
use crate::wire::{NULL, array, bstr, int, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let t = Transcript::new(p);
    [statements(&t), identities(&t), keys(&t), claims(&t), credentials(&t)].concat()
}

const SHAPE: &str = "wrong-shape";
pub const IDENTITY: [&str; 3] = ["Vendor \u{2116} 1", "Model 5", "00420815"];

/// S of a token.
pub fn serial_of(identity: &[&str; 3]) -> [u8; 32] {
    sha256([b"twinseal/S/token/v1\0".to_vec(), array(&identity.map(tstr))].concat())
}

/// A token with the device's keys, and what it states.
fn statement(t: &Transcript) -> Signed {
    let p = t.p;
    let mut items = IDENTITY.map(tstr).to_vec();
    items.extend([
        bstr(sha256(t.m0().bytes())),
        bstr(p.server_id()),
        bstr(serial_of(&IDENTITY)),
        bstr(p.signing.spki()),
        bstr(p.decryption.spki()),
        bstr(p.serial_key.spki()),
    ]);
    Signed::by_device(&p.signing, "token", &items)
}

fn read(statement: Vec<u8>) -> Vector {
    let fields = vec![bytes("serial", serial_of(&IDENTITY)), bytes("token", statement)];
    Vector::good("token", "", "token", fields).with("parties enrolment")
}

fn statements(t: &Transcript) -> Vec<Vector> {
    let (good, p) = (statement(t), t.p);
    let other = "wrong-transcript";
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        read(good.with(at, item)).refused(expect, rule, fault)
    };
    let mut accepted = read(good.bytes());
    accepted.name = "good".into();
    accepted.fields.extend([
        bytes("seal-signature", good.signature()),
        bytes("out-signing-spki", p.signing.spki()),
        bytes("out-decryption-spki", p.decryption.spki()),
        bytes("out-serial-key-spki", p.serial_key.spki()),
        bytes("out-name", p.signing.id()),
    ]);
    let mut vectors = vec![accepted];
    vectors.extend(good.refusals(read));
    vectors.extend([
        refused(other, "challenge", "for another challenge", 3, bstr([0; 32])),
        refused(other, "server", "for another server", 4, bstr([0; 32])),
        refused(other, "serial", "about another serial", 5, bstr([0; 32])),
        refused(SHAPE, "challenge-31", "a hash of 31 bytes", 3, bstr([0; 31])),
        refused(SHAPE, "server-33", "a server id of 33 bytes", 4, bstr([0; 33])),
        refused(SHAPE, "serial-null", "without a serial", 5, NULL.to_vec()),
    ]);
    vectors
}

fn identities(t: &Transcript) -> Vec<Vector> {
    let good = statement(t);
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        read(good.with(at, item)).refused(expect, rule, fault)
    };
    let wrong = "wrong-serial";
    vec![
        refused(wrong, "manufacturer", "of another manufacturer", 0, tstr("Vendor")),
        refused(wrong, "model", "of another model", 1, tstr("Model 6")),
        refused(wrong, "number", "of another number", 2, tstr("00420816")),
        refused("token-serial-empty", "number-empty", "without a number", 2, tstr("")),
        refused("token-serial-zero", "number-zero", "a number of zeros", 2, tstr("0000")),
        refused(SHAPE, "manufacturer-33", "a manufacturer of 33 bytes", 0, tstr(&"M".repeat(33))),
        refused(SHAPE, "model-17", "a model of 17 bytes", 1, tstr(&"M".repeat(17))),
        refused(SHAPE, "number-17", "a number of 17 bytes", 2, tstr(&"4".repeat(17))),
        refused(SHAPE, "number-bytes", "a number that is a byte string", 2, bstr("00420815")),
    ]
}

fn keys(t: &Transcript) -> Vec<Vector> {
    let (good, p) = (statement(t), t.p);
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        read(good.with(at, item)).refused(expect, rule, fault)
    };
    let (kind, twice) = ("token-key-kind", "names-not-distinct");
    let off = last_changed(&p.decryption.spki());
    let spki = p.signing.spki();
    vec![
        refused(kind, "signing-point", "a signing key that is a bare point", 6, {
            bstr(p.signing.point())
        }),
        refused(kind, "decryption-curve", "a decryption key of another curve", 7, {
            bstr(changed(&p.decryption.spki(), 22))
        }),
        refused(kind, "serial-key-none", "an empty serial key", 8, bstr([])),
        refused("bad-point", "decryption-off", "a point off the curve", 7, bstr(off)),
        refused("bad-device-signature", "signing-other", "another signing key", 6, {
            bstr(Key::new("somebody else's signing key").spki())
        }),
        refused(twice, "signing-decrypts", "one key signs and decrypts", 7, bstr(&spki)),
        refused(twice, "signing-serial", "one key signs and is the serial key", 8, bstr(&spki)),
        refused(twice, "decryption-serial", "one key decrypts and is the serial key", 8, {
            bstr(p.decryption.spki())
        }),
        refused(SHAPE, "key-513", "a key of 513 bytes", 8, bstr([0; 513])),
    ]
}

/// The whole of M1.
fn claims(t: &Transcript) -> Vec<Vector> {
    let statement = statement(t).bytes();
    let of = |hardware: &[Vec<u8>]| {
        let mut claim = t.claim();
        claim[1] = bstr(serial_of(&IDENTITY));
        claim[5] = array(hardware);
        let m1 = t.m1_of(&t.m0().bytes(), &t.key_layer(), &array(&claim));
        let vector = Vector::good("m1", "", "m1", vec![bytes("m1", m1)]);
        (vector.with("parties enrolment"), claim)
    };
    let refused = |rule: &str, fault: &str, hardware: &[Vec<u8>]| {
        of(hardware).0.refused(SHAPE, &format!("token-{rule}"), fault)
    };
    let (kind, stated) = (uint(2), bstr(&statement));
    let (mut good, claim) = of(&[kind.clone(), stated.clone()]);
    good.name = "token".into();
    good.fields.extend([
        bytes("seal-ephemeral-private", t.ephemeral().private()),
        bytes("out-nonce-s", t.nonce_s),
        bytes("out-serial", serial_of(&IDENTITY)),
        bytes("out-user-info", &claim[2]),
        bytes("out-code", &claim[3]),
        bytes("out-re-enrolment", &claim[4]),
        bytes("out-hardware", &claim[5]),
    ]);
    vec![
        good,
        refused("alone", "a token without a statement", std::slice::from_ref(&kind)),
        refused("more", "an item behind the statement", &[kind.clone(), stated.clone(), uint(0)]),
        refused("as-tpm", "a token's statement as a TPM's", &[uint(1), stated]),
        refused("unwrapped", "a statement that is not wrapped", &[kind.clone(), statement]),
        refused("2049", "a statement of 2,049 bytes", &[kind, bstr(vec![0; 2049])]),
    ]
}

pub fn credential_layer(t: &Transcript) -> Ea {
    let aad = [tstr("twinseal-credential-v1"), bstr(t.enrol_id), bstr(sha256(t.m1()))];
    Ea {
        to: t.p.decryption.point(),
        aad: array(&aad),
        sender: Some(t.p.server_id().to_vec()),
        receiver: t.enrol_id.to_vec(),
        ephemeral: Key::new("ephemeral of the credential"),
        form: Form { recipient: vec![(1, int(-25))], ..Form::plain() },
    }
}

fn credentials(t: &Transcript) -> Vec<Vector> {
    let layer = || credential_layer(t);
    let vector = |blob: Vec<u8>, layer: &Ea| {
        // What the token answers, whoever it was encrypted to.
        let z = t.p.decryption.agree(&layer.ephemeral.point());
        let fields = vec![bytes("blob", blob), bytes("z", z)];
        Vector::good("token-credential", "", "token-credential", fields).with("parties enrolment")
    };
    let refused = |rule: &str, fault: &str, layer: Ea| {
        vector(layer.seal(&t.credential).bytes(), &layer).refused("bad-key-layer", rule, fault)
    };
    let sealed = layer().seal(&t.credential);
    let mut good = vector(sealed.bytes(), &layer());
    good.name = "good".into();
    good.fields.extend([
        bytes("seal-random", layer().ephemeral.private()),
        bytes("out-credential", t.credential),
        bytes("note-external-aad", layer().aad),
        bytes("note-content-key", sealed.key),
    ]);
    let mut flipped = sealed.clone();
    flipped.ciphertext = last_changed(&flipped.ciphertext);
    let aad = |items: [Vec<u8>; 3]| Ea { aad: array(&items), ..layer() };
    let (label, id, m1) = (tstr("twinseal-credential-v1"), bstr(t.enrol_id), sha256(t.m1()));
    let stranger = Key::new("another token's decryption key").point();
    let size = |size: usize, rule: &str, fault: &str| {
        vector(layer().seal(&vec![5; size]).bytes(), &layer()).refused(SHAPE, rule, fault)
    };
    vec![
        good,
        refused("key", "for another token", Ea { to: stranger, ..layer() }),
        refused("enrolment", "for another enrolment", {
            aad([label.clone(), bstr([0; 16]), bstr(m1)])
        }),
        refused("claim", "for another claim", aad([label, id.clone(), bstr([0; 32])])),
        refused("label", "bound as a claim is", aad([tstr("twinseal-enrol-v1"), id, bstr(m1)])),
        refused("sender", "of another server", Ea { sender: Some(vec![0; 32]), ..layer() }),
        refused("receiver", "to another receiver", Ea { receiver: vec![0; 16], ..layer() }),
        vector(flipped.bytes(), &layer()).refused(
            "bad-key-layer",
            "changed",
            "a bit of the GCM tag changed",
        ),
        size(31, "31", "a credential of 31 bytes"),
        size(33, "33", "a credential of 33 bytes"),
        vector(sealed.bytes()[1..].to_vec(), &layer()).refused("not-cbor", "cut", "no tag's head"),
    ]
}
