//! The claims on a device whose chip is a token, and such a device beside one with a TPM.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, text, to_base64, until};
use twinseal_swtpm_tests::{Token, User, World};

use crate::wire::{KEY_DOWN, KEY_UP, Keys, SERIAL};

#[test]
fn claims_01_to_03_connect_exchange_keys_trade_and_terminate() {
    let world = World::start();
    let till = Till::with_chip(&world, "token", Token::start());
    let kinds: Vec<String> = till.device.wire().calls().into_iter().map(|call| call.kind).collect();
    let steps: Vec<&str> = kinds.iter().map(String::as_str).take(4).collect();
    assert_eq!(steps, ["challenge", "claim", "activate", "confirm"]);
    let device = till.backend().get(&till.path("")).ok();
    assert_eq!((&device["state"], &device["assurance"]), (&json!("active"), &json!("token")));
    let own = till.try_app(User::Operator, &["hardware"], "");
    let own: serde_json::Value = serde_json::from_slice(&own.stdout).expect("JSON");
    assert_eq!((&own["kind"], &own["serial"]), (&json!("token"), &device["serial"]));
    assert_eq!(till.device.token().public_keys().len(), 3);

    let trade = till.open("serial");
    till.send(&trade, "good morning");
    assert_eq!(till.backend_receive(&trade, 0), ["good morning"]);
    let receipt = till.close(&world, &trade);
    assert_eq!((&receipt["verified"], &receipt["assurance"]), (&json!(true), &json!("token")));
}

#[test]
fn claims_04_to_11_both_orders_in_both_directions() {
    let world = World::start();
    let till = Till::with_chip(&world, "orders", Token::start());
    let orders = [
        ("serial", [SERIAL, KEY_UP], [SERIAL, KEY_DOWN]),
        ("key", [KEY_UP, SERIAL], [KEY_DOWN, SERIAL]),
    ];
    for (outer, layers_up, layers_down) in orders {
        let (asked, answered) = (format!("two coffees, {outer}"), format!("four euros, {outer}"));
        let trade = till.open(outer);
        till.send(&trade, &asked);
        assert_eq!(till.backend_receive(&trade, 0), [asked.as_str()]);
        till.backend_send(&trade, &answered);
        assert_eq!(till.receive(&trade, 0), [answered.as_str()]);
        let keys = Keys::of(&world, &till);
        assert_eq!(keys.layers_up(till.device.wire(), &asked), [layers_up]);
        assert_eq!(explained(&till, &keys, &trade, &answered), [layers_down]);
    }
    assert!(!till.device.wire().heard(b"two coffees"));
    assert!(!till.device.wire().heard(b"four euros"));
}

/// The layers of every message down with this payload, as the device's own agent takes them off.
fn explained(till: &Till, keys: &Keys, trade: &str, payload: &str) -> Vec<Vec<&'static str>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
    let file = folder.path().join("envelope");
    let mut found = Vec::new();
    for envelope in keys.downlinks(till.device.wire()) {
        std::fs::write(&file, envelope).expect("a new file");
        let path = file.display().to_string();
        let output = till.try_app(APP, &["explain", &path, "--trade", trade], "");
        // Of another trade than this one.
        let Ok(said) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
            continue;
        };
        let is_it = said["payload"].as_str().is_some_and(|hex| hex == hexadecimal(payload));
        if is_it {
            let parts = said["parts"].as_array().expect("parts").iter();
            let layers = parts.filter(|part| !part["patent"].is_null());
            let title = |part: &serde_json::Value| match text(&part["title"]).starts_with("Es") {
                true => SERIAL,
                false => KEY_DOWN,
            };
            found.push(layers.map(title).collect());
        }
    }
    found
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn claims_12_and_13_an_exchange_begun_by_either_side() {
    let world = World::start();
    let till = Till::with_chip(&world, "exchanges", Token::start());
    let done = std::thread::scope(|scope| {
        let asking = scope.spawn(|| till.backend_exchange("key", "where are you?"));
        let trade = till.offered();
        assert_eq!(till.receive(&trade, 0), ["where are you?"]);
        till.send(&trade, "at the till");
        asking.join().expect("the back end")
    });
    assert_eq!(done["reply"]["payload"], to_base64("at the till"));
    assert_eq!(exchange(&till), "three euros");
}

/// Fig. 14: the device asks.
fn exchange(till: &Till) -> String {
    let reply = std::thread::scope(|scope| {
        let asking = scope.spawn(|| till.app(&["exchange", SERVICE, "--outer", "serial"], "tea?"));
        let request = until("a request", || {
            let inbox = till.backend().get("/api/v1/inbox?wait_ms=1000").ok();
            let messages = inbox["messages"].as_array()?.clone();
            messages.into_iter().find(|message| message["type"] == "request")
        });
        till.backend_send(&text(&request["trade"]), "three euros");
        let body = json!({ "positions": [request["position"]] });
        till.backend().post("/api/v1/inbox/acknowledge", &body);
        asking.join().expect("the application")
    });
    text(&reply["text"])
}

#[test]
fn claim_15_a_small_device_with_a_token_beside_a_computer_with_a_tpm() {
    let world = World::start();
    let (small, computer) =
        (Till::with_chip(&world, "small", Token::start()), Till::enrol(&world, "computer"));
    assert_eq!(exchange(&small), "three euros");
    small.trades("from the small one");
    computer.trades("from the computer");
    let class = |till: &Till| text(&till.backend().get(&till.path("")).ok()["assurance"]);
    assert_eq!((class(&small), class(&computer)), ("token".into(), "tpm-ek".into()));
}

#[test]
fn claim_16_epochs_go_on_from_what_the_device_stores() {
    let mut world = World::start();
    let mut till = Till::with_chip(&world, "stored", Token::start());
    till.trades("first");
    for round in 0..2 {
        till.device.restart_agent();
        till.wait_for("Active");
        till.trades(&format!("after start {round}"));
    }
    world.restart_server();
    till.use_api(twinseal_swtpm_tests::till::api(&world));
    till.trades("after the server's start");
}

#[test]
fn a_disk_that_was_put_back_opens_an_epoch_twice_and_is_quarantined() {
    let world = World::start();
    let mut till = Till::with_chip(&world, "back", Token::start());
    till.device.kill_agent();
    let disk = till.device.save_disk();
    till.device.restart_agent();
    till.wait_for("Active");
    till.trades("in the epoch that will be lost");
    till.device.restore_disk(&disk);
    till.wait_for("Suspended");
    assert_eq!(till.shown(&world)["alarm"], "epoch-clone");
}
