//! The one form of a COSE_Sign1: around the serial layer of a message up.

use super::{Messages, last_changed};
use crate::crypto::{Key, drawn};
use crate::forge::{KEY, Sign1, labels_map};
use crate::format::Vector;
use crate::wire::{NULL, array, bstr, int};

type Change = fn(&mut Sign1);
/// Rule, fault, labels.
type Shape = (&'static str, &'static str, Vec<(i64, Vec<u8>)>);

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let up = m.up(KEY);
    let changed = |(expect, rule, fault, change): (&str, &str, &str, Change)| {
        let mut signed = up.signed();
        change(&mut signed);
        up.vector(&signed.bytes()).refused(expect, &format!("sign1-{rule}"), fault)
    };
    let aad = array(&up.frame.aad(m.p, 1));
    let under = |(rule, fault, labels): Shape| {
        let payload = up.sealed().bytes();
        let signed = Sign1::under(&m.p.signing, labels_map(&labels), &aad, &payload);
        up.vector(&signed.bytes()).refused(HEADER, &format!("sign1-{rule}"), fault)
    };
    let mut vectors: Vec<Vector> = CHANGES.into_iter().map(changed).collect();
    vectors.extend(shapes().into_iter().map(under));
    vectors.extend(signatures(m));
    vectors
}

const HEADER: &str = "wrong-header";
const SHAPE: &str = "wrong-shape";

const CHANGES: [(&str, &str, &str, Change); 13] = [
    ("wrong-tag", "tag-missing", "no tag", |s| s.tags.clear()),
    ("wrong-tag", "tag-other", "the tag of COSE_Sign", |s| s.tags = vec![98]),
    (SHAPE, "tag-twice", "the tag twice", |s| s.tags = vec![18, 18]),
    (SHAPE, "item-more", "an item behind the signature", |s| s.more.push(bstr([]))),
    (HEADER, "protected-map", "a protected header that is not wrapped", |s| {
        s.protected = labels_map(&[(1, int(-7))]);
    }),
    (HEADER, "kid", "a key id in the unprotected header", |s| {
        s.unprotected = labels_map(&[(4, bstr("kid"))]);
    }),
    (HEADER, "alg-unprotected-too", "the algorithm in the unprotected header too", |s| {
        s.unprotected = labels_map(&[(1, int(-7))]);
    }),
    (SHAPE, "payload-null", "a detached payload", |s| s.payload = NULL.to_vec()),
    (SHAPE, "signature-63", "a signature of 63 bytes", |s| {
        s.signature = bstr(&s.signature[2..65]);
    }),
    (SHAPE, "signature-65", "a signature of 65 bytes", |s| {
        s.signature = bstr([&s.signature[2..], &[0]].concat());
    }),
    (SHAPE, "signature-empty", "an empty signature", |s| s.signature = bstr([])),
    ("bad-device-signature", "signature-changed", "a bit of the signature changed", |s| {
        s.signature = last_changed(&s.signature);
    }),
    ("bad-device-signature", "payload-changed", "a bit of the payload changed", |s| {
        s.payload = last_changed(&s.payload);
    }),
];

/// Protected headers that are signed all the same.
fn shapes() -> Vec<Shape> {
    vec![
        ("alg-other", "ES384 as the algorithm", vec![(1, int(-35))]),
        ("alg-es256k", "ES256K as the algorithm", vec![(1, int(-47))]),
        ("alg-missing", "no algorithm", vec![]),
        ("alg-long", "the algorithm longer than it must be", vec![(1, vec![0x38, 0x06])]),
        ("alg-twice", "the algorithm twice", vec![(1, int(-7)), (1, int(-7))]),
        ("crit", "crit in the protected header", vec![(1, int(-7)), (2, array(&[int(4)]))]),
        ("protected-more", "a key id in the protected header", vec![(1, int(-7)), (4, bstr("k"))]),
    ]
}

/// Signatures as numbers.
fn signatures(m: &Messages) -> Vec<Vector> {
    let up = m.up(KEY);
    let signed = up.signed();
    let with = |expect: &str, rule: &str, fault: &str, signature: &[u8]| {
        let signed = Sign1 { signature: bstr(signature), ..signed.clone() };
        up.vector(&signed.bytes()).refused(expect, &format!("sign1-{rule}"), fault)
    };
    let r = &signed.signature[2..34];
    let s = &signed.signature[34..];
    let wrong = "bad-device-signature";
    let high = m.p.signing.sign_high(&signed.to_sign);
    let order =
        crate::format::unhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let other = Key::new("another device's signing key");
    let ps256 = Sign1 {
        protected: bstr(labels_map(&[(1, int(-37))])),
        signature: bstr(drawn::<256>("signature")),
        ..signed.clone()
    };
    let ps256 = up.vector(&ps256.bytes());
    vec![
        ps256.refused("unknown-key", "sign1-alg-rsa", "PS256, by a device that has a P-256 key"),
        with("high-s", "high-s", "s in the upper half, as valid as the other", &high),
        with("high-s", "s-order", "s equal to the order", &[r, &order].concat()),
        with(wrong, "s-zero", "s zero", &[r, &[0; 32]].concat()),
        with(wrong, "r-zero", "r zero", &[&[0; 32], s].concat()),
        with(wrong, "r-order", "r equal to the order", &[&order, s].concat()),
        with(wrong, "zeros", "r and s zero", &[0; 64]),
        with(wrong, "other-key", "signed by another device", &other.sign(&signed.to_sign)),
    ]
}
