//! Trades and exchanges between a back end and a device, over real HTTP on both sides.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinseal_scheme::answer::Answer;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::receipt::SignedReceipt;
use twinseal_scheme::trade::{MessageType, Row, Service, Trade};

use crate::device::{Device, SERVICE, opened};
use crate::rig::{Place, Server, client};

/// A back end with a key.
struct Backend {
    url: String,
    key: String,
    client: reqwest::Client,
}

impl Backend {
    fn new(place: &Place, server: &Server) -> Backend {
        Backend { url: server.backend.clone(), key: place.api_key(), client: client() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}/api/v1{path}", self.url));
        let request = body.iter().fold(request.bearer_auth(&self.key), |r, body| r.json(body));
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.ask(Method::POST, path, Some(&body)).await;
        assert!(status.is_success(), "{path}: {value}");
        value
    }
}

async fn set() -> (Place, Server, Backend, Device) {
    let place = Place::new();
    let server = place.serve();
    let backend = Backend::new(&place, &server);
    let device = Device::ready(&place, &server, [7; 32]).await;
    (place, server, backend, device)
}

async fn say(device: &mut Device, trade: &Trade, content: &twinseal_scheme::trade::Content) {
    let envelope = device.seal(trade.outer(), content);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
}

#[tokio::test]
async fn a_trade_from_the_device_to_a_receipt_in_both_orders() {
    let (_place, _server, backend, mut device) = set().await;
    for (id, outer) in [(1, Outer::Serial), (2, Outer::Key)] {
        let (mut trade, open) = opened(id, outer);
        say(&mut device, &trade, &open).await;
        let data = trade.data("text/plain", b"two coffees".to_vec()).unwrap();
        say(&mut device, &trade, &data).await;
        let path = format!("/devices/{}/trades/{}", device.bond.device_id, trade.id());
        let shown = backend.get(&path).await;
        assert_eq!((&shown["stage"], &shown["outer"]), (&json!("open"), &json!(outer.word())));
        assert_eq!(shown["opener"], "device");
        let messages = backend.get(&format!("{path}/messages")).await;
        assert_eq!(messages["messages"][0]["payload"], "dHdvIGNvZmZlZXM=");

        let sent = json!({ "content_type": "text/plain", "payload": "NS4yMA==", "index": 1 });
        assert_eq!(backend.post(&format!("{path}/messages"), sent.clone()).await["index"], 1);
        assert_eq!(backend.post(&format!("{path}/messages"), sent).await["index"], 1);
        let (content, ack) = device.next(&[]).await;
        assert_eq!(content.payload, b"5.20");
        trade.pass(&Row::Message(content)).unwrap();

        let close = trade.close(&[]).unwrap().remove(0);
        say(&mut device, &trade, &close).await;
        let (content, ack) = device.next(&[ack]).await;
        assert_eq!(content.message_type, MessageType::Close);
        trade.pass(&Row::Message(content)).unwrap();
        let (status, value) = backend.ask(Method::GET, &format!("{path}/receipt"), None).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(value["error"]["code"], "receipt-not-complete");

        let (content, ack) = device.next(&[ack]).await;
        trade.pass(&Row::Message(content.clone())).unwrap();
        let half = SignedReceipt::verify(&content.payload, &device.bond.server_id).unwrap();
        half.receipt.agrees_with(&trade).unwrap();
        let signature = device.sign_digest(&half.digest());
        let whole = half.countersign(signature).unwrap().encode();
        let countersigned = trade.receipt(whole.clone()).unwrap();
        say(&mut device, &trade, &countersigned).await;
        assert_eq!(device.fetch(0, &[ack]).await, Answer::Nothing);
        assert_eq!(backend.get(&path).await["stage"], "ended");
        let url = format!("{}/api/v1{path}/receipt", backend.url);
        let receipt = backend.client.get(url).bearer_auth(&backend.key).send().await.unwrap();
        assert_eq!(receipt.headers()["content-type"], "application/cose");
        assert_eq!(receipt.bytes().await.unwrap(), whole);
    }
}

#[tokio::test]
async fn a_trade_from_the_back_end_is_opened_once_and_closed() {
    let (_place, _server, backend, mut device) = set().await;
    let id = device.bond.device_id;
    let trade_id = TradeId([3; 16]);
    let open = json!({ "service": SERVICE, "outer": "key", "trade": trade_id.to_string() });
    let path = format!("/devices/{id}/trades");
    for _ in 0..2 {
        assert_eq!(backend.post(&path, open.clone()).await["trade"], trade_id.to_string());
    }
    let other = json!({ "service": "com.example.other", "trade": trade_id.to_string() });
    let (status, value) = backend.ask(Method::POST, &path, Some(&other)).await;
    assert_eq!((status, &value["error"]["code"]), (StatusCode::CONFLICT, &json!("trade-exists")));

    let path = format!("{path}/{trade_id}");
    backend.post(&format!("{path}/messages"), json!({ "payload": "AQ==" })).await;
    let wrong = json!({ "payload": "Ag==", "index": 2 });
    let (_, value) = backend.ask(Method::POST, &format!("{path}/messages"), Some(&wrong)).await;
    assert_eq!(value["error"]["code"], "other-content");
    let closing = backend.post(&format!("{path}/close"), json!({})).await;
    assert_eq!(backend.post(&format!("{path}/close"), json!({})).await, closing);
    assert_eq!(closing["stage"], "closing");

    let (content, mut ack) = device.next(&[]).await;
    let mut trade = Trade::heard(&content, Direction::Up, Outer::Key);
    trade.pass(&Row::Message(content)).unwrap();
    for expected in [MessageType::Data, MessageType::Close] {
        let content;
        (content, ack) = device.next(&[ack]).await;
        assert_eq!(content.message_type, expected);
        trade.pass(&Row::Message(content)).unwrap();
    }
    let close = trade.close(&[]).unwrap().remove(0);
    say(&mut device, &trade, &close).await;
    assert_eq!(device.next(&[ack]).await.0.message_type, MessageType::Receipt);
    assert_eq!(
        backend.get("/trades?stage=closed").await["trades"][0]["trade"],
        trade_id.to_string()
    );
}

#[tokio::test]
async fn an_exchange_that_the_back_end_begins() {
    let (_place, _server, backend, mut device) = set().await;
    let id = device.bond.device_id;
    let asked = json!({ "service": SERVICE, "content_type": "text/plain", "payload": "cHJpY2U/" });
    let path = format!("/devices/{id}/exchange");
    let exchange = backend.post(&path, asked);
    let answer = async {
        let Answer::Downlink(envelope) = device.fetch(20_000, &[]).await else { panic!("nothing") };
        let (request, ack) = device.open(&envelope);
        assert_eq!(request.payload, b"price?");
        let mut trade = Trade::heard(&request, Direction::Up, Outer::Serial);
        trade.pass(&Row::Message(request)).unwrap();
        let reply = trade.reply("text/plain", b"5.20".to_vec()).unwrap();
        say(&mut device, &trade, &reply).await;
        ack
    };
    let (exchange, ack) = tokio::join!(exchange, answer);
    assert_eq!(exchange["reply"]["payload"], "NS4yMA==");
    assert_eq!(exchange["kind"], "exchange");
    // A reply that was given is not given again.
    assert_eq!(backend.get("/inbox").await["messages"], json!([]));
    assert_eq!(device.next(&[ack]).await.0.message_type, MessageType::Receipt);
}

#[tokio::test]
async fn an_exchange_whose_reply_is_late_is_a_trade() {
    let (_place, _server, backend, device) = set().await;
    let url = format!("{}/api/v1/devices/{}/exchange", backend.url, device.bond.device_id);
    let request = backend.client.post(url).bearer_auth(&backend.key);
    let request = request.query(&[("service", SERVICE), ("wait_ms", "0")]);
    let response = request.header("content-type", "image/png").body("raw").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let trade: Value = response.json().await.unwrap();
    assert_eq!(trade["stage"], "open");
    let (content, _) = device.next(&[]).await;
    assert_eq!((content.content_type.as_str(), &content.payload[..]), ("image/png", &b"raw"[..]));
}

#[tokio::test]
async fn an_exchange_that_the_device_begins_comes_to_the_inbox() {
    let (_place, _server, backend, mut device) = set().await;
    let service = Service::new(SERVICE).unwrap();
    let payload = b"stock?".to_vec();
    let (trade, request) =
        Trade::request(TradeId([4; 16]), service, Direction::Up, Outer::Serial, "", payload)
            .unwrap();
    let (inbox, ()) =
        tokio::join!(backend.get("/inbox?wait_ms=20000"), say(&mut device, &trade, &request));
    let message = &inbox["messages"][0];
    assert_eq!((&message["type"], &message["assurance"]), (&json!("request"), &json!("tpm-ek")));
    let position = message["position"].clone();
    let acknowledge = json!({ "positions": [position, 999] });
    for _ in 0..2 {
        backend.post("/inbox/acknowledge", acknowledge.clone()).await;
        assert_eq!(backend.get("/inbox").await["messages"], json!([]));
    }
    let path = format!("/devices/{}/trades/{}/messages", device.bond.device_id, trade.id());
    backend.post(&path, json!({ "payload": "NDI=" })).await;
    let (reply, ack) = device.next(&[]).await;
    assert_eq!((reply.message_type, &reply.payload[..]), (MessageType::Reply, &b"42"[..]));
    assert_eq!(device.next(&[ack]).await.0.message_type, MessageType::Receipt);
}

#[tokio::test]
async fn a_message_down_is_the_same_until_acknowledged_and_sealed_anew_in_the_next_epoch() {
    let (_place, _server, backend, mut device) = set().await;
    backend
        .post(&format!("/devices/{}/trades", device.bond.device_id), json!({ "service": SERVICE }))
        .await;
    let Answer::Downlink(first) = device.fetch(0, &[]).await else { panic!("nothing") };
    assert_eq!(device.fetch(0, &[]).await, Answer::Downlink(first.clone()));
    let (content, ack) = device.open(&first);
    let wrong = twinseal_scheme::answer::Ack { inner_hash: [0; 32], ..ack.clone() };
    assert_eq!(device.fetch(0, &[wrong]).await, Answer::Downlink(first.clone()));

    device.start(2).await;
    let Answer::Downlink(second) = device.fetch(0, &[]).await else { panic!("nothing") };
    assert_ne!(second, first);
    assert_eq!(device.open(&second), (content, ack.clone()));
    assert_eq!(device.fetch(0, &[ack.clone(), ack]).await, Answer::Nothing);
}

#[tokio::test]
async fn keys_see_their_services_only_and_raw_payloads_are_raw() {
    let (place, server, backend, mut device) = set().await;
    let (mut trade, open) = opened(1, Outer::Serial);
    say(&mut device, &trade, &open).await;
    let data = trade.data("text/html", b"<b>".to_vec()).unwrap();
    say(&mut device, &trade, &data).await;
    let create = ["api-key", "create", "--name", "other", "--scope", "trades:read"];
    let create = [&create[..], &["--scope", "trades:write", "--service", "com.example.other"]];
    let other = Backend {
        key: place.json(&create.concat())["key"].as_str().unwrap().to_owned(),
        ..Backend::new(&place, &server)
    };
    let path = format!("/devices/{}/trades/{}", device.bond.device_id, trade.id());
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/messages")),
        (Method::GET, format!("{path}/messages/2")),
        (Method::GET, format!("{path}/receipt")),
        (Method::POST, format!("{path}/close")),
    ] {
        assert_eq!(other.ask(method, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let send = json!({ "payload": "" });
    let sent = other.ask(Method::POST, &format!("{path}/messages"), Some(&send)).await;
    assert_eq!(sent.0, StatusCode::NOT_FOUND);
    let opening = json!({ "service": SERVICE });
    let devices = format!("/devices/{}/trades", device.bond.device_id);
    assert_eq!(other.ask(Method::POST, &devices, Some(&opening)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(other.get("/inbox").await["messages"], json!([]));
    other.post("/inbox/acknowledge", json!({ "positions": [1] })).await;
    assert_eq!(other.get("/trades").await["trades"], json!([]));
    assert_eq!(backend.get("/trades").await["trades"].as_array().unwrap().len(), 1);
    assert_eq!(backend.get("/inbox").await["messages"].as_array().unwrap().len(), 1);

    let url = format!("{}/api/v1{path}/messages/2", backend.url);
    let raw = backend.client.get(url).bearer_auth(&backend.key).send().await.unwrap();
    assert_eq!(raw.headers()["content-type"], "text/html");
    assert_eq!(raw.headers()["x-content-type-options"], "nosniff");
    assert_eq!(raw.bytes().await.unwrap(), b"<b>"[..]);
}
