//! Q, M0, M2 to M5, G, and the proof of a re-enrolment.

use super::last_changed;
use super::signed::Signed;
use super::transcript::{EXPIRY, Transcript};
use crate::crypto::{Key, kdf, sha256};
use crate::forge::Encrypt0;
use crate::format::{Field, Vector, bytes, word};
use crate::parties::Parties;
use crate::wire::{array, bstr, int, tstr, uint};

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let t = Transcript::new(p);
    [
        requests(&t),
        challenges(&t),
        activations(&t),
        proofs(&t),
        offers(&t),
        confirmations(&t),
        grants(&t),
        grants_of_others(&t),
        re_enrolments(&t),
    ]
    .concat()
}

const SHAPE: &str = "wrong-shape";
const VERSION: &str = "wrong-version";
const TRANSCRIPT: &str = "wrong-transcript";

/// A message that replaces the one of the transcript.
fn vector(group: &str, message: &str, bytes_in: Vec<u8>) -> Vector {
    Vector::good(group, "", group, vec![bytes(message, bytes_in)]).with("parties enrolment")
}

fn good(group: &str, message: &str, bytes_in: Vec<u8>, outputs: Vec<Field>) -> Vector {
    let mut vector = vector(group, message, bytes_in);
    vector.name = "good".into();
    vector.fields.extend(outputs);
    vector
}

fn requests(t: &Transcript) -> Vec<Vector> {
    let refused = |expect: &str, rule: &str, fault: &str, items: &[Vec<u8>]| {
        vector("q", "q", array(items)).refused(expect, rule, fault)
    };
    let (one, nonce) = (uint(1), bstr(t.nonce_d));
    vec![
        good("q", "q", t.q(), vec![bytes("out-nonce-d", t.nonce_d)]),
        refused(VERSION, "version-0", "version 0", &[uint(0), nonce.clone()]),
        refused(VERSION, "version-2", "version 2", &[uint(2), nonce.clone()]),
        refused(SHAPE, "nonce-31", "a nonce of 31 bytes", &[one.clone(), bstr([0; 31])]),
        refused(SHAPE, "nonce-33", "a nonce of 33 bytes", &[one.clone(), bstr([0; 33])]),
        refused(SHAPE, "short", "no nonce", std::slice::from_ref(&one)),
        refused(SHAPE, "more", "an item behind the nonce", &[one.clone(), nonce, uint(0)]),
        refused("too-large", "size", "over 64 bytes", &[one, bstr([0; 64])]),
    ]
}

fn challenges(t: &Transcript) -> Vec<Vector> {
    let m0 = t.m0();
    let accept = |m0: Vec<u8>| vector("m0-accept", "m0", m0);
    let recognise = |m0: Vec<u8>| vector("m0-recognise", "m0", m0);
    let with = |key: &str, value: String| {
        let mut vector = accept(m0.bytes());
        vector.fields.push((key.into(), value));
        vector
    };
    let at = |now: u64| {
        let mut vector = recognise(m0.bytes());
        vector.fields.push(word("now", now));
        vector
    };
    let recognised = vec![word("now", EXPIRY), bytes("out-nonce-s", t.nonce_s)];
    let outputs = vec![
        word("out-sequence", t.p.sequence),
        bytes("out-statement", t.p.statement()),
        bytes("out-m0-hash", sha256(m0.bytes())),
    ];
    let hex = crate::format::hex;
    let other_server = hex(&last_changed(&t.p.server_id()));
    let mut vectors = vec![
        good("m0-accept", "m0", m0.bytes(), outputs),
        good("m0-recognise", "m0", m0.bytes(), recognised),
    ];
    vectors.extend(m0.refusals(accept));
    vectors.extend(m0.refusals(recognise));
    vectors.extend([
        with("server-id", other_server).refused("unknown-server", "server", "of another server"),
        with("least", (t.p.sequence + 1).to_string()).refused(
            "statement-stale",
            "stale",
            "with a statement older than the last seen",
        ),
        with("nonce-d", hex(&[0; 32])).refused("wrong-nonce", "nonce", "for another request"),
        accept(m0.with(0, bstr([0; 31]))).refused(SHAPE, "nonce-d-31", "a nonce of 31 bytes"),
        accept(m0.with(2, bstr([]))).refused("not-cbor", "no-statement", "an empty statement"),
        accept(m0.with(2, bstr(vec![0; 8193]))).refused(
            SHAPE,
            "statement-8193",
            "a statement of 8,193 bytes",
        ),
        at(EXPIRY + 1).refused("challenge-stale", "expired", "a second after its expiry"),
    ]);
    vectors
}

fn activations(t: &Transcript) -> Vec<Vector> {
    let m2 = t.m2();
    let read = |m2: Vec<u8>| vector("m2", "m2", m2);
    let outputs = vec![
        bytes("out-enrol-id", t.enrol_id),
        bytes("out-credential-blob", crate::crypto::drawn::<68>("credential blob")),
        bytes("out-encrypted-secret", crate::crypto::drawn::<68>("encrypted secret")),
    ];
    let mut vectors = vec![good("m2", "m2", m2.bytes(), outputs)];
    vectors.extend(m2.refusals(read));
    vectors.extend([
        read(m2.with(3, bstr([0; 32]))).refused(TRANSCRIPT, "claim", "for another claim"),
        read(m2.with(0, bstr([0; 17]))).refused(SHAPE, "enrol-id-17", "an id of 17 bytes"),
        read(m2.with(1, bstr([0; 1025]))).refused(SHAPE, "blob-1025", "a blob of 1,025 bytes"),
        read(m2.with(2, bstr([0; 1025]))).refused(SHAPE, "secret-1025", "a secret of 1,025 bytes"),
    ]);
    vectors
}

fn proofs(t: &Transcript) -> Vec<Vector> {
    let hashes = [t.m0().bytes(), t.m1(), t.m2().bytes()].map(sha256);
    let m3 = |id: &[u8], mac: &[u8]| vector("m3", "m3", array(&[bstr(id), bstr(mac)]));
    let with =
        |credential: [u8; 32], hashes: &[[u8; 32]]| m3(&t.enrol_id, &t.proof(&credential, hashes));
    let mac = t.proof(&t.credential, &hashes);
    let wrong = "wrong-credential";
    let items = [bstr(t.enrol_id), bstr(mac), uint(0)];
    vec![
        good("m3", "m3", t.m3(), vec![]),
        with([0; 32], &hashes).refused(wrong, "credential", "with another credential"),
        with(t.credential, &[[0; 32], hashes[1], hashes[2]]).refused(
            wrong,
            "m0",
            "after another M0",
        ),
        with(t.credential, &[hashes[0], [0; 32], hashes[2]]).refused(
            wrong,
            "m1",
            "after another M1",
        ),
        with(t.credential, &[hashes[0], hashes[1], [0; 32]]).refused(
            wrong,
            "m2",
            "after another M2",
        ),
        m3(&t.enrol_id, &last_changed(&mac)).refused(wrong, "mac", "a bit of the proof changed"),
        m3(&[0; 16], &mac).refused(wrong, "enrol-id", "the id of another enrolment"),
        m3(&t.enrol_id, &mac[..31]).refused(SHAPE, "mac-31", "a proof of 31 bytes"),
        m3(&[0; 15], &mac).refused(SHAPE, "enrol-id-15", "an id of 15 bytes"),
        vector("m3", "m3", array(&items)).refused(SHAPE, "more", "an item behind the proof"),
        m3(&t.enrol_id, &[0; 128]).refused("too-large", "size", "over 128 bytes"),
    ]
}

fn offers(t: &Transcript) -> Vec<Vector> {
    let m4 = t.m4();
    let read = |m4: Vec<u8>| vector("m4", "m4", m4);
    let outputs = vec![
        bytes("out-enrol-id", t.enrol_id),
        bytes("out-device-id", t.p.device_id),
        word("out-generation", t.p.generation),
        bytes("out-point", t.p.offer.point()),
    ];
    let point = t.p.offer.point();
    let mut vectors = vec![good("m4", "m4", m4.bytes(), outputs)];
    vectors.extend(m4.refusals(read));
    vectors.extend([
        read(m4.with(1, bstr([0; 32]))).refused(TRANSCRIPT, "proof", "for another proof"),
        read(m4.with(2, bstr([0; 15]))).refused(SHAPE, "device-15", "a device id of 15 bytes"),
        read(m4.with(3, int(-1))).refused(SHAPE, "generation", "a generation of -1"),
        read(m4.with(4, bstr(&point[..33]))).refused(SHAPE, "point-33", "a point of 33 bytes"),
        read(m4.with(4, bstr(last_changed(&point)))).refused(
            "bad-point",
            "point-off",
            "a point off the curve",
        ),
    ]);
    vectors
}

fn confirmations(t: &Transcript) -> Vec<Vector> {
    let m5 = t.m5();
    let read = |m5: Vec<u8>| vector("m5", "m5", m5);
    let outputs = vec![bytes("out-enrol-id", t.enrol_id), word("out-epoch-base", 41)];
    let chip = t.p.chain_of(&Key::new("another chip's serial key"));
    let wrong = "wrong-confirmation";
    let mut vectors = vec![good("m5", "m5", m5.bytes(), outputs)];
    vectors.extend(m5.refusals(read));
    vectors.extend([
        read(m5.with(2, bstr(t.confirmation(&chip)))).refused(wrong, "chip", "by another chip"),
        read(m5.with(2, bstr([0; 32]))).refused(wrong, "mac", "another confirmation"),
        read(m5.with(2, bstr([0; 31]))).refused(SHAPE, "mac-31", "a confirmation of 31 bytes"),
        read(m5.with(1, int(-1))).refused(SHAPE, "base", "an epoch base of -1"),
    ]);
    vectors
}

fn grants(t: &Transcript) -> Vec<Vector> {
    let signed = t.grant(1);
    let read = |signed: Vec<u8>| vector("g", "g", t.seal_grant(&signed).bytes());
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        read(signed.with(at, item)).refused(expect, rule, fault)
    };
    let mut vectors: Vec<Vector> = ["awaiting", "active", "denied"]
        .iter()
        .zip(0..)
        .map(|(name, standing)| {
            let signed = t.grant(standing);
            let mut vector = read(signed.bytes());
            vector.name = (*name).into();
            vector.fields.extend([
                bytes("seal-random", t.grant_random()),
                bytes("seal-signature", signed.signature()),
                word("out-standing", name),
                word("out-assurance", super::transcript::ASSURANCE),
                bytes("note-grant-key", t.grant_key()),
            ]);
            vector
        })
        .collect();
    vectors.extend(signed.refusals(read));
    let ids = |n: u8| array(&(0..n).map(|i| bstr([i; 32])).collect::<Vec<_>>());
    vectors.extend([
        refused(SHAPE, "standing-3", "a standing that there is not", 5, uint(3)),
        refused(SHAPE, "ids-two", "two key ids", 6, ids(2)),
        refused(SHAPE, "assurance-17", "an assurance of 17 bytes", 7, tstr("tpm-ek-tpm-ek-tpm")),
        refused(TRANSCRIPT, "enrol-id", "of another enrolment", 0, bstr([0; 16])),
        refused(TRANSCRIPT, "server-id", "of another server", 1, bstr([0; 32])),
        refused(TRANSCRIPT, "device-id", "for another device", 2, bstr([0; 16])),
        refused(TRANSCRIPT, "serial", "with another serial", 3, bstr([0; 32])),
        refused(TRANSCRIPT, "generation", "of another generation", 4, uint(1)),
        refused(TRANSCRIPT, "ids", "with other key ids", 6, ids(3)),
    ]);
    vectors
}

fn grants_of_others(t: &Transcript) -> Vec<Vector> {
    let signed = t.grant(1).bytes();
    let under = |key: [u8; 32], aad: &[u8]| {
        vector("g", "g", Encrypt0::new(&key, t.grant_random(), &signed, aad).bytes())
    };
    let aad = sha256(t.m5().bytes());
    let chip = kdf(&t.p.chain_of(&Key::new("another chip's serial key")), "twinseal/grant/v1");
    let layer = "bad-serial-layer";
    vec![
        under(t.grant_key(), &sha256(b"M5")).refused(layer, "other-m5", "in answer to another M5"),
        under(chip, &aad).refused(layer, "other-chip", "for another chip"),
        under(t.p.chain(), &aad).refused(layer, "chain-key", "under CK_0 itself"),
        vector("g", "g", signed.clone()).refused("wrong-tag", "unsealed", "signed and not sealed"),
    ]
}

fn re_enrolments(t: &Transcript) -> Vec<Vector> {
    let old = Key::new("old signing key");
    let items = [
        tstr("twinseal-reenrol-v1"),
        bstr(sha256(t.m0().bytes())),
        bstr(t.p.device_id),
        uint(1),
        bstr(t.p.serial()),
        bstr(t.chip.ak.name()),
    ];
    let proof = Signed::by_device(&old, "re_enrol", &items);
    let read = |proof: Vec<u8>| {
        let mut vector = vector("re-enrolment", "proof", proof);
        vector.fields.extend([
            bytes("old-signing", old.point()),
            word("old-generation", 1),
            bytes("ak-name", t.chip.ak.name()),
        ]);
        vector
    };
    let bad = "bad-re-enrolment";
    let refused = |rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        read(proof.with(at, item)).refused(bad, rule, fault)
    };
    let mut accepted = read(proof.bytes());
    accepted.name = "good".into();
    let by_new = Signed::by_device(&t.p.signing, "re_enrol", &items);
    let other_name = Signed::by_device(&old, "M5", &items);
    let untagged = array(&[uint(1)]);
    vec![
        accepted,
        read(by_new.bytes()).refused(bad, "signer", "signed with the new key"),
        read(other_name.bytes()).refused(bad, "name", "signed under another name"),
        read(untagged).refused("wrong-tag", "form", "no COSE_Sign1"),
        refused("label", "another label", 0, tstr("twinseal-reenrol-v2")),
        refused("challenge", "for another challenge", 1, bstr([0; 32])),
        refused("device", "of another device", 2, bstr([0; 16])),
        refused("generation", "of another generation", 3, uint(2)),
        refused("serial", "for another serial", 4, bstr([0; 32])),
        refused("ak", "for another attestation key", 5, bstr([0; 34])),
    ]
}
