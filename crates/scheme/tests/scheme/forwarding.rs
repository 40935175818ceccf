//! What was signed for one and is passed on to another, by somebody who holds every symmetric key
//! of both; and points that are none, where a stranger may send one.

use crate::enrolment::{NOW, REQUEST, challenge, claim};
use crate::parties::Parties;
use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::enrol::{Challenge, ClaimOpening};
use twinseal_scheme::message::{Outer, seal_down, seal_up};

const ORDERS: [Outer; 2] = [Outer::Serial, Outer::Key];

#[test]
fn a_device_s_signature_is_not_another_device_s() {
    let (one, other) = (Parties::new([1; 32]), Parties::new([2; 32]));
    let ((keys, own), (_, server)) = (one.epoch(1), other.epoch(1));
    for outer in ORDERS {
        // Sealed as the other device, with a signature of the first over the same content.
        let sealed = |signer: &Parties| {
            let unsigned = seal_up(&other.bond, &server, outer, 1, b"pay", &mut OsRng).unwrap();
            let signature = signer.sign_digest(&unsigned.digest());
            unsigned.finish(&signature).unwrap()
        };
        assert_eq!(other.open_up(&server, &sealed(&other)).unwrap().content, b"pay");
        let refused = other.open_up(&server, &sealed(&one));
        assert_eq!(refused, Err(Reason::BadDeviceSignature));
        // The whole message as it is, to the record of another device: both servers are others.
        let whole = one.up(&keys, outer, 1, b"pay");
        assert_eq!(one.open_up(&own, &whole).unwrap().content, b"pay");
        let refused = match outer {
            Outer::Serial => Reason::BadCommitment,
            Outer::Key => Reason::BadDeviceSignature,
        };
        assert_eq!(other.open_up(&server, &whole), Err(refused));
    }
}

#[test]
fn a_message_down_is_not_passed_on_to_another_device() {
    let (one, other) = (Parties::new([1; 32]), Parties::new([2; 32]));
    let (device, server) = one.epoch(1);
    let (other_device, other_server) = other.epoch(1);
    for outer in ORDERS {
        let down = one.down(&server, outer, 1, b"open the till");
        let opened = one.open_down(&device, &down).unwrap();
        let signed = opened.server_signed.unwrap();
        // The receiver takes the server's signature out and seals its content to the other.
        let passed_on = |signature: &[u8; 64]| {
            let unsigned = seal_down(&other.bond, &other_server, outer, 1, &opened.content);
            let bytes = unsigned.finish(signature, &mut OsRng).unwrap();
            other.open_down(&other_device, &bytes)
        };
        let lifted = signed.last_chunk().unwrap();
        assert_eq!(passed_on(lifted), Err(Reason::BadServerSignature));
        let unsigned = seal_down(&other.bond, &other_server, outer, 1, &opened.content);
        let true_one = other.server_signing.sign(unsigned.to_sign()).unwrap();
        assert_eq!(passed_on(&true_one).unwrap().content, b"open the till");
    }
}

#[test]
fn a_claim_s_point_is_looked_at_before_the_private_key_is_used() {
    let parties = Parties::new([1; 32]);
    let m0 = challenge(&parties);
    let accepted = Challenge::accept(&m0, &REQUEST, &parties.bond.server_id, 0).unwrap();
    let m1 = claim(&parties).seal(&accepted, &mut OsRng).unwrap();
    let signing = &parties.server_keys.signing;
    let begin = |m1: &[u8]| ClaimOpening::begin(m1, signing, NOW);
    let good = begin(&m1).unwrap();
    let point = *good.ephemeral().point();
    let at = m1.windows(32).position(|w| w == &point[1..33]).unwrap();
    // The coordinates stand one behind the other, with a label and a length between them.
    let y_at = m1.windows(32).position(|w| w == &point[33..]).unwrap();
    let with = |x: [u8; 32], y: [u8; 32]| {
        let mut changed = m1.clone();
        changed[at..at + 32].copy_from_slice(&x);
        changed[y_at..y_at + 32].copy_from_slice(&y);
        begin(&changed).err()
    };
    let (x, y): ([u8; 32], [u8; 32]) =
        (point[1..33].try_into().unwrap(), point[33..].try_into().unwrap());
    assert_eq!(with(x, y), None);
    let mut off = y;
    off[31] ^= 1;
    // Off the curve, turned round, infinity as zeros, and coordinates of p and above.
    for (x, y) in [(x, off), (y, x), ([0; 32], [0; 32]), (P, y), (x, P), ([0xff; 32], [0xff; 32])] {
        assert_eq!(with(x, y), Some(Reason::BadPoint));
    }
}

/// The prime of P-256 (FIPS 186-4 section D.1.2.3): no coordinate is as large.
const P: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
