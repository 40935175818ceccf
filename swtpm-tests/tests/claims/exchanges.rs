//! Claims 12 and 13, Fig. 13 and 14: the trade of two messages, which ends by itself.

use serde_json::json;
use twinseal_swtpm_tests::World;

use crate::wire::{KEY_DOWN, KEY_UP, Keys, SERIAL};
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, text, until};

#[test]
fn claim_12_the_server_begins_an_exchange_and_it_ends_by_itself() {
    server_begins("serial");
}

#[test]
fn claim_13_the_device_begins_an_exchange_and_it_ends_by_itself() {
    device_begins("key");
}

#[test]
fn fig_13_the_server_begins_with_the_key_layer_outside() {
    let (till, keys) = server_begins("key");
    let wire = till.device.wire();
    assert_eq!(keys.layers_down(&till, "where are you?"), [[KEY_DOWN, SERIAL]]);
    assert_eq!(keys.layers_up(wire, "at the till"), [[KEY_UP, SERIAL]]);
}

#[test]
fn fig_14_the_device_begins_with_the_serial_layer_outside() {
    let (till, keys) = device_begins("serial");
    let wire = till.device.wire();
    assert_eq!(keys.layers_up(wire, "price of tea?"), [[SERIAL, KEY_UP]]);
    assert_eq!(keys.layers_down(&till, "three euros"), [[SERIAL, KEY_DOWN]]);
}

fn server_begins(outer: &str) -> (Till, Keys) {
    let world = World::start();
    let till = Till::enrol(&world, "figure");
    let done = std::thread::scope(|scope| {
        let asking = scope.spawn(|| till.backend_exchange(outer, "where are you?"));
        let trade = till.offered();
        assert_eq!(till.receive(&trade, 0), ["where are you?"]);
        till.send(&trade, "at the till");
        asking.join().expect("the back end")
    });
    assert_eq!(done["reply"]["payload"], twinseal_swtpm_tests::till::to_base64("at the till"));
    ended(&till, &text(&done["trade"]), "server");
    let keys = Keys::of(&world, &till);
    (till, keys)
}

fn device_begins(outer: &str) -> (Till, Keys) {
    let world = World::start();
    let till = Till::enrol(&world, "figure");
    let reply = std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| till.app(&["exchange", SERVICE, "--outer", outer], "price of tea?"));
        let request = until("a request", || {
            let inbox = till.backend().get("/api/v1/inbox?wait_ms=1000").ok();
            Some(inbox["messages"].as_array()?.first()?.clone())
        });
        assert_eq!(request["type"], "request");
        let trade = text(&request["trade"]);
        till.backend_send(&trade, "three euros");
        let position = request["position"].clone();
        till.backend().post("/api/v1/inbox/acknowledge", &json!({ "positions": [position] }));
        asking.join().expect("the application")
    });
    assert_eq!(reply["text"], "three euros");
    ended(&till, &text(&reply["trade"]), "device");
    let keys = Keys::of(&world, &till);
    (till, keys)
}

/// One message each way, nothing more may be said, and a receipt that both have signed.
fn ended(till: &Till, trade: &str, opener: &str) {
    until("the exchange ends", || (till.backend_trade(trade)["stage"] == "ended").then_some(()));
    let view = till.backend_trade(trade);
    assert_eq!((view["kind"].clone(), view["opener"].clone()), (json!("exchange"), json!(opener)));
    let late = till.try_app(APP, &["trade", "send", trade], "one more");
    assert!(!late.status.success());
    let receipt = till.backend().get(&till.path(&format!("/trades/{trade}/receipt")));
    assert_eq!(receipt.status, 200);
}
