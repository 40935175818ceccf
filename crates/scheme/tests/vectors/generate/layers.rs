//! Layers removed, doubled, swapped, reflected, and put around somebody else's; and routing
//! headers that do not agree with the record.

use super::{Messages, last_changed, order};
use crate::crypto::Key;
use crate::forge::{DOWN, Frame, KEY, SERIAL, Sign1, UP, envelope};
use crate::format::{Vector, bytes};
use crate::parties::Epoch;
use crate::wire::{array, bstr, uint};

pub fn vectors(m: &Messages) -> Vec<Vector> {
    [removed(m), doubled(m), swapped(m), reflected(m), rewrapped(m), forged(m), routes(m)].concat()
}

fn removed(m: &Messages) -> Vec<Vector> {
    let (up, up_key) = (m.up(SERIAL), m.up(KEY));
    let (down, down_key) = (m.down(SERIAL), m.down(KEY));
    let signed = down.signed().bytes();
    let no_serial = "the serial layer missing";
    let no_key = "the key layer missing";
    let no_signature = "the server's signature missing";
    vec![
        up.vector(&up.signed().bytes()).refused("wrong-tag", "removed-es", no_serial),
        up.vector(&up.es().seal(&up.content).bytes()).refused("not-cbor", "removed-ea", no_key),
        up_key.vector(&up_key.sign(&up_key.content).bytes()).refused(
            "not-cbor",
            "removed-es-within",
            no_serial,
        ),
        up_key.vector(&up_key.sealed().bytes()).refused("wrong-tag", "removed-ea-around", no_key),
        down.vector(&down.ea().seal(&signed).bytes()).refused(
            "wrong-header",
            "removed-es",
            no_serial,
        ),
        down.vector(&down.es().seal(&signed).bytes()).refused("wrong-tag", "removed-ea", no_key),
        down_key.vector(&down_key.ea().seal(&signed).bytes()).refused(
            "wrong-tag",
            "removed-es-within",
            no_serial,
        ),
        down_key.vector(&down_key.es().seal(&signed).bytes()).refused(
            "wrong-header",
            "removed-ea-around",
            no_key,
        ),
        down.vector(&down.outer(&down.inner(&down.content).bytes()).bytes()).refused(
            "not-cbor",
            "removed-signature",
            no_signature,
        ),
        down_key
            .vector(&down_key.outer(&down_key.inner(&down_key.content).bytes()).bytes())
            .refused("not-cbor", "removed-signature-within", no_signature),
    ]
}

fn doubled(m: &Messages) -> Vec<Vector> {
    let (up, up_key) = (m.up(SERIAL), m.up(KEY));
    let (down, down_key) = (m.down(SERIAL), m.down(KEY));
    vec![
        up.vector(&up.es().seal(&up.body()).bytes()).refused(
            "wrong-tag",
            "doubled-es",
            "a serial layer around the serial layer",
        ),
        up_key.vector(&up_key.sign(&up_key.body()).bytes()).refused(
            "wrong-tag",
            "doubled-ea",
            "a signature around the signature",
        ),
        down.vector(&down.es().seal(&down.body()).bytes()).refused(
            "wrong-header",
            "doubled-es",
            "a serial layer around the serial layer",
        ),
        down_key.vector(&down_key.ea().seal(&down_key.body()).bytes()).refused(
            "wrong-header",
            "doubled-ea",
            "a key layer around the key layer",
        ),
    ]
}

/// The other order than the routing header says, every layer bound to the header's order.
fn swapped(m: &Messages) -> Vec<Vector> {
    let fault = "the layers nested the other way round than the routing header says";
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        let up = m.up(outer);
        let body = match outer {
            SERIAL => up.sign(&up.es().seal(&up.content).bytes()).bytes(),
            _ => up.es().seal(&up.sign(&up.content).bytes()).bytes(),
        };
        vectors.push(up.vector(&body).refused("wrong-tag", &swap("swapped", outer), fault));
        let down = m.down(outer);
        let signed = down.signed().bytes();
        let body = match outer {
            SERIAL => down.ea().seal(&down.es().seal(&signed).bytes()).bytes(),
            _ => down.es().seal(&down.ea().seal(&signed).bytes()).bytes(),
        };
        let vector = down.vector(&body);
        vectors.push(vector.refused("wrong-header", &swap("swapped", outer), fault));
        // An honest message whose routing header alone says the other order.
        let mut frame = up.frame.clone();
        frame.outer = 3 - outer;
        let relabelled = envelope(&frame.route(m.p), &up.body());
        let mut vector = up.vector(&[]);
        vector.fields = vec![bytes("envelope", relabelled)];
        let fault = "the routing header says the other order";
        vectors.push(vector.refused("wrong-tag", &swap("relabelled", outer), fault));
    }
    vectors
}

fn swap(what: &str, outer: u8) -> String {
    format!("{what}-{}", order(outer))
}

/// What one side has sent, sent back to it.
fn reflected(m: &Messages) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        let (up, down) = (m.up(outer), m.down(outer));
        let fault = "the device's own message, sent back to it as it is";
        let mut vector = down.vector(&[]);
        vector.fields[0] = bytes("envelope", up.envelope(&up.body()));
        vectors.push(vector.refused("wrong-route", &swap("returned", outer), fault));
        let fault = "the device's own message, sent back to it as one of the server's";
        let expect = if outer == SERIAL { "bad-commitment" } else { "wrong-tag" };
        let vector = down.vector(&up.body());
        vectors.push(vector.refused(expect, &swap("reflected", outer), fault));
        let fault = "the server's own message, sent back to it as it is";
        let mut vector = up.vector(&[]);
        vector.fields[0] = bytes("envelope", envelope(&down.frame.route(m.p), &down.body()));
        vectors.push(vector.refused("wrong-route", &swap("returned", outer), fault));
        let fault = "the server's own message, sent back to it as one of the device's";
        let vector = up.vector(&down.body());
        vectors.push(vector.refused(expect, &swap("reflected", outer), fault));
    }
    vectors
}

/// Another enrolled device puts its own layers around what the true one has sealed.
fn rewrapped(m: &Messages) -> Vec<Vector> {
    let (serial, key) = (m.up(SERIAL), m.up(KEY));
    let other_key = Key::new("another device's signing key");
    let mut theirs = serial.frame.aad(m.p, 2);
    theirs[6] = bstr([0xd1; 16]);
    let signed = Sign1::by(&m.p.signing, &array(&theirs), &serial.content);
    let aad = array(&key.frame.aad(m.p, 1));
    let resigned = Sign1::by(&other_key, &aad, &key.sealed().bytes());
    vec![
        serial.vector(&serial.es().seal(&signed.bytes()).bytes()).refused(
            "bad-device-signature",
            "rewrapped-es",
            "what was signed for another device id, in this device's serial layer",
        ),
        key.vector(&resigned.bytes()).refused(
            "bad-device-signature",
            "rewrapped-ea",
            "this device's serial layer, signed by another device",
        ),
    ]
}

/// With the keys of the true device and another chip, and with the chip and other keys.
fn forged(m: &Messages) -> Vec<Vector> {
    let chip = m.p.chain_of(&Key::new("another chip's serial key"));
    let forged = Epoch::new(chip, 3, m.epoch.secret, m.p.sequence, m.epoch.open_hash);
    let unopened = Epoch::new(m.p.chain(), 3, [0; 32], m.p.sequence, m.epoch.open_hash);
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        for (epoch, rule, fault) in [
            (&forged, "other-chip", "sealed with every key of the device but by another chip"),
            (&unopened, "no-epoch-secret", "sealed by the chip without the secret of the epoch"),
        ] {
            let mut up = m.up(outer);
            up.frame.key = epoch.up;
            let rule = swap(rule, outer);
            vectors.push(up.vector(&up.body()).refused("bad-commitment", &rule, fault));
            let mut down = m.down(outer);
            down.frame.key = epoch.down;
            vectors.push(down.vector(&down.body()).refused("bad-commitment", &rule, fault));
        }
        let mut down = m.down(outer);
        down.content = b"other content".to_vec();
        let by_device = Sign1::by(&m.p.signing, &array(&down.frame.aad(m.p, 3)), &down.content);
        let body = down.outer(&down.inner(&by_device.bytes()).bytes()).bytes();
        let fault = "content that somebody with the device's keys has signed for the server";
        let rule = swap("forged-server", outer);
        vectors.push(down.vector(&body).refused("bad-server-signature", &rule, fault));
        let fault = "agreed with another key than the device's";
        let mut vector = down.good("");
        vector.fields[1] = bytes("z", Key::new("another device").agree(&down.ephemeral.point()));
        vectors.push(vector.refused("bad-key-layer", &swap("other-z", outer), fault));
    }
    vectors
}

/// A routing header with one item that is not what the record says.
fn routes(m: &Messages) -> Vec<Vector> {
    let items = ["device-id", "generation", "keyset", "sequence", "epoch"];
    let mut vectors = Vec::new();
    let (up, down) = (m.up(SERIAL), m.down(KEY));
    let frames: [(&Frame, Vector, Vec<u8>, u8); 2] = [
        (&up.frame, up.vector(&[]), up.body(), UP),
        (&down.frame, down.vector(&[]), down.body(), DOWN),
    ];
    for (frame, vector, body, direction) in frames {
        let with = |at: usize, item: Vec<u8>| {
            let mut route = frame.route(m.p);
            route[at] = item;
            let mut vector = vector.clone();
            vector.fields[0] = bytes("envelope", envelope(&route, &body));
            vector
        };
        for (at, name) in items.iter().enumerate() {
            let item = last_changed(&frame.route(m.p)[at + 3]);
            let fault = format!("a routing header with another {name} than the record has");
            let rule = format!("route-{name}");
            vectors.push(with(at + 3, item).refused("wrong-route", &rule, &fault));
        }
        let fault = "the seq of an epoch-open";
        vectors.push(with(8, uint(0)).refused("wrong-route", "route-seq-0", fault));
        let fault = "the seq of another message";
        vectors.push(with(8, uint(8)).refused(
            if direction == UP { "bad-commitment" } else { "bad-key-layer" },
            "route-seq",
            fault,
        ));
    }
    vectors
}
