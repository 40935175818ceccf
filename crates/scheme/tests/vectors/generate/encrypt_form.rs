//! The one form of a COSE_Encrypt: in the serial layer of a message up, and in the key layer of
//! a message down. Headers that are authenticated are wrong and sealed all the same.

use super::{Messages, last_changed};
use crate::crypto::Key;
use crate::forge::{Encrypted, Form, KEY, SERIAL, cose_key, labels_map};
use crate::format::Vector;
use crate::wire::{NULL, array, bstr, int, tstr, uint};

/// What is done to a sealed object.
type Change = fn(&mut Encrypted);
/// What is done to its headers before.
type Shape = fn(&mut Form);

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (expect, rule, fault, change) in CHANGES {
        let es = expect.replace("bad-layer", "bad-serial-layer");
        let ea = expect.replace("bad-layer", "bad-key-layer");
        vectors.push(serial(m, |_| (), change).refused(&es, &format!("es-{rule}"), fault));
        vectors.push(key(m, |_| (), change).refused(&ea, &format!("ea-{rule}"), fault));
    }
    for (rule, fault, shape) in SHAPES {
        vectors.push(serial(m, shape, |_| ()).refused(HEADER, &format!("es-{rule}"), fault));
        vectors.push(key(m, shape, |_| ()).refused(HEADER, &format!("ea-{rule}"), fault));
    }
    vectors.extend(serial_only(m));
    vectors.extend(key_only(m));
    vectors.extend(ephemeral_keys(m));
    vectors
}

const HEADER: &str = "wrong-header";
const SHAPE: &str = "wrong-shape";

fn serial(m: &Messages, shape: impl Fn(&mut Form), change: impl Fn(&mut Encrypted)) -> Vector {
    let up = m.up(SERIAL);
    let mut es = up.es();
    shape(&mut es.form);
    let mut sealed = es.seal(&up.signed().bytes());
    change(&mut sealed);
    up.vector(&sealed.bytes())
}

fn key(m: &Messages, shape: impl Fn(&mut Form), change: impl Fn(&mut Encrypted)) -> Vector {
    let down = m.down(KEY);
    let mut ea = down.ea();
    shape(&mut ea.form);
    let mut sealed = ea.seal(&down.inner(&down.signed().bytes()).bytes());
    change(&mut sealed);
    down.vector(&sealed.bytes())
}

/// What belongs to neither form.
const CHANGES: [(&str, &str, &str, Change); 27] = [
    ("wrong-tag", "tag-missing", "no tag", |e| e.tags.clear()),
    ("wrong-tag", "tag-other", "the tag of COSE_Encrypt0", |e| e.tags = vec![16]),
    ("wrong-tag", "tag-cwt", "a tag around the tag", |e| e.tags = vec![61, 96]),
    (SHAPE, "tag-twice", "the tag twice", |e| e.tags = vec![96, 96]),
    (SHAPE, "item-more", "an item behind the recipients", |e| e.more.push(uint(0))),
    (SHAPE, "protected-map", "a protected header that is not wrapped", |e| {
        e.protected = labels_map(&[(1, uint(3))]);
    }),
    (HEADER, "kid", "a key id in the unprotected header", |e| add(&mut e.unprotected, 4)),
    (HEADER, "alg-unprotected-too", "the algorithm in the unprotected header too", |e| {
        e.unprotected = labels_map(&[(1, uint(3)), (5, bstr([0; 12]))]);
    }),
    (HEADER, "crit-unprotected", "crit in the unprotected header", |e| {
        e.unprotected = labels_map(&[(2, array(&[int(4)])), (5, bstr([0; 12]))]);
    }),
    (HEADER, "unprotected-array", "an unprotected header that is an array", |e| {
        e.unprotected = array::<&[u8]>(&[]);
    }),
    ("not-deterministic", "header-order", "an unprotected header that is not sorted", |e| {
        e.unprotected = labels_map(&[(5, bstr([0; 12])), (4, bstr("kid"))]);
    }),
    ("not-deterministic", "header-twice", "the IV twice", |e| {
        e.unprotected = labels_map(&[(5, bstr([0; 12])), (5, bstr([0; 12]))]);
    }),
    (HEADER, "header-text", "a label that is a text", |e| {
        e.unprotected = crate::wire::map(&[(uint(5), bstr([0; 12])), (tstr("kid"), bstr("kid"))]);
    }),
    (HEADER, "iv-missing", "no IV", |e| e.unprotected = labels_map(&[])),
    (HEADER, "iv-short", "an IV of 11 bytes", |e| {
        e.unprotected = labels_map(&[(5, bstr([0; 11]))]);
    }),
    (HEADER, "iv-partial", "a partial IV", |e| e.unprotected = labels_map(&[(6, bstr([0; 12]))])),
    (SHAPE, "ciphertext-null", "a detached ciphertext", |e| e.ciphertext = NULL.to_vec()),
    ("bad-layer", "ciphertext-empty", "an empty ciphertext", |e| e.ciphertext = bstr([])),
    ("bad-layer", "ciphertext-changed", "a bit of the ciphertext changed", |e| {
        let at = e.ciphertext.len() - 17;
        e.ciphertext[at] ^= 1;
    }),
    ("bad-layer", "gcm-tag-changed", "a bit of the GCM tag changed", |e| {
        e.ciphertext = last_changed(&e.ciphertext);
    }),
    ("bad-layer", "gcm-tag-cut", "a GCM tag of 12 bytes", |e| {
        let content = &e.ciphertext[3..e.ciphertext.len() - 4];
        e.ciphertext = bstr(content);
    }),
    (SHAPE, "recipient-none", "no recipient", |e| e.recipients.clear()),
    (SHAPE, "recipient-two", "a second recipient", |e| {
        e.recipients.push(e.recipients[0].clone());
    }),
    (SHAPE, "recipient-ciphertext", "a recipient with an encrypted key", |e| {
        e.recipients[0][2] = bstr([0; 40]);
    }),
    (SHAPE, "recipient-nested", "a recipient with recipients", |e| {
        e.recipients[0].push(array::<&[u8]>(&[]));
    }),
    (HEADER, "recipient-kid", "a key id in the recipient's unprotected header", |e| {
        add(&mut e.recipients[0][1], 4);
    }),
    (
        HEADER,
        "recipient-protected-map",
        "a recipient's protected header that is not wrapped",
        |e| {
            e.recipients[0][0] = labels_map(&[(1, int(-10))]);
        },
    ),
];

/// A label more in an encoded map, sorted in.
fn add(map: &mut Vec<u8>, label: u8) {
    map[0] += 1;
    map.splice(1..1, [label, 0x43, b'k', b'i', b'd']);
}

/// Authenticated headers that belong to neither form.
const SHAPES: [(&str, &str, Shape); 11] = [
    ("alg-other", "A128GCM", |f| f.protected = vec![(1, uint(1))]),
    ("alg-ccm", "AES-CCM", |f| f.protected = vec![(1, uint(10))]),
    ("alg-missing", "no algorithm", |f| f.protected.clear()),
    ("alg-long", "the algorithm longer than it must be", |f| {
        f.protected = vec![(1, vec![0x18, 0x03])];
    }),
    ("alg-twice", "the algorithm twice", |f| f.protected = vec![(1, uint(3)), (1, uint(3))]),
    ("crit", "crit in the protected header", |f| f.protected.push((2, array(&[int(4)])))),
    ("protected-more", "a key id in the protected header", |f| f.protected.push((4, bstr("kid")))),
    ("iv-other", "an IV other than zero", |f| f.iv = [1; 12]),
    ("recipient-alg", "a recipient's algorithm of the same kind with SHA-512", |f| {
        f.recipient = vec![(1, if f.commits { int(-11) } else { int(-26) })];
    }),
    ("recipient-alg-missing", "a recipient without an algorithm", |f| f.recipient.clear()),
    ("recipient-crit", "crit in the recipient's protected header", |f| {
        f.recipient.push((2, array(&[int(4)])));
    }),
];

/// Salt and commitment.
fn serial_only(m: &Messages) -> Vec<Vector> {
    let up = m.up(SERIAL);
    let signed = up.signed().bytes();
    let salted = |rule: &str, fault, salt: &[u8]| {
        let sealed = up.es().seal_salted(&signed, salt);
        up.vector(&sealed.bytes()).refused(HEADER, rule, fault)
    };
    let mut in_protected = up.es();
    in_protected.form.recipient.push((-20, bstr([7; 32])));
    let mut in_protected = in_protected.seal_salted(&signed, &[7; 32]);
    in_protected.recipients[0][1] = labels_map(&[]);
    let changed = |change: fn(&mut Encrypted)| serial(m, |_| (), change);
    vec![
        salted("es-salt-31", "a salt of 31 bytes", &[7; 31]),
        salted("es-salt-33", "a salt of 33 bytes", &[7; 33]),
        salted("es-salt-empty", "an empty salt", &[]),
        up.vector(&in_protected.bytes()).refused(
            HEADER,
            "es-salt-protected",
            "the salt in the recipient's protected header",
        ),
        changed(|e| e.recipients[0][1] = labels_map(&[])).refused(
            HEADER,
            "es-salt-missing",
            "no salt",
        ),
        changed(|e| e.recipients[0][1] = last_changed(&e.recipients[0][1])).refused(
            "bad-commitment",
            "es-salt-changed",
            "a bit of the salt changed",
        ),
        changed(|e| e.recipients[0][1] = labels_map(&[(-21, bstr(e.salt))])).refused(
            HEADER,
            "es-salt-label",
            "the salt under the label of a party's identity",
        ),
        changed(|e| e.protected = last_changed(&e.protected)).refused(
            "bad-commitment",
            "es-commitment-changed",
            "a bit of the key commitment changed",
        ),
        serial(m, |f| f.commits = false, |_| ()).refused(
            HEADER,
            "es-commitment-missing",
            "no key commitment",
        ),
        serial(
            m,
            |f| (f.commits, f.protected) = (false, vec![(1, uint(3)), (-65601, bstr([7; 31]))]),
            |_| (),
        )
        .refused(HEADER, "es-commitment-31", "a key commitment of 31 bytes"),
    ]
}

fn key_only(m: &Messages) -> Vec<Vector> {
    let committed = |f: &mut Form| f.protected.push((-65601, bstr([7; 32])));
    let salt = |e: &mut Encrypted| {
        // -1 sorts before -20.
        e.recipients[0][1][0] += 1;
        e.recipients[0][1].extend([int(-20), bstr([7; 32])].concat());
    };
    let oaep = |f: &mut Form| f.recipient = vec![(1, int(-41))];
    vec![
        key(m, committed, |_| ()).refused(
            HEADER,
            "ea-commitment",
            "a key commitment where none belongs",
        ),
        key(m, |_| (), salt).refused(HEADER, "ea-salt", "a salt where none belongs"),
        key(m, oaep, |_| ()).refused(HEADER, "ea-alg-oaep", "RSAES-OAEP as the algorithm"),
    ]
}

/// The ephemeral key of the key layer.
fn ephemeral_keys(m: &Messages) -> Vec<Vector> {
    let down = m.down(KEY);
    let (x, y) = (down.ephemeral.x(), down.ephemeral.y());
    let field =
        crate::format::unhex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    let negated = negate(&field, &y);
    let with = |expect: &str, rule: &str, fault: &str, labels: Vec<(i64, Vec<u8>)>| {
        let replace = |e: &mut Encrypted| {
            e.recipients[0][1] = labels_map(&[(-1, labels_map(&labels))]);
        };
        key(m, |_| (), replace).refused(expect, &format!("ea-key-{rule}"), fault)
    };
    let good = || cose_key(&x, bstr(&y));
    let changed = |at: usize, item: (i64, Vec<u8>)| {
        let mut labels = good();
        labels[at] = item;
        labels
    };
    let other = Key::new("another ephemeral key");
    vec![
        with(HEADER, "compressed", "a compressed point", cose_key(&x, vec![0xf5])),
        with(HEADER, "no-y", "no Y coordinate", good()[..3].to_vec()),
        with(HEADER, "x-31", "an X coordinate of 31 bytes", cose_key(&x[1..], bstr(&y))),
        with(
            HEADER,
            "y-33",
            "a Y coordinate of 33 bytes",
            cose_key(&x, bstr([&[0], &y[..]].concat())),
        ),
        with(HEADER, "shifted", "a byte of Y counted to X", {
            cose_key(&[&x[..], &y[..1]].concat(), bstr(&y[1..]))
        }),
        with(HEADER, "type", "the type of an octet key pair", changed(0, (1, uint(1)))),
        with(HEADER, "curve", "the curve P-384", changed(1, (-1, uint(2)))),
        with(HEADER, "kid", "a key id in the key", {
            [&good()[..1], &[(2, bstr("kid"))], &good()[1..]].concat()
        }),
        with(HEADER, "private", "a private key behind the public one", {
            [good(), vec![(-4, bstr(down.ephemeral.private()))]].concat()
        }),
        with("not-deterministic", "order", "the labels of the key not sorted", {
            good().into_iter().rev().collect()
        }),
        with("bad-point", "off", "a point off the curve", cose_key(&x, bstr(last_changed(&y)))),
        with("bad-point", "zero", "zeros, as if at infinity", cose_key(&[0; 32], bstr([0; 32]))),
        with("bad-point", "field", "an X coordinate not below the field's prime", {
            cose_key(&[0xff; 32], bstr(&y))
        }),
        with("bad-key-layer", "negated", "the negated point, which agrees on the same", {
            cose_key(&x, bstr(negated))
        }),
        with("bad-key-layer", "other", "the ephemeral key of another message", {
            cose_key(&other.x(), bstr(other.y()))
        }),
        key(
            m,
            |_| (),
            |e| {
                e.recipients[0][1][1] = int(-2)[0];
            },
        )
        .refused(HEADER, "ea-key-static", "the key as a static one"),
    ]
}

/// p - y.
fn negate(field: &[u8], y: &[u8]) -> Vec<u8> {
    let mut borrow = 0i16;
    let mut digits: Vec<u8> = field
        .iter()
        .zip(y)
        .rev()
        .map(|(p, y)| {
            let difference = i16::from(*p) - i16::from(*y) - borrow;
            borrow = i16::from(difference < 0);
            difference.rem_euclid(256) as u8
        })
        .collect();
    digits.reverse();
    digits
}
