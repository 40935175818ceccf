//! The envelope, and on it every rule of deterministic CBOR.

use super::Messages;
use crate::crypto::sha256;
use crate::forge::{SERIAL, indefinite, lengthened};
use crate::format::{Vector, bytes, word};
use crate::wire::{NULL, array, bstr, int, map, tag, tstr, uint};

/// Encoded items of a routing header, and the body.
struct Parts {
    route: Vec<Vec<u8>>,
    body: Vec<u8>,
}

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let up = m.up(SERIAL);
    let parts = Parts { route: up.frame.route(m.p), body: b"the outer layer".to_vec() };
    let mut vectors = good(&parts);
    vectors.extend(encodings(&parts));
    vectors.extend(shapes(&parts));
    vectors.extend(fields(&parts));
    vectors
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        array(&[array(&self.route), bstr(&self.body)])
    }

    /// With another item in the routing header.
    fn item(&self, at: usize, item: impl AsRef<[u8]>) -> Vec<u8> {
        let mut route = self.route.clone();
        route[at] = item.as_ref().to_vec();
        array(&[array(&route), bstr(&self.body)])
    }
}

fn vector(name: &str, envelope: Vec<u8>) -> Vector {
    Vector::good("envelope", name, "envelope", vec![bytes("envelope", envelope)])
}

fn refused(expect: &str, rule: &str, fault: &str, envelope: Vec<u8>) -> Vector {
    vector("", envelope).refused(expect, rule, fault)
}

fn good(parts: &Parts) -> Vec<Vector> {
    let whole = |name: &str, numbers: [u64; 7], device: [u8; 16], body: Vec<u8>| {
        let [outer, direction, generation, keyset, sequence, epoch, seq] = numbers;
        let route = [1, outer, direction].map(uint).into_iter().chain([bstr(device)]);
        let rest = [generation, keyset, sequence, epoch, seq].map(uint);
        let envelope = array(&[array(&route.chain(rest).collect::<Vec<_>>()), bstr(&body)]);
        let mut vector = vector(name, envelope.clone());
        vector.fields.extend([
            word("out-outer", outer),
            word("out-direction", direction),
            bytes("out-device-id", device),
            word("out-generation", generation),
            word("out-keyset", keyset),
            word("out-sequence", sequence),
            word("out-epoch", epoch),
            word("out-seq", seq),
            bytes("out-body", body),
            bytes("out-hash", sha256(envelope)),
        ]);
        vector
    };
    let (device, body) = ([0xd0; 16], parts.body.clone());
    let max = u64::from(u32::MAX);
    vec![
        whole("good", [1, 0, 2, 1, 1_760_000_000, 3, 7], device, body.clone()),
        whole("least", [1, 0, 0, 0, 0, 0, 0], [0; 16], vec![]),
        whole("most", [2, 1, max, max, u64::MAX, u64::MAX, max], [0xff; 16], body),
        // 256 KiB and not a byte more: routing header 38, its array 1, body's head 5.
        whole("largest", [1, 0, 2, 1, 1_760_000_000, 3, 7], device, vec![0; 256 * 1024 - 37]),
    ]
}

/// One value, and only one encoding of it.
fn encodings(parts: &Parts) -> Vec<Vector> {
    let not = "not-deterministic";
    let route = array(&parts.route);
    let body = bstr(&parts.body);
    let good = parts.bytes();
    let deep = (0..8).fold(uint(1), |item, _| array(&[item]));
    let float = [0xf9, 0x3c, 0x00];
    vec![
        refused("not-cbor", "empty", "no bytes at all", vec![]),
        refused("not-cbor", "trailing", "a byte behind the end", [&good[..], &[0]].concat()),
        refused("not-cbor", "cut", "the last byte missing", good[..good.len() - 1].to_vec()),
        refused("not-cbor", "break", "a break without a beginning", vec![0xff]),
        refused("not-cbor", "reserved", "additional information 28", parts.item(0, [0x1c])),
        refused("not-cbor", "utf-8", "a text that is not UTF-8", parts.item(0, [0x61, 0xff])),
        refused("not-cbor", "length", "a string longer than the bytes that are there", {
            array(&[route.clone(), vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]])
        }),
        refused("not-cbor", "items", "an array longer than the bytes that are there", {
            vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        }),
        refused(not, "indefinite-array", "an array of indefinite length", indefinite(&good)),
        refused(not, "indefinite-route", "a routing header of indefinite length", {
            array(&[indefinite(&route), body.clone()])
        }),
        refused(not, "indefinite-bytes", "a byte string of indefinite length", {
            array(&[route.clone(), indefinite(&body)])
        }),
        refused(not, "indefinite-text", "a text of indefinite length", {
            parts.item(0, indefinite(&tstr("a")))
        }),
        refused(not, "indefinite-map", "a map of indefinite length", {
            parts.item(0, indefinite(&map(&[(uint(1), uint(1))])))
        }),
        refused(not, "long-integer", "an integer longer than it must be", {
            parts.item(7, lengthened(&uint(3)))
        }),
        refused(not, "long-sequence", "an integer of 8 bytes that fits into 4", {
            parts.item(6, [&[0x1b, 0, 0, 0, 0][..], &1_760_000_000u32.to_be_bytes()].concat())
        }),
        refused(not, "long-array", "the length of an array longer than it must be", {
            lengthened(&good)
        }),
        refused(not, "long-bytes", "the length of a byte string longer than it must be", {
            array(&[route.clone(), lengthened(&body)])
        }),
        refused(not, "long-tag", "a tag longer than it must be", {
            parts.item(0, lengthened(&tag(1, uint(1))))
        }),
        refused(not, "map-order", "a map whose keys are not sorted", {
            parts.item(0, map(&[(uint(2), uint(0)), (uint(1), uint(0))]))
        }),
        refused(not, "map-twice", "a map with one key twice", {
            parts.item(0, map(&[(uint(1), uint(0)), (uint(1), uint(0))]))
        }),
        refused(not, "bignum", "a number as a bignum that an integer could hold", {
            parts.item(7, tag(2, bstr([3])))
        }),
        refused(not, "long-float", "a float longer than it must be", {
            parts.item(7, [0xfa, 0x3f, 0x80, 0, 0])
        }),
        refused(not, "undefined", "undefined where a value belongs", parts.item(7, [0xf7])),
        refused("wrong-shape", "float", "the number 1 as a float", parts.item(7, float)),
        refused("wrong-shape", "null", "null where a number belongs", parts.item(7, NULL)),
        refused("wrong-shape", "bool", "true where a number belongs", parts.item(7, [0xf5])),
        refused("too-deep", "depth", "nested nine levels deep", array(&[deep, body.clone()])),
        refused("too-large", "size", "one byte more than 256 KiB", vec![0; 256 * 1024 + 1]),
    ]
}

/// What the envelope is made of.
fn shapes(parts: &Parts) -> Vec<Vector> {
    let shape = "wrong-shape";
    let (route, body) = (array(&parts.route), bstr(&parts.body));
    let longer = [parts.route.clone(), vec![uint(0)]].concat();
    vec![
        refused(shape, "not-array", "a map in place of the array", {
            map(&[(uint(0), route.clone()), (uint(1), body.clone())])
        }),
        refused(shape, "one-item", "no body", array(&[&route])),
        refused(shape, "three-items", "something behind the body", {
            array(&[&route, &body, &uint(0)])
        }),
        refused(shape, "tagged", "a tag around the envelope", tag(55799, parts.bytes())),
        refused(shape, "route-tagged", "a tag around the routing header", {
            array(&[tag(1, &route), body.clone()])
        }),
        refused(shape, "route-short", "a routing header of 8 items", {
            array(&[array(&parts.route[..8]), body.clone()])
        }),
        refused(shape, "route-long", "a routing header of 10 items", {
            array(&[array(&longer), body.clone()])
        }),
        refused(shape, "route-bytes", "a routing header that is a byte string", {
            array(&[bstr(&route), body])
        }),
        refused(shape, "body-null", "a body that is null", array(&[route.clone(), NULL.to_vec()])),
        refused(shape, "body-text", "a body that is a text", array(&[route.clone(), tstr("a")])),
        refused(shape, "body-array", "a body that is not wrapped in a byte string", {
            array(&[route, array(&[uint(1)])])
        }),
    ]
}

/// Every field of the routing header out of its bounds.
fn fields(parts: &Parts) -> Vec<Vector> {
    let shape = "wrong-shape";
    let over = uint(1 << 32);
    let field = |expect, rule: &str, fault: &str, at, item: &[u8]| {
        refused(expect, &format!("field-{rule}"), fault, parts.item(at, item))
    };
    vec![
        field("wrong-version", "version-0", "version 0", 0, &uint(0)),
        field("wrong-version", "version-2", "version 2", 0, &uint(2)),
        field("wrong-version", "version-257", "version 257", 0, &uint(257)),
        field(shape, "outer-0", "an order that there is not", 1, &uint(0)),
        field(shape, "outer-3", "an order that there is not", 1, &uint(3)),
        field(shape, "outer-257", "an order that does not fit into a byte", 1, &uint(257)),
        field(shape, "direction-2", "a direction that there is not", 2, &uint(2)),
        field(shape, "device-15", "a device id of 15 bytes", 3, &bstr([0; 15])),
        field(shape, "device-17", "a device id of 17 bytes", 3, &bstr([0; 17])),
        field(shape, "device-text", "a device id that is a text", 3, &tstr("0123456789abcdef")),
        field(shape, "generation-large", "a generation of 2^32", 4, &over),
        field(shape, "generation-negative", "a generation of -1", 4, &int(-1)),
        field(shape, "keyset-large", "a keyset of 2^32", 5, &over),
        field(shape, "sequence-negative", "a sequence of -1", 6, &int(-1)),
        field(shape, "sequence-large", "a sequence of 2^64", 6, &{
            tag(2, bstr([1, 0, 0, 0, 0, 0, 0, 0, 0]))
        }),
        field(shape, "epoch-negative", "an epoch of -1", 7, &int(-1)),
        field(shape, "seq-large", "a seq of 2^32", 8, &over),
        field(shape, "seq-negative", "a seq of -1", 8, &int(-1)),
        field(shape, "seq-bytes", "a seq as a byte string", 8, &bstr([7])),
    ]
}
