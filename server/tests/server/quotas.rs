//! Counts that one device, one back end or many strangers cannot go beyond.

use reqwest::StatusCode;
use serde_json::{Value, json};
use twinseal_scheme::Secret;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::id::EnrolId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_server::http::Limits;
use twinseal_server::store::{Caller, Enrolment, EnrolmentLimits, Entry, Store};

use crate::device::{Device, SERVICE, open_store, opened};
use crate::rig::{Place, Served, client};

/// A back end's request.
async fn post(place: &Served, key: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = client().post(format!("{}/api/v1{path}", place.backend)).bearer_auth(key);
    let response = request.json(&body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn no_more_waits_to_go_down_than_the_queue_holds() {
    let place = Place::new();
    let server = place.serve_within(Limits { queue_max: 3, ..Limits::default() }).await;
    let key = place.api_key();
    let device = Device::ready_at(&place, &server.device, [7; 32]).await;
    let path = format!("/devices/{}/trades", device.bond.device_id);
    let open = json!({ "service": SERVICE });
    for _ in 0..3 {
        let (status, answer) = post(&server, &key, &path, open.clone()).await;
        assert!(status.is_success(), "{answer}");
    }
    let (status, answer) = post(&server, &key, &path, open.clone()).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (503, &"busy".into()));
    // Room for one, when the device has one.
    let (_, ack) = device.next(&[]).await;
    assert!(matches!(device.fetch(0, &[ack]).await, Answer::Downlink(_)));
    assert!(post(&server, &key, &path, open.clone()).await.0.is_success());
    assert_eq!(post(&server, &key, &path, open).await.0.as_u16(), 503);
}

#[tokio::test]
async fn no_more_of_one_device_waits_for_back_ends_than_the_inbox_holds() {
    let place = Place::new();
    let server = place.serve_within(Limits { inbox_max: 3, ..Limits::default() }).await;
    let key = place.api_key();
    let mut device = Device::ready_at(&place, &server.device, [7; 32]).await;
    let mut other = Device::ready_at(&place, &server.device, [8; 32]).await;
    let (mut trade, open) = opened(1, Outer::Serial);
    assert_eq!(
        device.tell(&device.seal_as(Outer::Serial, 1, &open.encode())).await,
        Answer::Accepted
    );
    let mut envelopes = Vec::new();
    for seq in 2..=5 {
        let content = trade.data("", b"up".to_vec()).unwrap();
        envelopes.push(device.seal_as(Outer::Serial, seq, &content.encode()));
    }
    let (last, first) = envelopes.split_last().unwrap();
    for envelope in first {
        assert_eq!(device.tell(envelope).await, Answer::Accepted);
    }
    let busy = (StatusCode::SERVICE_UNAVAILABLE, b"busy".to_vec());
    assert_eq!(device.post("message", last).await, busy);
    device.follow_seq(5);
    // Another device has an inbox of its own.
    let (_, open) = opened(2, Outer::Serial);
    let envelope = other.seal(Outer::Serial, &open);
    assert_eq!(other.tell(&envelope).await, Answer::Accepted);
    // The same bytes, when a back end has fetched what was there.
    let inbox = client().get(format!("{}/api/v1/inbox", server.backend)).bearer_auth(&key);
    let inbox: Value = inbox.send().await.unwrap().json().await.unwrap();
    let positions: Vec<&Value> =
        inbox["messages"].as_array().unwrap().iter().map(|m| &m["position"]).collect();
    assert_eq!(positions.len(), 3, "{inbox}");
    let (status, _) =
        post(&server, &key, "/inbox/acknowledge", json!({ "positions": positions })).await;
    assert!(status.is_success());
    assert_eq!(device.tell(last).await, Answer::Accepted);
}

/// The oldest goes first: of one serial, and of all.
#[tokio::test]
async fn enrolments_in_progress_are_bounded_and_the_oldest_goes_first() {
    let place = Place::new();
    let (store, _) = open_store(&place).await;
    let limits = EnrolmentLimits { of_serial_max: 2, max: 4, life_seconds: 600 };
    let (one, other) = ([1; 32], [2; 32]);
    for number in 1..=3 {
        add(&store, one, number, limits).await;
    }
    assert_eq!(alive(&store, 9).await, [2, 3], "two of one serial");
    for number in 4..=5 {
        add(&store, other, number, limits).await;
    }
    assert_eq!(alive(&store, 9).await, [2, 3, 4, 5]);
    add(&store, [3; 32], 6, limits).await;
    assert_eq!(alive(&store, 9).await, [3, 4, 5, 6], "four in all");
    // Those of the program: eight of a serial.
    let limits = EnrolmentLimits { of_serial_max: 8, max: 1024, life_seconds: 600 };
    for number in 10..20 {
        add(&store, [9; 32], number, limits).await;
    }
    assert_eq!(alive(&store, 30).await, [3, 4, 5, 6, 12, 13, 14, 15, 16, 17, 18, 19]);
    store.close().await;
}

/// An enrolment of this serial, `number` seconds younger than the first.
async fn add(store: &Store, serial: [u8; 32], number: u8, limits: EnrolmentLimits) {
    let mut write = store.write(&Caller::Cli("test".into())).await.unwrap();
    let enrolment = Enrolment {
        id: EnrolId([number; 16]),
        m1: vec![number],
        m2: vec![number],
        credential: Secret::new([number; 32]),
        admission: "code".to_owned(),
        assurance: "tpm-ek".to_owned(),
        verdict: String::new(),
        created_at: write.now() - 300 + u64::from(number),
        offer: None,
    };
    let serial = HardwareSerial::from_bytes(serial);
    write.add_enrolment(&serial, &[number; 32], &enrolment, limits).await.unwrap();
    write.commit(Entry::new("test", "test")).await.unwrap();
}

/// The numbers of those that are there, up to this one.
async fn alive(store: &Store, last: u8) -> Vec<u8> {
    let mut read = store.read().await.unwrap();
    let mut alive = Vec::new();
    for number in 1..=last {
        if read.enrolment(&EnrolId([number; 16]), 0).await.unwrap().is_some() {
            alive.push(number);
        }
    }
    alive
}
