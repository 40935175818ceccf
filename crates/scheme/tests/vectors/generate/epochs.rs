//! Chain keys, epoch-opens, and what is judged of epochs from facts alone.

use super::{Messages, last_changed};
use crate::crypto::{Key, drawn, kdf, sha256};
use crate::forge::{DOWN, Frame, KEY, SERIAL, Sign1, UP, envelope};
use crate::format::{Field, Vector, bytes, word};
use crate::parties::{Epoch, Parties};
use crate::wire::{NULL, array, bstr, tstr, uint};

pub fn vectors(m: &Messages) -> Vec<Vector> {
    [chain_keys(m), good(m), refused_before(m), refused_within(m), refused_contents(m), judged()]
        .concat()
}

fn chain_keys(m: &Messages) -> Vec<Vector> {
    let p = m.p;
    let z = p.serial_key.agree(&p.offer.point());
    let first = [bytes("z", z), bytes("out-chain-key", p.chain())];
    let first = Vector::good("chain-key", "first", "chain-key-first", first.to_vec());
    let walk = |name: &str, from: u64, to: u64| {
        let key = |epoch| Epoch::new(p.chain(), epoch, [0; 32], 0, [0; 32]).chain;
        let fields = vec![
            word("from", from),
            bytes("from-key", key(from)),
            word("to", to),
            bytes("out-chain-key", key(to.max(from))),
        ];
        Vector::good("chain-key", name, "chain-key-walk", fields)
    };
    vec![
        first.with("parties"),
        walk("step", 0, 1),
        walk("stay", 3, 3),
        walk("far", 3, 100_003),
        walk("", 3, 2).refused("epoch-stale", "chain-back", "a walk back"),
    ]
}

/// An epoch-open in the making.
struct Open<'a> {
    p: &'a Parties,
    number: u64,
    frame: Frame,
    items: Vec<Vec<u8>>,
}

impl<'a> Open<'a> {
    fn new(p: &'a Parties, number: u64) -> Open<'a> {
        let frame = Frame { seq: 0, ..Frame::new(&p.opening(number), KEY, UP) };
        Open { p, number, frame, items: p.open_items(number) }
    }

    fn content(&self) -> Vec<u8> {
        array(&self.items)
    }

    fn random(&self) -> [u8; 32] {
        drawn(&format!("epoch-open {}", self.number))
    }

    fn body(&self, content: &[u8]) -> Vec<u8> {
        let inner = self.frame.serial_layer(self.p, 2, self.random()).seal(content).bytes();
        self.frame.sign(self.p, 1, &inner).bytes()
    }

    fn vector(&self, envelope: Vec<u8>) -> Vector {
        Vector::good("epoch-open", "", "epoch-open", vec![bytes("envelope", envelope)])
            .with("parties")
    }

    fn with_route(&self, route: &[Vec<u8>]) -> Vector {
        self.vector(envelope(route, &self.body(&self.content())))
    }

    fn with_content(&self, content: &[u8]) -> Vector {
        self.vector(envelope(&self.frame.route(self.p), &self.body(content)))
    }

    fn good(&self, name: &str, attest: [&[u8]; 2]) -> Vector {
        let (p, content) = (self.p, self.content());
        let key = p.epoch_key(self.number);
        let mut vector = self.with_content(&content);
        vector.name = name.into();
        let open = crate::format::unhex(&vector.fields[0].1);
        let ecdh = key.agree(&p.server_encryption.point());
        let input = [ecdh, p.kem.secret, sha256(&open)].concat();
        let secret = crate::crypto::extract(b"twinseal/epoch/v1", &input);
        let epoch = Epoch::new(p.chain(), self.number, secret, p.sequence, sha256(&open));
        let inner = self.frame.serial_layer(p, 2, self.random()).seal(&content).bytes();
        let signed = self.frame.sign(p, 1, &inner);
        vector.fields.extend([
            bytes("seal-random", self.random()),
            bytes("seal-signature", &signed.signature[2..]),
            bytes("seal-content", &content),
            bytes("out-epoch-key", key.point()),
            bytes("out-kem-ciphertext", &p.kem.ciphertext),
            bytes("out-p256-id", p.server_encryption.id()),
            bytes("out-kem-id", sha256(p.kem_spki())),
            bytes("out-attest", attest[0]),
            bytes("out-attest-signature", attest[1]),
            bytes("out-extra-data", self.extra_data()),
            bytes("out-open-hash", sha256(&open)),
            bytes("out-answer-key", epoch.answer_key()),
            bytes("out-fetch-key", epoch.fetch_key()),
            bytes("note-chain-key", epoch.chain),
            bytes("note-key-up-before", self.frame.key),
            bytes("note-epoch-secret", secret),
            bytes("note-key-up", epoch.up),
            bytes("note-key-down", epoch.down),
            bytes("note-closed-key", kdf(&secret, "twinseal/closed/v1")),
        ]);
        vector
    }

    fn extra_data(&self) -> [u8; 32] {
        let p = self.p;
        sha256(array(&[
            tstr("twinseal-epoch-v1"),
            bstr(p.server_id()),
            uint(p.sequence),
            bstr(p.device_id),
            bstr(p.serial()),
            uint(p.generation.into()),
            uint(self.number),
            bstr(p.epoch_key(self.number).point()),
            bstr(sha256(&p.kem.ciphertext)),
            bstr(p.server_encryption.id()),
            bstr(sha256(p.kem_spki())),
        ]))
    }
}

fn good(m: &Messages) -> Vec<Vector> {
    let none: [&[u8]; 2] = [&[]; 2];
    let mut certified = Open::new(m.p, 5);
    let (attest, signature): ([u8; 145], [u8; 72]) = (drawn("attest"), drawn("attest signature"));
    certified.items[4] = array(&[bstr(attest), bstr(signature)]);
    vec![
        Open::new(m.p, 3).good("token", none),
        certified.good("certified", [&attest, &signature]),
        Open::new(m.p, 1).good("first", none),
        Open::new(m.p, 100_003).good("far", none),
    ]
}

/// What is refused by the routing header, or by the outer signature.
fn refused_before(m: &Messages) -> Vec<Vector> {
    let open = Open::new(m.p, 3);
    let route = |at: usize, item: Vec<u8>| {
        let mut route = open.frame.route(m.p);
        route[at] = item;
        open.with_route(&route)
    };
    let mut serial = Open::new(m.p, 3);
    serial.frame.outer = SERIAL;
    let signed = serial.frame.sign(m.p, 2, &serial.content()).bytes();
    let sealed = serial.frame.serial_layer(m.p, 1, serial.random()).seal(&signed).bytes();
    let serial = serial.vector(envelope(&serial.frame.route(m.p), &sealed));
    let mut epoch_0 = Open::new(m.p, 3);
    epoch_0.frame.epoch = 0;
    let inner = open.frame.serial_layer(m.p, 2, open.random()).seal(&open.content()).bytes();
    let aad = array(&open.frame.aad(m.p, 1));
    let resigned = |key: &Key, aad: &[u8]| {
        open.vector(envelope(&open.frame.route(m.p), &Sign1::by(key, aad, &inner).bytes()))
    };
    let mut hashed = open.frame.aad(m.p, 1);
    hashed[11] = bstr(m.epoch.open_hash);
    let wrong = "wrong-route";
    vec![
        serial.refused(wrong, "open-serial", "the serial layer outside"),
        epoch_0.with_content(&open.content()).refused(wrong, "open-epoch-0", "epoch 0"),
        route(8, uint(1)).refused(wrong, "open-seq", "the seq of a message"),
        route(2, uint(1)).refused(wrong, "open-down", "the direction down"),
        route(3, bstr([0xd1; 16])).refused(wrong, "open-device", "another device"),
        route(4, uint(3)).refused(wrong, "open-generation", "another generation"),
        route(5, uint(2)).refused(wrong, "open-keyset", "another keyset"),
        route(6, uint(m.p.sequence + 1)).refused(
            SIGNATURE,
            "open-sequence",
            "another sequence than was signed",
        ),
        route(7, uint(4)).refused(SIGNATURE, "open-epoch", "another epoch than was signed"),
        resigned(&Key::new("another device's signing key"), &aad).refused(
            SIGNATURE,
            "open-signer",
            "signed by another device",
        ),
        resigned(&m.p.signing, &array(&hashed)).refused(
            SIGNATURE,
            "open-hash",
            "signed with the hash of an epoch-open in the external_aad",
        ),
    ]
}

const SIGNATURE: &str = "bad-device-signature";

/// What is refused when the serial layer is opened.
fn refused_within(m: &Messages) -> Vec<Vector> {
    let open = Open::new(m.p, 3);
    let keyed = |key: [u8; 32]| {
        let mut other = Open::new(m.p, 3);
        other.frame.key = key;
        other.with_content(&open.content())
    };
    let chip = m.p.chain_of(&Key::new("another chip's serial key"));
    let other_chip = Epoch::new(chip, 3, [0; 32], m.p.sequence, [0; 32]);
    let commitment = "bad-commitment";
    vec![
        keyed(other_chip.up).refused(commitment, "open-other-chip", "sealed by another chip"),
        keyed(m.p.opening(2).up).refused(
            commitment,
            "open-chain",
            "sealed with the chain key of before",
        ),
        keyed(m.epoch.up).refused(
            commitment,
            "open-secret",
            "sealed with the secret that it brings",
        ),
        keyed(Frame::new(&m.p.opening(3), KEY, DOWN).key).refused(
            commitment,
            "open-key-down",
            "sealed with the key of the other direction",
        ),
    ]
}

/// What is refused of a content that is sealed rightly.
fn refused_contents(m: &Messages) -> Vec<Vector> {
    let open = Open::new(m.p, 3);
    let with = |at: usize, item: Vec<u8>| {
        let mut items = open.items.clone();
        items[at] = item;
        open.with_content(&array(&items))
    };
    let (point, shape) = (m.p.epoch_key(3).point(), "wrong-shape");
    let compressed = [&[2 + (point[64] & 1)][..], &point[1..33]].concat();
    let long = vec![0; 1025];
    let mut of_tpm = open.with_content(&open.content());
    of_tpm.fields.push(word("of-tpm", 1));
    vec![
        of_tpm.refused("attest-missing", "open-no-attest", "no attest, of a device with a TPM"),
        with(0, bstr(last_changed(&point))).refused(
            "bad-point",
            "open-point",
            "an epoch key off the curve",
        ),
        with(0, bstr([&[6][..], &point[1..]].concat())).refused(
            "bad-point",
            "open-hybrid",
            "an epoch key in the hybrid form",
        ),
        with(0, bstr(compressed)).refused(shape, "open-compressed", "a compressed epoch key"),
        with(1, bstr(&m.p.kem.ciphertext[1..])).refused(
            shape,
            "open-kem-1087",
            "an ML-KEM ciphertext of 1,087 bytes",
        ),
        with(2, bstr([0; 31])).refused(shape, "open-p256-id", "a key id of 31 bytes"),
        with(3, bstr([0; 33])).refused(shape, "open-kem-id", "a key id of 33 bytes"),
        with(4, array::<&[u8]>(&[])).refused(shape, "open-attest-empty", "an attest of no items"),
        with(4, array(&[bstr([1]), NULL.to_vec()])).refused(
            shape,
            "open-attest-half",
            "an attest without its signature",
        ),
        with(4, array(&[bstr(&long), bstr([1])])).refused(
            shape,
            "open-attest-long",
            "an attest of 1,025 bytes",
        ),
        open.with_content(&array(&open.items[..4])).refused(shape, "open-short", "four items"),
        open.with_content(&array(&[&open.items[..], &[uint(0)]].concat())).refused(
            shape,
            "open-more",
            "six items",
        ),
        open.with_content(&[&open.content()[..], &[0]].concat()).refused(
            "not-cbor",
            "open-trailing",
            "a byte behind the content",
        ),
        open.with_content(&[]).refused("not-cbor", "open-empty", "no content"),
        with(1, bstr(vec![0; 4096])).refused(
            "too-large",
            "open-large",
            "a content over 4,096 bytes",
        ),
    ]
}

/// A vector of a judgement: no bytes from outside, only facts.
fn judgement(operation: &str, name: &str, fields: Vec<Field>) -> Vector {
    Vector::good("judge", &format!("{operation}-{name}"), operation, fields)
}

fn judged() -> Vec<Vector> {
    [judged_openings(), judged_envelopes()].concat()
}

fn judged_openings() -> Vec<Vector> {
    let arrival = |name: &str, epoch: u64, known: Option<u8>, out: &str| {
        let mut fields = vec![word("epoch", epoch), word("last", 9), bytes("this", [1; 32])];
        fields.extend(known.map(|byte| bytes("known", [byte; 32])));
        fields.push(word("out-arrival", out));
        judgement("judge-opening-arrival", name, fields)
    };
    let opening = |name: &str, epoch: u64, clock: Option<[u64; 3]>| {
        let mut fields = vec![word("epoch", epoch), word("last", 9)];
        let clocks = [("clock", clock), ("last-clock", clock.map(|_| [2, 1, 500]))];
        for (key, clock) in clocks {
            let [reset, restart, ms] = clock.unwrap_or_default();
            fields.extend(clock.map(|_| word(key, format!("{reset} {restart} {ms}"))));
        }
        judgement("judge-opening", name, fields)
    };
    let [same_ms, later_ms, later_restart] = [[2, 1, 500], [2, 1, 501], [2, 2, 0]];
    let overtaken = "epoch-overtaken";
    vec![
        arrival("known", 5, Some(1), "stored-answer"),
        arrival("new", 10, None, "verify"),
        arrival("farthest", 100_009, None, "verify"),
        arrival("other-bytes", 9, Some(2), "verify"),
        arrival("", 8, None, "").refused(overtaken, "overtaken", "an epoch that others overtook"),
        arrival("", 8, Some(2), "").refused(
            overtaken,
            "overtaken-other-bytes",
            "other bytes for an epoch that others overtook",
        ),
        arrival("", 100_010, None, "").refused("epoch-too-far", "too-far", "100,001 epochs ahead"),
        opening("later", 10, Some(later_ms)),
        opening("restarted", 10, Some(later_restart)),
        opening("reset", 10, Some([3, 0, 0])),
        opening("token", 10, None),
        opening("", 10, Some(same_ms)).refused(
            "epoch-clock",
            "clock-same",
            "a clock that stands still",
        ),
        opening("", 10, Some([2, 0, 900])).refused("epoch-clock", "clock-back", "fewer restarts"),
        opening("", 9, Some(later_ms)).refused("epoch-clone", "clone", "the same epoch, later"),
        opening("", 9, None).refused("epoch-clone", "clone-token", "a token's epoch again"),
        opening("", 9, Some(same_ms)).refused(
            "epoch-rollback",
            "rollback",
            "the same epoch, not later",
        ),
        opening("", 8, Some(later_ms)).refused(
            overtaken,
            "overtaken",
            "an epoch that others overtook",
        ),
    ]
}

fn judged_envelopes() -> Vec<Vector> {
    let arrival = |name: &str, epoch: u64, key: u8, taken: Option<u8>, out: &str| {
        let mut fields = vec![
            word("epoch", epoch),
            word("open", 9),
            word("has-closed-key", key),
            bytes("this", [1; 32]),
        ];
        fields.extend(taken.map(|byte| bytes("taken", [byte; 32])));
        fields.push(word("out-arrival", out));
        judgement("judge-arrival", name, fields)
    };
    let sealing = |name: &str, taken: Option<u8>, out: &str| {
        let mut fields = vec![bytes("this", [1; 32])];
        fields.extend(taken.map(|byte| bytes("taken", [byte; 32])));
        fields.push(word("out-new", out));
        judgement("judge-sealing", name, fields)
    };
    let counter = |name: &str, opened: u8, chip: u64, out: &str| {
        let fields = vec![
            word("intended", 7),
            word("opened", opened),
            word("chip", chip),
            word("out-state", out),
        ];
        judgement("judge-counter", name, fields)
    };
    vec![
        arrival("open", 9, 0, None, "open-epoch"),
        arrival("open-other-bytes", 9, 0, Some(2), "open-epoch"),
        arrival("known", 5, 0, Some(1), "stored-answer"),
        arrival("closed", 5, 1, None, "closed-epoch"),
        arrival("", 10, 0, None, "").refused("epoch-not-open", "not-open", "an epoch to come"),
        arrival("", 5, 0, None, "").refused("epoch-closed", "closed", "an epoch whose key is gone"),
        sealing("new", None, "1"),
        sealing("known", Some(1), "0"),
        sealing("", Some(2), "").refused("seq-reused", "seq-reused", "other bytes under one seq"),
        counter("as-left", 1, 7, "agrees"),
        counter("died-before", 0, 6, "agrees"),
        counter("died-after", 0, 7, "agrees"),
        counter("chip-back", 1, 6, "chip-rolled-back"),
        counter("chip-far-back", 0, 5, "chip-rolled-back"),
        counter("disk-back", 1, 8, "disk-rolled-back"),
    ]
}
