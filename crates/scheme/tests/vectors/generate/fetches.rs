//! Fetches.

use super::{Messages, last_changed};
use crate::crypto::drawn;
use crate::forge::Encrypt0;
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{array, bstr, int, tstr, uint};

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let f = Fetches { p: m.p, key: m.epoch.fetch_key() };
    [f.good(), f.routes(), f.contents(), f.keys(m)].concat()
}

struct Fetches<'a> {
    p: &'a Parties,
    key: [u8; 32],
}

const SHAPE: &str = "wrong-shape";
const LAYER: &str = "bad-serial-layer";

impl Fetches<'_> {
    /// Version, device, generation, epoch.
    fn route(&self) -> Vec<Vec<u8>> {
        vec![uint(1), bstr(self.p.device_id), uint(self.p.generation.into()), uint(3)]
    }

    fn aad(&self) -> Vec<u8> {
        array(&[vec![tstr("twinseal-fetch-v1")], self.route()].concat())
    }

    fn random(&self) -> [u8; 32] {
        drawn("fetch")
    }

    fn sealed(&self, plaintext: &[u8]) -> Vec<u8> {
        Encrypt0::new(&self.key, self.random(), plaintext, &self.aad()).bytes()
    }

    fn vector(&self, items: &[Vec<u8>]) -> Vector {
        Vector::good("fetch", "", "fetch", vec![bytes("fetch", array(items))]).with("parties")
    }

    fn of_content(&self, plaintext: &[u8]) -> Vector {
        self.vector(&[self.route(), vec![bstr(self.sealed(plaintext))]].concat())
    }

    fn good(&self) -> Vec<Vector> {
        let some: Vec<_> = (1..=2).map(|i| ack([i; 16], i.into())).collect();
        let most: Vec<_> = (1..=64).map(|i| ack([i; 16], u32::MAX.into())).collect();
        let good = |name: &str, wait_ms: u64, acks: &[Vec<u8>]| {
            let mut vector = self.of_content(&content(wait_ms, acks));
            vector.name = name.into();
            vector.fields.extend([
                bytes("seal-random", self.random()),
                word("out-wait-ms", wait_ms),
                bytes("out-acks", array(acks)),
                bytes("note-external-aad", self.aad()),
            ]);
            vector
        };
        vec![
            good("plain", 0, &[]),
            good("acknowledging", 25_000, &some),
            good("most", u32::MAX.into(), &most),
        ]
    }

    fn routes(&self) -> Vec<Vector> {
        let plaintext = content(0, &[]);
        let sealed = bstr(self.sealed(&plaintext));
        let whole = [self.route(), vec![sealed.clone()]].concat();
        let with = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
            let mut items = whole.clone();
            items[at] = item;
            self.vector(&items).refused(expect, rule, fault)
        };
        let unwrapped = self.sealed(&plaintext);
        vec![
            with("wrong-version", "version-0", "version 0", 0, uint(0)),
            with("wrong-version", "version-2", "version 2", 0, uint(2)),
            with(LAYER, "device", "another device than was sealed for", 1, bstr([0xd1; 16])),
            with(LAYER, "generation", "another generation than was sealed for", 2, uint(3)),
            with(LAYER, "epoch", "another epoch than was sealed for", 3, uint(4)),
            with(SHAPE, "device-15", "a device id of 15 bytes", 1, bstr([0; 15])),
            with(SHAPE, "generation-large", "a generation of 2^32", 2, uint(1 << 32)),
            with(SHAPE, "epoch-negative", "an epoch of -1", 3, int(-1)),
            with(SHAPE, "unwrapped", "a sealed part that is not wrapped", 4, unwrapped),
            with("not-cbor", "sealed-empty", "an empty sealed part", 4, bstr([])),
            self.vector(&whole[..4]).refused(SHAPE, "short", "no sealed part"),
            self.vector(&[&whole[..], &[uint(0)]].concat()).refused(
                SHAPE,
                "more",
                "an item behind the sealed part",
            ),
            with("too-large", "size", "over 16 KiB", 4, bstr(vec![0; 16 * 1024])),
        ]
    }

    fn contents(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, plaintext: Vec<u8>| {
            self.of_content(&plaintext).refused(expect, rule, fault)
        };
        let good = ack([1; 16], 1);
        let with_ack = |ack: Vec<u8>| content(0, &[ack]);
        let hash = bstr([7; 32]);
        let many: Vec<_> = (1..=65).map(|i| ack([i; 16], 1)).collect();
        vec![
            refused(
                "bad-index",
                "index-0",
                "an acknowledged index of 0",
                with_ack(ack([1; 16], 0)),
            ),
            refused(SHAPE, "index-large", "an acknowledged index of 2^32", {
                with_ack(ack([1; 16], 1 << 32))
            }),
            refused(SHAPE, "trade-15", "a trade id of 15 bytes", {
                with_ack(array(&[bstr([1; 15]), uint(1), hash.clone()]))
            }),
            refused(SHAPE, "hash-31", "an inner hash of 31 bytes", {
                with_ack(array(&[bstr([1; 16]), uint(1), bstr([7; 31])]))
            }),
            refused(SHAPE, "ack-short", "an acknowledgement without a hash", {
                with_ack(array(&[bstr([1; 16]), uint(1)]))
            }),
            refused(SHAPE, "acks-65", "65 acknowledgements", content(0, &many)),
            refused(SHAPE, "wait-large", "a wait of 2^32 ms", content(1 << 32, &[good])),
            refused(SHAPE, "wait-text", "a wait that is a text", {
                array(&[tstr("1"), array::<&[u8]>(&[])])
            }),
            refused(SHAPE, "acks-bytes", "acknowledgements that are no array", {
                array(&[uint(0), bstr([])])
            }),
            refused("not-cbor", "content-trailing", "a byte behind the content", {
                [content(0, &[]), vec![0]].concat()
            }),
        ]
    }

    fn keys(&self, m: &Messages) -> Vec<Vector> {
        let plaintext = content(0, &[]);
        let under = |key: [u8; 32], aad: Vec<u8>| {
            let sealed = Encrypt0::new(&key, self.random(), &plaintext, &aad).bytes();
            self.vector(&[self.route(), vec![bstr(sealed)]].concat())
        };
        let changed = bstr(last_changed(&self.sealed(&plaintext)));
        vec![
            under(m.epoch.answer_key(), self.aad()).refused(
                LAYER,
                "answer-key",
                "under the answer key",
            ),
            under(m.p.epoch(4).fetch_key(), self.aad()).refused(
                LAYER,
                "other-epoch",
                "under the fetch key of another epoch",
            ),
            under(self.key, array(&self.route())).refused(
                LAYER,
                "label",
                "bound to the route without the label",
            ),
            self.vector(&[self.route(), vec![changed]].concat()).refused(
                LAYER,
                "changed",
                "a bit of the GCM tag changed",
            ),
        ]
    }
}

fn ack(trade: [u8; 16], index: u64) -> Vec<u8> {
    array(&[bstr(trade), uint(index), bstr([7; 32])])
}

fn content(wait_ms: u64, acks: &[Vec<u8>]) -> Vec<u8> {
    array(&[uint(wait_ms), array(acks)])
}
