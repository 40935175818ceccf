//! Messages and epochs from devices: accepted once, answered again, refused by their reasons.

use reqwest::StatusCode;
use twinseal_scheme::Secret;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::message::Outer;

use crate::device::{Device, opened};
use crate::rig::{Place, Server};

fn refused(code: &str) -> Answer {
    Answer::Refused(code.into())
}

async fn rejected(device: &Device, envelope: &[u8]) {
    let reply = device.post("message", envelope).await;
    assert_eq!(reply, (StatusCode::FORBIDDEN, b"rejected".to_vec()));
}

fn alarm(place: &Place, device: &Device) -> Option<String> {
    let shown = place.json(&["device", "show", &device.bond.device_id.to_string()]);
    shown["alarm"].as_str().map(str::to_owned)
}

async fn set() -> (Place, Server, Device) {
    let place = Place::new();
    let server = place.serve();
    let device = Device::ready(&place, &server, [7; 32]).await;
    (place, server, device)
}

#[tokio::test]
async fn the_same_bytes_get_the_same_answer_and_other_bytes_raise_an_alarm() {
    let (place, _server, mut device) = set().await;
    let (_, content) = opened(1, Outer::Serial);
    let envelope = device.seal(Outer::Serial, &content);
    let first = device.post("message", &envelope).await;
    assert_eq!(device.read(&envelope, &first.1), Answer::Accepted);
    assert_eq!(device.post("message", &envelope).await, first);
    assert_eq!(alarm(&place, &device), None);

    let other = device.seal_as(Outer::Serial, 1, &opened(2, Outer::Serial).1.encode());
    rejected(&device, &other).await;
    assert_eq!(alarm(&place, &device).as_deref(), Some("seq-reused"));
    assert!(place.log().contains("reason=\"seq-reused\""));
}

#[tokio::test]
async fn a_refusal_is_authenticated_stored_and_has_no_effect() {
    let (place, _server, mut device) = set().await;
    let (mut trade, open) = opened(1, Outer::Serial);
    let envelope = device.seal(Outer::Serial, &open);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
    let data = trade.data("", b"one".to_vec()).unwrap();
    // Nested in the other order than its trade.
    let envelope = device.seal(Outer::Key, &data);
    let first = device.post("message", &envelope).await;
    assert_eq!(device.read(&envelope, &first.1), refused("wrong-order"));
    assert_eq!(device.post("message", &envelope).await, first);
    assert_eq!(alarm(&place, &device), None);
    let envelope = device.seal(Outer::Serial, &data);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);

    let mut rolled_back = data.clone();
    rolled_back.payload = b"another".to_vec();
    let envelope = device.seal(Outer::Serial, &rolled_back);
    assert_eq!(device.tell(&envelope).await, refused("disk-rollback"));
    assert_eq!(alarm(&place, &device).as_deref(), Some("disk-rollback"));
}

#[tokio::test]
async fn what_is_accepted_survives_a_crash() {
    let (place, mut server, mut device) = set().await;
    let (_, content) = opened(1, Outer::Key);
    let envelope = device.seal(Outer::Key, &content);
    let first = device.post("message", &envelope).await;
    assert_eq!(first.0, StatusCode::OK);
    server.kill();
    let server = place.serve();
    device.follow(&server);
    assert_eq!(device.post("message", &envelope).await, first);
    // The epoch's keys are computed anew from the database and the private keys.
    let envelope = device.seal(Outer::Serial, &opened(2, Outer::Serial).1);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
}

#[tokio::test]
async fn epochs_go_forward_only() {
    let (place, _server, mut device) = set().await;
    let first = device.keys.clone();
    let late = device.seal(Outer::Serial, &opened(1, Outer::Serial).1);
    let (overtaken, _) = device.epoch_open(3);
    device.start(5).await;
    // Sealed in an epoch whose upward key is kept: accepted, with a signed answer.
    let (status, answer) = device.post("message", &late).await;
    assert_eq!((status, device.verify(&late, &answer)), (StatusCode::OK, Answer::Accepted));
    let (_, answer) = device.post("message", &overtaken).await;
    assert_eq!(device.verify(&overtaken, &answer), refused("epoch-overtaken"));
    let (ahead, _) = device.epoch_open(100_006);
    let (_, answer) = device.post("message", &ahead).await;
    assert_eq!(device.verify(&ahead, &answer), refused("epoch-too-far"));

    for epoch in 6..23 {
        device.start(epoch).await;
    }
    let now = std::mem::replace(&mut device.keys, first);
    let stale = device.seal_as(Outer::Serial, 2, &opened(2, Outer::Serial).1.encode());
    rejected(&device, &stale).await;
    assert!(place.log().contains("reason=\"epoch-closed\""));
    // What was answered then is answered again.
    assert_eq!(device.post("message", &late).await.0, StatusCode::OK);
    device.keys = now;
    let envelope = device.seal(Outer::Serial, &opened(3, Outer::Serial).1);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
}

#[tokio::test]
async fn a_second_opening_of_an_epoch_is_a_clone() {
    let (place, _server, device) = set().await;
    let (clone, _) = device.epoch_open(1);
    let (_, answer) = device.post("message", &clone).await;
    assert_eq!(device.verify(&clone, &answer), Answer::Quarantined);
    assert_eq!(alarm(&place, &device).as_deref(), Some("epoch-clone"));
    assert_eq!(device.fetch(0, &[]).await, Answer::Quarantined);
    let (next, _) = device.epoch_open(2);
    let (_, answer) = device.post("message", &next).await;
    assert_eq!(device.verify(&next, &answer), Answer::Quarantined);
}

#[tokio::test]
async fn another_chip_with_every_key_opens_no_epoch() {
    let (place, _server, mut device) = set().await;
    let own = device.chain.clone();
    device.chain = ChainKey::of_bond(&Secret::new([8; 32]), &device.bond);
    let (forged, _) = device.epoch_open(2);
    rejected(&device, &forged).await;
    assert_eq!(alarm(&place, &device).as_deref(), Some("bad-commitment"));
    device.chain = own;
    device.start(2).await;
}

#[tokio::test]
async fn a_revoked_device_is_told_and_nobody_else_is() {
    let (place, _server, mut device) = set().await;
    let content = opened(1, Outer::Serial).1;
    let envelope = device.seal(Outer::Serial, &content);
    let stranger = {
        let mut bytes = envelope.clone();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    rejected(&device, &stranger).await;
    place.json(&["device", "revoke", &device.bond.device_id.to_string()]);
    rejected(&device, &stranger).await;
    assert_eq!(device.tell(&envelope).await, Answer::Revoked);
    assert_eq!(device.fetch(0, &[]).await, Answer::Revoked);
    let (open, _) = device.epoch_open(2);
    let (_, answer) = device.post("message", &open).await;
    assert_eq!(device.verify(&open, &answer), Answer::Revoked);
}

#[tokio::test]
async fn a_device_that_is_not_known_gets_what_everybody_gets() {
    let (place, _server, mut device) = set().await;
    let known = device.bond.device_id;
    device.bond.device_id = DeviceId([9; 16]);
    for outer in [Outer::Serial, Outer::Key] {
        let envelope = device.seal(outer, &opened(1, outer).1);
        rejected(&device, &envelope).await;
    }
    let (open, _) = device.epoch_open(2);
    rejected(&device, &open).await;
    let fetch = device.fetching(0, &[]);
    let reply = device.post("fetch", &fetch).await;
    assert_eq!(reply, (StatusCode::FORBIDDEN, b"rejected".to_vec()));

    // The same of a device that is known, in an epoch that it has not opened.
    device.bond.device_id = known;
    device.keys.as_mut().unwrap().epoch = 9;
    let envelope = device.seal(Outer::Serial, &opened(1, Outer::Serial).1);
    rejected(&device, &envelope).await;
    assert!(place.log().contains("reason=\"epoch-not-open\""));
    let reply = device.post("fetch", &device.fetching(0, &[])).await;
    assert_eq!(reply, (StatusCode::FORBIDDEN, b"rejected".to_vec()));
}

#[tokio::test]
async fn no_byte_of_an_envelope_can_change_and_nothing_is_written_for_it() {
    let (place, _server, mut device) = set().await;
    let written = || place.json(&["audit"])["audit"].as_array().unwrap().len();
    let before = written();
    for outer in [Outer::Serial, Outer::Key] {
        let envelope = device.seal(outer, &opened(outer.number(), outer).1);
        for at in 0..envelope.len() {
            let mut flipped = envelope.clone();
            flipped[at] ^= 1 << (at % 8);
            let (status, word) = device.post("message", &flipped).await;
            let known = [(400, &b"malformed"[..]), (403, b"rejected")];
            assert!(known.contains(&(status.as_u16(), &word[..])), "byte {at}: {status}");
        }
        assert_eq!(written(), before);
    }
    let envelope = device.seal(Outer::Serial, &opened(3, Outer::Serial).1);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
    assert_eq!(written(), before + 1);
}

#[tokio::test]
async fn copies_that_come_at_once_are_accepted_once() {
    let (place, _server, mut device) = set().await;
    let envelope = device.seal(Outer::Serial, &opened(1, Outer::Serial).1);
    let post = || device.post("message", &envelope);
    let (a, b, c, d) = tokio::join!(post(), post(), post(), post());
    let stored = post().await;
    assert_eq!(device.read(&envelope, &stored.1), Answer::Accepted);
    for copy in [a, b, c, d] {
        let busy = (StatusCode::SERVICE_UNAVAILABLE, b"busy".to_vec());
        assert!(copy == stored || copy == busy, "{}", copy.0);
    }
    let audit = place.json(&["audit"]);
    let received = audit["audit"].as_array().unwrap().iter();
    assert_eq!(received.filter(|entry| entry["action"] == "message.receive").count(), 1);
}
