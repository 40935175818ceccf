//! Every item of external_aad in every layer, changed one at a time by a sender whose routing
//! header is what the receiver expects.

use super::{Messages, last_changed, order};
use crate::forge::{KEY, SERIAL, Sign1};
use crate::format::Vector;
use crate::wire::{array, tstr, uint};

/// The items of external_aad, in their order.
pub const ITEMS: [&str; 15] = [
    "label",
    "layer",
    "outer",
    "direction",
    "server-id",
    "sequence",
    "device-id",
    "serial",
    "generation",
    "keyset",
    "epoch",
    "epoch-open-hash",
    "seq",
    "signing-key-id",
    "decryption-key-id",
];

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        for item in 0..ITEMS.len() {
            vectors.extend([1, 2].map(|layer| up(m, outer, layer, item)));
            vectors.extend([1, 2, 3].map(|layer| down(m, outer, layer, item)));
        }
    }
    vectors
}

fn up(m: &Messages, outer: u8, layer: u64, item: usize) -> Vector {
    let up = m.up(outer);
    let aad = other(up.frame.aad(m.p, layer), item);
    let is_serial = (outer == SERIAL) == (layer == 1);
    let (mut es, mut expect) = (up.es(), "bad-device-signature");
    let sign = |payload: &[u8]| match is_serial {
        true => up.sign(payload),
        false => Sign1::by(&m.p.signing, &aad, payload),
    };
    if is_serial {
        (es.aad, expect) = (aad.clone(), "bad-commitment");
    }
    let body = match outer {
        SERIAL => es.seal(&sign(&up.content).bytes()).bytes(),
        _ => sign(&es.seal(&up.content).bytes()).bytes(),
    };
    refused(up.vector(&body), expect, outer, layer, item)
}

fn down(m: &Messages, outer: u8, layer: u64, item: usize) -> Vector {
    let down = m.down(outer);
    let aad = other(down.frame.aad(m.p, layer), item);
    let (mut es, mut ea, mut signed) = (down.es(), down.ea(), down.signed());
    let is_serial = (outer == SERIAL) == (layer == 1);
    let expect = match (layer, is_serial) {
        (3, _) => {
            signed = Sign1::by(&m.p.server_signing, &aad, &down.content);
            "bad-server-signature"
        }
        (_, true) => {
            es.aad = aad;
            "bad-commitment"
        }
        (_, false) => {
            ea.aad = aad;
            "bad-key-layer"
        }
    };
    let body = match outer {
        SERIAL => es.seal(&ea.seal(&signed.bytes()).bytes()).bytes(),
        _ => ea.seal(&es.seal(&signed.bytes()).bytes()).bytes(),
    };
    refused(down.vector(&body), expect, outer, layer, item)
}

fn refused(mut vector: Vector, expect: &str, outer: u8, layer: u64, item: usize) -> Vector {
    let place = ["outer", "inner", "server"][layer as usize - 1];
    let name = ITEMS[item];
    vector.group = format!("aad-{}", &vector.group["open-".len()..]);
    vector.name = order(outer).into();
    let fault = format!("sealed with another {name} in the external_aad of layer {layer}");
    vector.refused(expect, &format!("aad-{place}-{name}"), &fault)
}

/// The encoded array with one item of another value.
fn other(mut items: Vec<Vec<u8>>, item: usize) -> Vec<u8> {
    let old = items[item].clone();
    items[item] = match ITEMS[item] {
        "label" => tstr("twinseal-msg-v2"),
        "layer" => uint(u64::from(old[0]) % 3 + 1),
        "outer" => uint(3 - u64::from(old[0])),
        "direction" => uint(1 - u64::from(old[0])),
        // Numbers up to 23 are their own encoding; otherwise the last byte counts lowest.
        _ => last_changed(&old),
    };
    assert_ne!(items[item], old);
    array(&items)
}
