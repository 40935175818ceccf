//! M1: the claim, and everything that it may not be.

use super::transcript::{EXPIRY, Transcript};
use super::{changed, last_changed};
use crate::crypto::Key;
use crate::forge::labels_map;
use crate::format::{Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{NULL, array, bstr, int, map, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let t = Transcript::new(p);
    [good(&t), challenges(&t), layers(&t), contents(&t), user_infos(&t), hardware(&t)].concat()
}

const SHAPE: &str = "wrong-shape";

fn vector(m1: Vec<u8>) -> Vector {
    Vector::good("m1", "", "m1", vec![bytes("m1", m1)]).with("parties enrolment")
}

/// Sealed rightly, whatever the content.
fn of(t: &Transcript, claim: &[u8]) -> Vector {
    vector(t.m1_of(&t.m0().bytes(), &t.key_layer(), claim))
}

fn with(t: &Transcript, at: usize, item: Vec<u8>) -> Vector {
    let mut claim = t.claim();
    claim[at] = item;
    of(t, &array(&claim))
}

fn good(t: &Transcript) -> Vec<Vector> {
    let accepted = |name: &str, claim: &[Vec<u8>]| {
        let mut vector = of(t, &array(claim));
        vector.name = name.into();
        vector.fields.extend([
            bytes("seal-ephemeral-private", t.ephemeral().private()),
            bytes("out-nonce-s", t.nonce_s),
            bytes("out-serial", t.p.serial()),
            bytes("out-user-info", &claim[2]),
            bytes("out-code", &claim[3]),
            bytes("out-re-enrolment", &claim[4]),
            bytes("out-hardware", &claim[5]),
            bytes("note-external-aad", t.key_layer().aad),
            bytes("note-content-key", t.key_layer().seal(&[]).key),
        ]);
        vector
    };
    let mut bare = t.claim();
    (bare[2], bare[3]) = (map(&[]), NULL.to_vec());
    let mut hardware = t.hardware();
    hardware[2] = array::<&[u8]>(&[]);
    bare[5] = array(&hardware);
    let mut again = t.claim();
    again[3] = NULL.to_vec();
    again[4] = array(&[bstr(t.p.device_id), uint(1), bstr([0x5a; 300])]);
    vec![accepted("good", &t.claim()), accepted("bare", &bare), accepted("again", &again)]
}

fn challenges(t: &Transcript) -> Vec<Vector> {
    let (m0, layer, claim) = (t.m0(), t.key_layer(), array(&t.claim()));
    let sealed = bstr(layer.seal(&claim).bytes());
    let items = [uint(1), bstr(m0.bytes()), sealed];
    let with_item = |at: usize, item: Vec<u8>| {
        let mut items = items.clone();
        items[at] = item;
        vector(array(&items))
    };
    let mut late = vector(t.m1());
    late.fields.push(word("now", EXPIRY + 1));
    let forged = m0.with(1, bstr([0; 32]));
    let mut stranger = t.m0().bytes();
    let at = stranger.len() - 1;
    stranger[at] ^= 1;
    vec![
        late.refused("challenge-stale", "expired", "a second after the challenge's expiry"),
        vector(t.m1_of(&stranger, &layer, &claim)).refused(
            "bad-server-signature",
            "m0-forged",
            "a challenge that the server did not sign",
        ),
        vector(t.m1_of(&forged, &layer, &claim)).refused(
            "challenge-stale",
            "m0-nonce",
            "a challenge whose nonce has expired in 1970",
        ),
        with_item(0, uint(0)).refused("wrong-version", "version-0", "version 0"),
        with_item(0, uint(2)).refused("wrong-version", "version-2", "version 2"),
        with_item(1, m0.bytes()).refused(SHAPE, "m0-unwrapped", "a challenge that is not wrapped"),
        with_item(2, layer.seal(&claim).bytes()).refused(
            SHAPE,
            "unwrapped",
            "a claim that is not wrapped",
        ),
        vector(array(&items[..2])).refused(SHAPE, "short", "no claim"),
        vector(array(&[&items[..], &[uint(0)]].concat())).refused(SHAPE, "more", "four items"),
        with_item(2, bstr(vec![0; 64 * 1024])).refused("too-large", "size", "over 64 KiB"),
        vector([t.m1(), vec![0]].concat()).refused("not-cbor", "trailing", "a byte behind the end"),
    ]
}

fn layers(t: &Transcript) -> Vec<Vector> {
    let (m0, claim) = (t.m0().bytes(), array(&t.claim()));
    let bad = "bad-key-layer";
    let mut to_another = t.key_layer();
    to_another.to = Key::new("another server's encryption key").point();
    let mut of_another = t.key_layer();
    of_another.aad = array(&[tstr("twinseal-enrol-v1"), bstr([0; 32])]);
    let mut named = t.key_layer();
    named.sender = Some(t.p.device_id.to_vec());
    let mut other_server = t.key_layer();
    other_server.receiver = vec![0; 32];
    let mut plain_aad = t.key_layer();
    plain_aad.aad = array(&[tstr("twinseal-msg-v1"), bstr(crate::crypto::sha256(&m0))]);
    let mut kid = t.key_layer().seal(&claim);
    kid.unprotected = labels_map(&[(4, bstr("kid")), (5, bstr([0; 12]))]);
    let kid = array(&[uint(1), bstr(&m0), bstr(kid.bytes())]);
    let sealed = |layer| vector(t.m1_of(&m0, layer, &claim));
    let mut flipped = t.key_layer().seal(&claim);
    flipped.ciphertext = last_changed(&flipped.ciphertext);
    let flipped = array(&[uint(1), bstr(&m0), bstr(flipped.bytes())]);
    vec![
        sealed(&to_another).refused(bad, "receiver-key", "encrypted to another key"),
        sealed(&of_another).refused(bad, "aad", "bound to another challenge"),
        sealed(&plain_aad).refused(bad, "aad-label", "bound as a message is"),
        sealed(&named).refused(bad, "sender", "with the sender's identity"),
        sealed(&other_server).refused(bad, "receiver", "for another server"),
        vector(flipped).refused(bad, "changed", "a bit of the GCM tag changed"),
        vector(kid).refused("wrong-header", "kid", "a key id in the unprotected header"),
    ]
}

fn contents(t: &Transcript) -> Vec<Vector> {
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        with(t, at, item).refused(expect, rule, fault)
    };
    let re_enrol = |items: &[Vec<u8>]| array(items);
    let (device, one, proof) = (bstr([7; 16]), uint(1), bstr([7; 64]));
    let claim = t.claim();
    vec![
        refused("wrong-nonce", "nonce", "another nonce than the challenge's", 0, {
            bstr(changed(&t.nonce_s, 0))
        }),
        refused(SHAPE, "nonce-31", "a nonce of 31 bytes", 0, bstr([0; 31])),
        refused(SHAPE, "serial-33", "a serial of 33 bytes", 1, bstr([0; 33])),
        refused(SHAPE, "code-empty", "an empty code", 3, tstr("")),
        refused(SHAPE, "code-65", "a code of 65 bytes", 3, tstr(&"X".repeat(65))),
        refused(SHAPE, "code-bytes", "a code that is a byte string", 3, bstr("X")),
        refused(SHAPE, "again-short", "a re-enrolment without a proof", 4, {
            re_enrol(&[device.clone(), one.clone()])
        }),
        refused(SHAPE, "again-generation", "a generation of 2^32", 4, {
            re_enrol(&[device.clone(), uint(1 << 32), proof.clone()])
        }),
        refused(SHAPE, "again-device", "a device id of 17 bytes", 4, {
            re_enrol(&[bstr([7; 17]), one.clone(), proof])
        }),
        refused(SHAPE, "again-proof", "a proof of 1,025 bytes", 4, {
            re_enrol(&[device, one, bstr([7; 1025])])
        }),
        of(t, &array(&claim[..5])).refused(SHAPE, "claim-short", "five items"),
        of(t, &array(&[&claim[..], &[uint(0)]].concat())).refused(
            SHAPE,
            "claim-more",
            "seven items",
        ),
        of(t, &[array(&claim), vec![0]].concat()).refused(
            "not-cbor",
            "claim-trailing",
            "a byte behind the claim",
        ),
        of(t, &[]).refused("not-cbor", "claim-empty", "no claim"),
    ]
}

fn user_infos(t: &Transcript) -> Vec<Vector> {
    let bad = "bad-user-info";
    let info = |expect: &str, rule: &str, fault: &str, pairs: &[(Vec<u8>, Vec<u8>)]| {
        with(t, 2, map(pairs)).refused(expect, &format!("info-{rule}"), fault)
    };
    let text = |text: &str| tstr(text);
    let many: Vec<_> = (0..33).map(|i| (tstr(&format!("{i:02}")), tstr("x"))).collect();
    vec![
        info(bad, "33", "33 entries", &many),
        info(bad, "no-name", "an entry without a name", &[(text(""), text("x"))]),
        info(bad, "name-65", "a name of 65 bytes", &[(text(&"n".repeat(65)), text("x"))]),
        info(bad, "value-1025", "a value of 1,025 bytes", &[(text("n"), text(&"v".repeat(1025)))]),
        info(bad, "name-control", "a line feed in a name", &[(text("a\nb"), text("x"))]),
        info(bad, "value-control", "an escape in a value", &[(text("a"), text("\u{1b}[2J"))]),
        info(SHAPE, "name-bytes", "a name that is a byte string", &[(bstr("a"), text("x"))]),
        info(SHAPE, "value-number", "a value that is a number", &[(text("a"), uint(1))]),
        info(
            "not-deterministic",
            "order",
            "names not in their order",
            &[(text("owner"), text("x")), (text("shop"), text("x"))],
        ),
        info(
            "not-deterministic",
            "twice",
            "a name twice",
            &[(text("a"), text("x")), (text("a"), text("y"))],
        ),
        with(t, 2, array(&[tstr("a")])).refused(SHAPE, "info-array", "an array of names"),
    ]
}

fn hardware(t: &Transcript) -> Vec<Vector> {
    let good = t.hardware();
    let refused = |rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        let mut items = good.clone();
        items[at] = item;
        with(t, 5, array(&items)).refused(SHAPE, &format!("hardware-{rule}"), fault)
    };
    let long = bstr([0; 2049]);
    let certified = |items: &[Vec<u8>]| array(items);
    let some = bstr([1]);
    let nine: Vec<_> = (0..9).map(|i| bstr([i])).collect();
    let mut vectors = vec![
        refused("type-2", "a TPM's claim as a token's", 0, uint(2)),
        refused("type-negative", "a type of -1", 0, int(-1)),
        refused("ek-2049", "an endorsement key of 2,049 bytes", 1, long.clone()),
        refused("certificates-9", "nine certificates", 2, array(&nine)),
        refused("certificate-8193", "a certificate of 8,193 bytes", 2, {
            array(&[bstr(vec![0; 8193])])
        }),
        refused("certificate-text", "a certificate that is a text", 2, array(&[tstr("PEM")])),
        refused("srk-2049", "a storage root key of 2,049 bytes", 3, long.clone()),
        refused("ak-null", "no attestation key", 4, NULL.to_vec()),
        with(t, 5, array(&good[..7])).refused(SHAPE, "hardware-short", "no serial key"),
        with(t, 5, array(&[&good[..], &[uint(0)]].concat())).refused(
            SHAPE,
            "hardware-more",
            "an item behind the serial key",
        ),
    ];
    for (at, key) in [(5, "signing"), (6, "decryption"), (7, "serial-key")] {
        let two = certified(&[some.clone(), some.clone()]);
        let attest = certified(&[some.clone(), long.clone(), some.clone()]);
        vectors.extend([
            refused(&format!("{key}-unsigned"), "a certification without a signature", at, two),
            refused(&format!("{key}-attest-2049"), "an attest of 2,049 bytes", at, attest),
        ]);
    }
    vectors
}
