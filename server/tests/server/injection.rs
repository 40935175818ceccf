//! Text from outside that would write lines of its own into the log or onto a terminal.

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::message::Outer;
use twinseal_scheme::serial::HardwareSerial;

use crate::device::{Device, SERVICE, opened};
use crate::rig::{Place, Server, address, client};

/// A new line, and one that looks like the log's own; a change of colour.
const FORGED: &str = "\r\n2026-01-01T00:00:00.000000Z  INFO FORGED\x1b[31mred\x07";
const ENCODED: &str = "%0d%0a2026-01-01T00:00:00.000000Z%20%20INFO%20FORGED%1b[31mred%07";

/// What comes back to these bytes.
async fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address(url)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).lines().next().unwrap_or_default().to_owned()
}

async fn into_paths_and_headers(server: &Server, key: &str) {
    for side in [&server.device, &server.backend] {
        for path in
            [format!("/{ENCODED}"), format!("/device/v1/{ENCODED}"), format!("/x?y={ENCODED}")]
        {
            let reply =
                raw(side, &format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
                    .await;
            assert!(reply.starts_with("HTTP/1.1 404"), "{path}: {reply}");
        }
        for head in [
            format!("POST /{FORGED} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ny: \x1b[31mFORGED\r\n\r\n"
                .to_owned(),
            "FORGED\x1b / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
        ] {
            let reply = raw(side, &head).await;
            assert!(reply.starts_with("HTTP/1.1 400"), "{head:?}: {reply}");
        }
    }
    let get = async |path: String| {
        let request = client().get(format!("{}/api/v1/{path}", server.backend)).bearer_auth(key);
        request.send().await.unwrap().status()
    };
    assert_eq!(get(format!("devices/{ENCODED}")).await, StatusCode::NOT_FOUND);
    assert_eq!(get(format!("devices?find={ENCODED}")).await, StatusCode::OK);
    assert_eq!(get(format!("trades?service={ENCODED}")).await, StatusCode::OK);
    assert_eq!(get(format!("trades?{ENCODED}={ENCODED}")).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn nobody_writes_lines_of_his_own_into_the_log() {
    let place = Place::new();
    let server = place.serve_with(&["--log-level", "debug"]);
    let key = place.api_key();
    let mut device = Device::ready(&place, &server, [7; 32]).await;
    into_paths_and_headers(&server, &key).await;
    // Services and content types, by a back end and by a device.
    let url = format!("{}/api/v1/devices/{}/trades", server.backend, device.bond.device_id);
    for service in [format!("com.example{FORGED}"), FORGED.to_owned()] {
        let request = client().post(&url).bearer_auth(&key);
        let reply = request.json(&json!({ "service": service, "outer": FORGED })).send().await;
        assert_eq!(reply.unwrap().status(), StatusCode::BAD_REQUEST);
    }
    let (mut trade, open) = opened(1, Outer::Serial);
    let forged = open.encode();
    let at = forged.windows(SERVICE.len()).position(|window| window == SERVICE.as_bytes());
    let mut forged = forged.clone();
    forged[at.unwrap()..][..SERVICE.len()].copy_from_slice(b"com\r\nFORGED.\x1b[31");
    let refused = device.seal_as(Outer::Serial, 1, &forged);
    assert!(matches!(device.tell(&refused).await, Answer::Refused(_)));
    device.follow_seq(1);
    assert_eq!(
        device.tell(&device.seal_as(Outer::Serial, 2, &open.encode())).await,
        Answer::Accepted
    );
    assert!(trade.data(FORGED, b"x".to_vec()).is_err(), "no content type has control characters");

    let log = place.log();
    assert!(log.contains("refused") && log.contains("bad-service"), "{log}");
    assert!(!log.contains('\x1b') && !log.contains('\x07') && !log.contains('\r'), "{log}");
    for line in log.lines() {
        assert!(line.starts_with("20") && !line.contains("FORGED"), "{line:?}");
    }
}

#[test]
fn nobody_writes_onto_an_operators_terminal() {
    let place = Place::new();
    let file = place.data().join("info.json");
    let serial = HardwareSerial::from_bytes([5; 32]).to_text();
    let register = |value: &str| {
        std::fs::write(&file, json!({ "holder": value }).to_string()).unwrap();
        let file = file.to_str().unwrap();
        place.run(&["device", "register", "--serial", &serial, "--user-info", file])
    };
    let refused = register(FORGED);
    let said = [refused.stdout, refused.stderr].concat();
    assert!(!refused.status.success() && !said.contains(&0x1b), "{said:?}");
    assert!(register("till 7").status.success());
    place.run(&["api-key", "create", "--name", FORGED, "--service", "*", "--scope", "trades:read"]);
    for command in [&["device", "list"][..], &["audit"], &["api-key", "list"]] {
        let output = place.run(command);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.is_empty() && !said.contains('\x1b') && !said.contains('\r'), "{said:?}");
        assert!(!said.lines().any(|line| line.starts_with("2026-01-01")), "{said}");
    }
}
