//! What a thief of the database finds, and what the log says.

use serde_json::Value;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::message::Outer;

use crate::device::{Device, SERVICE, opened};
use crate::rig::{Place, client};

const SERIAL: [u8; 32] = *b"0123456789abcdef-a-serial-number";
const SECRETS: [&[u8]; 5] =
    [&SERIAL, b"Anna M", "Müller".as_bytes(), b"a payload upward", b"a payload downward"];

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// A device with a message each way, and everything that was written about it.
async fn lived() -> (Place, Vec<u8>, String) {
    let place = Place::new();
    let server = place.serve_with(&["--log-level", "debug"]);
    let mut device = Device::ready(&place, &server, SERIAL).await;
    let (mut trade, open) = opened(1, Outer::Serial);
    for content in [open, trade.data("", b"a payload upward".to_vec()).unwrap()] {
        let envelope = device.seal(Outer::Serial, &content);
        assert_eq!(device.tell(&envelope).await, Answer::Accepted);
    }
    let path = format!("devices/{}/trades/{}/messages", device.bond.device_id, trade.id());
    let sent = client()
        .post(format!("{}/api/v1/{path}", server.backend))
        .bearer_auth(place.api_key())
        .body("a payload downward")
        .send()
        .await
        .unwrap();
    assert!(sent.status().is_success());
    assert_eq!(device.next(&[]).await.0.payload, b"a payload downward");
    device.post("message", b"nonsense\n\x1b[31mred").await;
    let files = std::fs::read_dir(place.data()).unwrap();
    let bytes = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let log = place.log();
    (place, bytes, log)
}

#[tokio::test]
async fn the_database_holds_no_serial_no_person_no_plaintext_and_no_key() {
    let (place, bytes, _) = lived().await;
    assert!(holds(&bytes, SERVICE.as_bytes()), "the search finds what is there");
    for secret in SECRETS {
        assert!(!holds(&bytes, secret), "{}", String::from_utf8_lossy(secret));
    }
    for file in std::fs::read_dir(place.secrets()).unwrap().map(|file| file.unwrap()) {
        // How far the database had come is no secret.
        if file.file_name().to_string_lossy().starts_with("high-water") {
            continue;
        }
        let key = std::fs::read_to_string(file.path()).unwrap();
        use base64::Engine;
        let first = key.lines().next().unwrap();
        let raw = base64::engine::general_purpose::STANDARD.decode(first).unwrap();
        assert!(!holds(&bytes, &raw) && !holds(&bytes, first.as_bytes()));
    }
}

#[tokio::test]
async fn the_log_names_refusals_and_nothing_that_is_secret() {
    let (_place, _, log) = lived().await;
    assert!(log.contains("reason=\"not-cbor\""), "{log}");
    assert!(!log.contains('\x1b'));
    for secret in SECRETS {
        assert!(!holds(log.as_bytes(), secret), "{}", String::from_utf8_lossy(secret));
    }
}

#[tokio::test]
async fn a_device_is_found_by_what_is_encrypted() {
    let (place, _, _) = lived().await;
    let found = |args: &[&str]| {
        let listed = place.json(&[&["device", "list"], args].concat());
        listed["devices"].as_array().unwrap().len()
    };
    for term in ["name=anna  müller", "NAME=Anna Müller", "Anna Müller", "till=7", "7"] {
        assert_eq!(found(&["--find", term]), 1, "{term}");
    }
    for term in ["name=anna", "till=Anna Müller", "8", "name="] {
        assert_eq!(found(&["--find", term]), 0, "{term}");
    }
    let serial = twinseal_scheme::serial::HardwareSerial::from_bytes(SERIAL).to_text();
    assert_eq!(found(&["--serial", &serial]), 1);
    assert_eq!(found(&["--state", "revoked"]), 0);
    let shown: Value = place.json(&["device", "show", "--serial", &serial]);
    assert_eq!(shown["user_info"]["name"], "Anna Müller");
}

#[tokio::test]
async fn every_change_is_on_record_with_who_made_it() {
    let (place, _, _) = lived().await;
    let audit = place.json(&["audit"]);
    let entries: Vec<_> = audit["audit"].as_array().unwrap().iter().collect();
    let who = |action: &str| {
        let of = entries.iter().filter(|entry| entry["action"] == action);
        of.map(|entry| entry["caller"].as_str().unwrap().split(':').next().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(who("server.init"), ["cli"]);
    assert_eq!(who("api-key.create"), ["cli"]);
    assert_eq!(who("epoch.open"), ["device"]);
    assert_eq!(who("message.receive"), ["device", "device"]);
    assert_eq!(who("message.send"), ["api-key"]);
    assert_eq!(who("message.seal"), ["device"]);
    let last = entries.last().unwrap()["id"].to_string();
    assert_eq!(place.json(&["audit", "--after", &last])["audit"].as_array().unwrap().len(), 0);
}
