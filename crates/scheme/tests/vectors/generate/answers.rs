//! Answers, encrypted and signed; and on an answer the one form of a COSE_Encrypt0.

use super::Messages;
use super::signed::Signed;
use crate::crypto::{drawn, sha256};
use crate::forge::{Encrypt0, labels_map};
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{NULL, array, bstr, int, tstr, uint};

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let a = Answers { p: m.p, key: m.epoch.answer_key(), request: m.up(1).envelope(&[0xa0]) };
    let mut vectors = a.good(m);
    vectors.extend(a.contents());
    vectors.extend(a.keys(m));
    vectors.extend(a.forms());
    vectors.extend(a.signed());
    vectors
}

struct Answers<'a> {
    p: &'a Parties,
    key: [u8; 32],
    request: Vec<u8>,
}

const SHAPE: &str = "wrong-shape";
const HEADER: &str = "wrong-header";
const LAYER: &str = "bad-serial-layer";

fn answer(kind: u64, body: &[u8]) -> Vec<u8> {
    array(&[uint(kind), bstr(body)])
}

impl Answers<'_> {
    fn random(&self) -> [u8; 32] {
        drawn("answer")
    }

    fn sealed(&self, plaintext: &[u8]) -> Encrypt0 {
        Encrypt0::new(&self.key, self.random(), plaintext, &sha256(&self.request))
    }

    fn vector(&self, sealed: &[u8]) -> Vector {
        let fields = vec![bytes("answer", sealed), bytes("request", &self.request)];
        Vector::good("answer-open", "", "answer-open", fields).with("parties")
    }

    fn good(&self, m: &Messages) -> Vec<Vector> {
        let down = m.down(1).vector(&m.down(1).body());
        let downlink = crate::format::unhex(&down.fields[0].1);
        let kinds: [(&str, &[u8]); 6] = [
            ("accepted", &[]),
            ("refused", b"epoch-overtaken"),
            ("downlink", &downlink),
            ("nothing", &[]),
            ("revoked", &[]),
            ("quarantined", &[]),
        ];
        let encrypted = kinds.iter().zip(0..).map(|((name, body), kind)| {
            let sealed = self.sealed(&answer(kind, body));
            let mut vector = self.vector(&sealed.bytes());
            vector.name = (*name).into();
            vector.fields.extend([
                bytes("seal-random", self.random()),
                word("out-kind", name),
                bytes("out-body", body),
                bytes("note-external-aad", sha256(&self.request)),
                bytes("note-iv", sealed.iv),
            ]);
            vector
        });
        let signed = kinds.iter().zip(0..).map(|((name, body), kind)| {
            let items = self.signed_items(&answer(kind, body));
            let mut vector = self.signed_vector(self.statement(&items).bytes());
            vector.name = (*name).into();
            vector.fields.extend([word("out-kind", name), bytes("out-body", body)]);
            vector
        });
        encrypted.chain(signed).collect()
    }

    fn contents(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, plaintext: Vec<u8>| {
            self.vector(&self.sealed(&plaintext).bytes()).refused(expect, rule, fault)
        };
        let items = [uint(0), bstr([])];
        let long = "a".repeat(65);
        vec![
            refused(SHAPE, "kind-6", "a kind that there is not", answer(6, &[])),
            refused(SHAPE, "kind-256", "a kind that does not fit into a byte", answer(256, &[])),
            refused(SHAPE, "accepted-body", "a body where none belongs", answer(0, &[1])),
            refused(SHAPE, "nothing-body", "a body where none belongs", answer(3, &[1])),
            refused(SHAPE, "revoked-body", "a body where none belongs", answer(4, &[1])),
            refused(SHAPE, "quarantined-body", "a body where none belongs", answer(5, &[1])),
            refused(SHAPE, "code-empty", "a refusal without a code", answer(1, &[])),
            refused(SHAPE, "code-long", "a code of 65 bytes", answer(1, long.as_bytes())),
            refused(SHAPE, "code-capital", "a code in capitals", answer(1, b"Stale")),
            refused(SHAPE, "code-control", "a code with a line feed", answer(1, b"a\nb")),
            refused(SHAPE, "downlink-empty", "a message down without bytes", answer(2, &[])),
            refused(SHAPE, "body-text", "a body that is a text", array(&[uint(1), tstr("stale")])),
            refused(SHAPE, "short", "no body", array(&items[..1])),
            refused(SHAPE, "more", "an item behind the body", {
                array(&[&items[..], &[uint(0)]].concat())
            }),
            refused("not-cbor", "trailing", "a byte behind the answer", {
                [answer(0, &[]), vec![0]].concat()
            }),
            refused("not-cbor", "empty", "no answer", vec![]),
        ]
    }

    fn keys(&self, m: &Messages) -> Vec<Vector> {
        let good = answer(0, &[]);
        let under = |key: [u8; 32], aad: &[u8]| {
            self.vector(&Encrypt0::new(&key, self.random(), &good, aad).bytes())
        };
        let aad = sha256(&self.request);
        let other = m.p.epoch(4).answer_key();
        vec![
            under(self.key, &sha256(b"another")).refused(LAYER, "request", "for another request"),
            under(self.key, &self.request).refused(
                LAYER,
                "aad",
                "bound to the request, not its hash",
            ),
            under(other, &aad).refused(LAYER, "epoch", "under the answer key of another epoch"),
            under(m.epoch.fetch_key(), &aad).refused(LAYER, "fetch-key", "under the fetch key"),
            under(m.epoch.down, &aad).refused(LAYER, "key-down", "under the key of the direction"),
        ]
    }

    fn forms(&self) -> Vec<Vector> {
        let plaintext = answer(0, &[]);
        let changed = |expect: &str, rule: &str, fault: &str, change: fn(&mut Encrypt0)| {
            let mut sealed = self.sealed(&plaintext);
            change(&mut sealed);
            let rule = format!("encrypt0-{rule}");
            self.vector(&sealed.bytes()).refused(expect, &rule, fault)
        };
        let under = |rule: &str, fault: &str, labels: &[(i64, Vec<u8>)]| {
            let (protected, aad) = (labels_map(labels), sha256(&self.request));
            let sealed = Encrypt0::under(protected, &self.key, self.random(), &plaintext, &aad);
            let rule = format!("encrypt0-{rule}");
            self.vector(&sealed.bytes()).refused(HEADER, &rule, fault)
        };
        let iv = |iv: &[u8]| labels_map(&[(5, bstr(iv))]);
        let sealed = self.sealed(&plaintext);
        let with_iv = |expect: &str, rule: &str, fault: &str, unprotected: Vec<u8>| {
            let sealed = Encrypt0 { unprotected, ..sealed.clone() };
            let rule = format!("encrypt0-{rule}");
            self.vector(&sealed.bytes()).refused(expect, &rule, fault)
        };
        let other_iv = super::changed(&sealed.iv, 0);
        vec![
            changed("wrong-tag", "tag-missing", "no tag", |e| e.tags.clear()),
            changed("wrong-tag", "tag-other", "the tag of COSE_Encrypt", |e| e.tags = vec![96]),
            changed(SHAPE, "tag-twice", "the tag twice", |e| e.tags = vec![16, 16]),
            changed(SHAPE, "item-more", "recipients", |e| e.more.push(array::<&[u8]>(&[]))),
            changed(HEADER, "protected-map", "a protected header that is not wrapped", |e| {
                e.protected = labels_map(&[(1, uint(3))]);
            }),
            changed(SHAPE, "ciphertext-null", "a detached ciphertext", |e| {
                e.ciphertext = NULL.to_vec();
            }),
            changed(LAYER, "ciphertext-empty", "an empty ciphertext", |e| e.ciphertext = bstr([])),
            changed(LAYER, "gcm-tag-changed", "a bit of the GCM tag changed", |e| {
                e.ciphertext = super::last_changed(&e.ciphertext);
            }),
            under("alg-other", "A128GCM", &[(1, uint(1))]),
            under("alg-missing", "no algorithm", &[]),
            under("alg-long", "the algorithm longer than it must be", &[(1, vec![0x18, 0x03])]),
            under("crit", "crit in the protected header", &[(1, uint(3)), (2, array(&[int(4)]))]),
            under("protected-more", "a key id", &[(1, uint(3)), (4, bstr("kid"))]),
            with_iv(LAYER, "iv-changed", "a bit of the IV changed", iv(&other_iv)),
            with_iv(HEADER, "iv-short", "an IV of 11 bytes", iv(&sealed.iv[1..])),
            with_iv(HEADER, "iv-long", "an IV of 13 bytes", iv(&[&sealed.iv[..], &[0]].concat())),
            with_iv(HEADER, "iv-missing", "no IV", labels_map(&[])),
            with_iv(HEADER, "iv-partial", "a partial IV", labels_map(&[(6, bstr(sealed.iv))])),
            with_iv(HEADER, "kid", "a key id in the unprotected header", {
                labels_map(&[(4, bstr("kid")), (5, bstr(sealed.iv))])
            }),
            with_iv(HEADER, "more", "a label behind the IV", {
                labels_map(&[(5, bstr(sealed.iv)), (6, bstr([]))])
            }),
        ]
    }

    fn signed_items(&self, answer: &[u8]) -> Vec<Vec<u8>> {
        vec![bstr(self.p.device_id), bstr(sha256(&self.request)), bstr(answer)]
    }

    fn statement(&self, items: &[Vec<u8>]) -> Signed {
        Signed::by_server(&self.p.server_signing, "answer", items)
    }

    fn signed_vector(&self, signed: Vec<u8>) -> Vector {
        let fields = vec![bytes("answer", signed), bytes("request", &self.request)];
        Vector::good("answer-verify", "", "answer-verify", fields).with("parties")
    }

    fn signed(&self) -> Vec<Vector> {
        let good = self.statement(&self.signed_items(&answer(4, &[])));
        let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
            self.signed_vector(good.with(at, item)).refused(expect, rule, fault)
        };
        let other = bstr(sha256(b"another"));
        let mut vectors = good.refusals(|bytes| self.signed_vector(bytes));
        vectors.extend([
            refused("wrong-route", "device", "for another device", 0, bstr([0xd1; 16])),
            refused("wrong-route", "request", "for another request", 1, other),
            refused(SHAPE, "device-15", "a device id of 15 bytes", 0, bstr([0; 15])),
            refused(SHAPE, "kind-6", "a kind that there is not", 2, bstr(answer(6, &[]))),
            refused(SHAPE, "unwrapped", "an answer that is not wrapped", 2, answer(4, &[])),
        ]);
        vectors
    }
}
