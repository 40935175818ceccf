//! Messages in all four layerings, and what every bit of them is worth.

use crate::parties::Parties;
use rand_core::OsRng;
use twinseal_scheme::answer::{Ack, Answer, Fetch, FetchRoute};
use twinseal_scheme::epoch::{ChainKey, ClosedEpoch, EpochSecret};
use twinseal_scheme::message::{Envelope, Outer, open_up_closed};
use twinseal_scheme::{Reason, Secret};

const ORDERS: [Outer; 2] = [Outer::Serial, Outer::Key];

#[test]
fn four_layerings_open_to_what_was_sealed() {
    let parties = Parties::new([1; 32]);
    let (device, server) = parties.epoch(3);
    assert_eq!(device, server);
    for outer in ORDERS {
        let up = parties.up(&device, outer, 1, b"up");
        assert_eq!(parties.open_up(&server, &up).unwrap().content, b"up");
        let down = parties.down(&server, outer, 1, b"down");
        assert_eq!(parties.open_down(&device, &down).unwrap().content, b"down");
    }
}

#[test]
fn no_byte_of_a_message_can_change() {
    let parties = Parties::new([1; 32]);
    let (device, server) = parties.epoch(1);
    for outer in ORDERS {
        let up = parties.up(&device, outer, 1, b"plaintext");
        let down = parties.down(&server, outer, 1, b"plaintext");
        for at in 0..up.len() {
            assert!(parties.open_up(&server, &flipped(&up, at)).is_err(), "up, byte {at}");
        }
        for at in 0..down.len() {
            assert!(parties.open_down(&device, &flipped(&down, at)).is_err(), "down, byte {at}");
        }
    }
}

#[test]
fn another_chip_opens_and_seals_nothing_though_it_has_every_key() {
    let parties = Parties::new([1; 32]);
    let chain = parties.chain.ratchet(1).unwrap();
    let (open, device) = parties.epoch_open(&chain);
    let server = parties.server_epoch(&open, &chain, &chain);
    // The same key pairs, the same names, even the same epoch secret; another chip, and so
    // another CK_0.
    let other_chip = ChainKey::of_bond(&Secret::new([8; 32]), &parties.bond).ratchet(1).unwrap();
    let stranger = parties.server_epoch(&open, &chain, &other_chip);
    for outer in ORDERS {
        let down = parties.down(&server, outer, 1, b"down");
        assert!(parties.open_down(&device, &down).is_ok());
        assert_eq!(parties.open_down(&stranger, &down), Err(Reason::BadCommitment));
        assert!(parties.open_up(&server, &parties.up(&device, outer, 1, b"up")).is_ok());
        let forged = parties.up(&stranger, outer, 1, b"up");
        assert_eq!(parties.open_up(&server, &forged), Err(Reason::BadCommitment));
    }
}

#[test]
fn answers_are_bound_to_their_request() {
    let parties = Parties::new([1; 32]);
    let (keys, _) = parties.epoch(1);
    let refused = Answer::Refused("epoch-stale".into());
    for answer in [Answer::Accepted, refused, Answer::Downlink(vec![1]), Answer::Revoked] {
        let sealed = answer.seal(&keys.answer_key(), b"request", &mut OsRng).unwrap();
        let open = |request: &[u8]| Answer::open(&keys.answer_key(), request, &sealed);
        assert_eq!(open(b"request"), Ok(answer.clone()));
        assert_eq!(open(b"another"), Err(Reason::BadSerialLayer));

        let unsigned = answer.unsigned(&parties.bond.device_id, b"request");
        let signature = parties.server_signing.sign(unsigned.to_sign()).unwrap();
        let signed = unsigned.finish(&signature);
        let verify = |request: &[u8]| {
            let (key, id) = (&parties.server_keys.signing, &parties.bond.device_id);
            Answer::verify(key, id, request, &signed)
        };
        assert_eq!(verify(b"request"), Ok(answer));
        assert_eq!(verify(b"another"), Err(Reason::WrongRoute));
    }
}

#[test]
fn a_fetch_is_read_by_its_epoch_only() {
    let parties = Parties::new([1; 32]);
    let (keys, _) = parties.epoch(1);
    let (later, _) = parties.epoch(2);
    let ack = Ack { trade_id: [1; 16], index: 4, inner_hash: [2; 32] };
    let fetch = Fetch { wait_ms: 500, acks: vec![ack.clone(), ack] };
    let route = FetchRoute { device_id: parties.bond.device_id, generation: 1, epoch: 1 };
    let bytes = fetch.seal(&route, &keys, &mut OsRng).unwrap();
    let (found, sealed) = Fetch::route(&bytes).unwrap();
    assert_eq!(found, route);
    assert_eq!(Fetch::open(&found, &sealed, &keys), Ok(fetch));
    assert_eq!(Fetch::open(&found, &sealed, &later), Err(Reason::BadSerialLayer));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

#[test]
fn a_closed_epoch_still_opens_what_comes_late_and_only_with_its_secret() {
    let parties = Parties::new([1; 32]);
    let chain = parties.chain.ratchet(1).unwrap();
    let (open, device) = parties.epoch_open(&chain);
    let secret = |kem: [u8; 32]| {
        EpochSecret::new(&Secret::new([1; 32]), &Secret::new(kem), &device.open_hash)
    };
    let wrapped = ClosedEpoch::wrap(&device, &secret([2; 32]), &mut OsRng).unwrap();
    let unwrap = |kem| {
        let (sequence, hash) = (device.sequence, device.open_hash);
        ClosedEpoch::unwrap(&wrapped, &secret(kem), 1, sequence, hash)
    };
    let closed = unwrap([2; 32]).unwrap();
    assert_eq!(unwrap([3; 32]).err(), Some(Reason::BadSerialLayer));
    for outer in ORDERS {
        let up = Envelope::decode(&parties.up(&device, outer, 1, b"late")).unwrap();
        assert_eq!(open_up_closed(&parties.bond, &closed, &up).unwrap().content, b"late");
        let (later, _) = parties.epoch(2);
        let up = Envelope::decode(&parties.up(&later, outer, 1, b"now")).unwrap();
        let refused = open_up_closed(&parties.bond, &closed, &up);
        assert_eq!(refused.err(), Some(Reason::WrongRoute));
    }
    assert_eq!(parties.server_epoch(&open, &chain, &chain), device);
}
