//! The command line, as people and scripts use it, from the first status to a verified receipt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use twinseal_swtpm_tests::{Api, Device, User, World};

const TILL: &str = "com.example.till";
const CASHIER: User = User::App(2001);
const STRANGER: User = User::App(2002);

/// Exit code and object of `twinseal --json`.
fn twinseal(device: &Device, user: User, arguments: &[&str]) -> (i32, Value) {
    let all = [&["--json"], arguments].concat();
    let output = device.run(user, "twinseal", &all);
    let printed = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(&printed)
        .unwrap_or_else(|_| panic!("{arguments:?}: {printed:?} {:?}", output.stderr));
    (output.status.code().unwrap(), json)
}

#[track_caller]
fn ok(device: &Device, user: User, arguments: &[&str]) -> Value {
    let (code, json) = twinseal(device, user, arguments);
    assert_eq!(code, 0, "{arguments:?}: {json}");
    json
}

#[track_caller]
fn refused(device: &Device, user: User, arguments: &[&str], kind: &str, exit_code: i32) {
    let (code, json) = twinseal(device, user, arguments);
    assert_eq!((code, json["error"]["kind"].as_str()), (exit_code, Some(kind)), "{json}");
    assert_eq!(json["exit_code"], exit_code);
    assert!(json["error"]["message"].as_str().unwrap().contains(": "), "what to do next: {json}");
}

/// A folder that this user may write to.
fn folder_of(device: &Device, user: User) -> PathBuf {
    let folder = device.bus().folder().join(user.name());
    fs::create_dir_all(&folder).unwrap();
    chown(&folder, Some(user.uid()), Some(user.uid())).unwrap();
    folder
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn device_id(api: &Api) -> String {
    let devices = api.get("/api/v1/devices").ok();
    devices["devices"][0]["device"].as_str().unwrap().to_owned()
}

#[test]
fn status_hardware_and_enrolment() {
    let world = World::start();
    let device = world.device(Device::builder());
    assert_eq!(ok(&device, STRANGER, &["status"])["state"], "NotEnrolled");
    let people = device.run(STRANGER, "twinseal", &["status"]);
    assert!(String::from_utf8(people.stdout).unwrap().contains("twinseal enrol LINK"));

    let folder = folder_of(&device, User::Operator);
    let certificate = folder.join("ek.der");
    let seen = ok(&device, User::Operator, &["hardware", "--ek-cert", text(&certificate)]);
    assert_eq!((&seen["kind"], &seen["manufacturer"]), (&json!("tpm"), &json!("IBM")));
    let serial = seen["serial"].as_str().unwrap();
    assert!(serial.ends_with(seen["short_check"].as_str().unwrap()));
    let issuer = Command::new("openssl")
        .args(["x509", "-inform", "DER", "-noout", "-issuer", "-in"])
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(issuer.status.success(), "{issuer:?}");
    assert_eq!(ok(&device, STRANGER, &["hardware"])["serial"], Value::Null);

    let info = folder.join("user.json");
    fs::write(&info, r#"{"holder": "Example Bakery"}"#).unwrap();
    let link = world.link(&device);
    let enrol = ["enrol", link.as_str(), "--user-info", text(&info)];
    refused(&device, STRANGER, &enrol, "NotAllowed", 4);
    let none = ["enrol", "https://example.com", "--user-info", text(&info)];
    refused(&device, User::Operator, &none, "InvalidArgument", 2);
    let missing = ["enrol", link.as_str(), "--user-info", "/no/such/file"];
    refused(&device, User::Operator, &missing, "InvalidArgument", 2);
    let enrolled = ok(&device, User::Operator, &enrol);
    assert_eq!(enrolled["state"], "Active", "{enrolled}");
    assert_eq!(enrolled["short_check"], seen["short_check"]);
    let status = ok(&device, STRANGER, &["status"]);
    assert_eq!((&status["state"], &status["assurance"]), (&json!("Active"), &json!("tpm-ek")));
    assert_eq!(status["server_id"].as_str().unwrap().len(), 64);
}

#[test]
fn a_trade_from_its_opening_to_its_receipt() {
    let world = World::start();
    let builder = Device::builder().service(TILL, &[CASHIER]);
    let device = world.enrolled(builder, &[("holder", "Example Bakery")]);
    let api = world.server().api(&["devices:read", "trades:read", "trades:write"]);
    let id = device_id(&api);
    let folder = folder_of(&device, CASHIER);
    let payload = folder.join("payload");

    let opened = ok(&device, CASHIER, &["trade", "open", TILL, "--outer", "key"]);
    let trade = opened["trade"].as_str().unwrap();
    fs::write(&payload, "two rolls").unwrap();
    let send = ["trade", "send", trade, text(&payload), "--content-type", "text/plain"];
    let index = ok(&device, CASHIER, &send)["index"].as_u64().unwrap();
    let messages = format!("/api/v1/devices/{id}/trades/{trade}/messages");
    let arrived = api.get(&format!("{messages}?wait_ms=20000")).ok();
    assert!(arrived.to_string().contains(&index.to_string()), "{arrived}");
    let sent = api.post(&messages, &json!({ "payload": "MiBFVVI=" })).ok();
    assert!(sent["index"].is_u64(), "{sent}");

    let received = ok(&device, CASHIER, &["trade", "receive", trade]);
    assert_eq!(received["messages"][0]["text"], "2 EUR", "{received}");
    assert_eq!(received["messages"][0]["payload"], "MiBFVVI=");
    let listed = ok(&device, CASHIER, &["trade", "list"]);
    assert_eq!(listed["trades"][0]["trade"], trade);
    assert_eq!(listed["trades"][0]["outer"], "key");

    // Nobody else has such a trade.
    assert_eq!(ok(&device, STRANGER, &["trade", "list"])["trades"], json!([]));
    refused(&device, STRANGER, &["trade", "receive", trade], "NotFound", 6);
    refused(&device, STRANGER, &["trade", "close", trade], "NotFound", 6);
    refused(&device, STRANGER, &["trade", "open", TILL], "NotAllowed", 4);
    refused(&device, CASHIER, &["trade", "receive", "none"], "InvalidArgument", 2);

    let receipt = folder.join("receipt");
    let close = ["trade", "close", trade, "--receipt", text(&receipt)];
    api.post(&format!("/api/v1/devices/{id}/trades/{trade}/close"), &json!({})).ok();
    ok(&device, CASHIER, &close);
    verify(&device, &receipt, trade);
}

/// The receipt is good for this server alone, and as it is.
fn verify(device: &Device, receipt: &std::path::Path, trade: &str) {
    let server_id = ok(device, STRANGER, &["status"])["server_id"].as_str().unwrap().to_owned();
    let verify = |server_id: &str| {
        ["receipt", "verify", text(receipt), "--server-id", server_id].map(str::to_owned)
    };
    let arguments = verify(&server_id);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let genuine = ok(device, CASHIER, &arguments);
    assert_eq!((&genuine["verified"], &genuine["trade"]), (&json!(true), &json!(trade)));
    assert_eq!(genuine["assurance"], "tpm-ek");
    let shown = ok(device, CASHIER, &["receipt", "show", text(receipt)]);
    assert_eq!((&shown["verified"], &shown["serial"]), (&json!(false), &genuine["serial"]));

    let another = verify(&"5a".repeat(32));
    let another: Vec<&str> = another.iter().map(String::as_str).collect();
    refused(device, CASHIER, &another, "Rejected", 9);
    let mut bytes = fs::read(receipt).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(receipt, bytes).unwrap();
    refused(device, CASHIER, &arguments, "Rejected", 9);
    refused(device, CASHIER, &["receipt", "show", text(receipt)], "Rejected", 9);
}

#[test]
fn an_exchange_and_a_trade_that_the_server_begins() {
    let world = World::start();
    let builder = Device::builder().service(TILL, &[CASHIER]);
    let device = world.enrolled(builder, &[("holder", "Example Bakery")]);
    let api = world.server().api(&["devices:read", "trades:read", "trades:write"]);
    let id = device_id(&api);

    // The device asks; a back end answers what comes into its inbox.
    let mut asking = device.command(CASHIER, "twinseal");
    asking.args(["exchange", TILL]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    std::io::Write::write_all(&mut asking.stdin.take().unwrap(), b"price?").unwrap();
    let inbox = api.get("/api/v1/inbox?wait_ms=20000").ok();
    let request = &inbox["messages"][0];
    let trade = request["trade"].as_str().unwrap_or_else(|| panic!("{inbox}"));
    let messages = format!("/api/v1/devices/{id}/trades/{trade}/messages");
    api.post(&messages, &json!({ "payload": "MiBFVVI=" })).ok();
    let answered = asking.wait_with_output().unwrap();
    assert_eq!((answered.status.code(), answered.stdout), (Some(0), b"2 EUR".to_vec()));

    // The server asks; whoever listens answers.
    let mut listening = device.command(CASHIER, "twinseal");
    listening.args(["trade", "listen", TILL, "--count", "1"]).stdout(Stdio::piped());
    let listening = listening.spawn().unwrap();
    let path = format!("/api/v1/devices/{id}/exchange");
    let request = json!({ "service": TILL, "payload": "b3Blbj8=" });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| api.post(&path, &request).ok());
        let offered = listening.wait_with_output().unwrap();
        let trade = String::from_utf8(offered.stdout).unwrap().trim().to_owned();
        let received = ok(&device, CASHIER, &["trade", "receive", &trade]);
        assert_eq!(received["messages"][0]["text"], "open?", "{received}");
        let file = folder_of(&device, CASHIER).join("answer");
        fs::write(&file, "till six").unwrap();
        ok(&device, CASHIER, &["trade", "send", &trade, text(&file)]);
        let reply = asked.join().unwrap();
        assert!(reply.to_string().contains("dGlsbCBzaXg="), "{reply}");
    });
}

#[test]
fn a_sealed_message_is_explained_in_both_orders() {
    let world = World::start();
    let builder = Device::builder().service(TILL, &[CASHIER]);
    let device = world.enrolled(builder, &[("holder", "Example Bakery")]);
    let file = folder_of(&device, CASHIER).join("envelope");
    let titles = |explained: &Value| -> Vec<String> {
        let parts = explained["parts"].as_array().unwrap().iter();
        parts.map(|part| part["title"].as_str().unwrap().to_owned()).collect()
    };
    let (serial, key) = ("Es, the serial layer", "Ea, the key layer");
    for (outer, layers, seen_by_all, step) in
        [("serial", [serial, key], 2, 414), ("key", [key, serial], 3, 314)]
    {
        let opened = ok(&device, CASHIER, &["trade", "open", TILL, "--outer", outer]);
        let path = format!("/u2001/trade/{}", opened["trade"].as_str().unwrap());
        let sealed =
            device.call(CASHIER, &path, "Trade.Seal", &["[byte 0x68, 0x69]", "{}"]).unwrap();
        let envelope: Vec<u8> = sealed
            .split("0x")
            .skip(1)
            .map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap())
            .collect();
        fs::write(&file, &envelope).unwrap();
        let explained = ok(&device, STRANGER, &["explain", text(&file)]);
        let all = ["routing header", layers[0], layers[1]];
        assert_eq!(titles(&explained), all[..seen_by_all]);
        assert_eq!(explained["parts"][1]["patent"]["sealing"][0]["step"], step, "{explained}");
        assert_eq!(explained["bytes"], envelope.len());
        let people = device.run(STRANGER, "twinseal", &["explain", text(&file)]);
        let people = String::from_utf8(people.stdout).unwrap();
        assert!(people.contains("Fig. ") && people.contains("cannot be opened"), "{people}");

        // Whose trade it is, for him the agent opens all of it.
        let trade = opened["trade"].as_str().unwrap();
        let whole = ["explain", text(&file), "--trade", trade];
        let whole_titles = ["routing header", layers[0], layers[1], "the content"];
        let seen = ok(&device, CASHIER, &whole);
        assert_eq!(titles(&seen), whole_titles);
        assert_eq!(seen["payload"], "6869");
        refused(&device, STRANGER, &whole, "NotFound", 6);
        let other = ok(&device, CASHIER, &["trade", "open", TILL]);
        let other = ["explain", text(&file), "--trade", other["trade"].as_str().unwrap()];
        refused(&device, CASHIER, &other, "Rejected", 9);
    }
    fs::write(&file, "no envelope").unwrap();
    refused(&device, STRANGER, &["explain", text(&file)], "Rejected", 9);
}

#[test]
fn without_an_agent_it_says_so() {
    let mut device = Device::start();
    device.kill_agent();
    refused(&device, STRANGER, &["status"], "NoAgent", 3);
    let usage = device.run(STRANGER, "twinseal", &["trade", "fly"]);
    assert_eq!(usage.status.code(), Some(2));
    let help = device.run(STRANGER, "twinseal", &["--help"]);
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes:"));
}
