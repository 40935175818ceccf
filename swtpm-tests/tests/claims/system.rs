//! Claims 1 and 15 to 18, Fig. 5 and 6: the system as a whole.

use twinseal_swtpm_tests::{User, World};

use crate::wire::{KEY_UP, Keys, SERIAL};
use twinseal_swtpm_tests::till::{SERVICE, Till, text};

#[test]
fn claim_01_connect_exchange_keys_trade_sealed_twice_and_terminate() {
    let world = World::start();
    let till = Till::enrol(&world, "first");
    let trade = till.open("serial");
    till.send(&trade, "good morning");
    assert_eq!(till.backend_receive(&trade, 0), ["good morning"]);
    let keys = Keys::of(&world, &till);
    assert_eq!(keys.layers_up(till.device.wire(), "good morning"), [[SERIAL, KEY_UP]]);
    let receipt = till.close(&world, &trade);
    assert_eq!(receipt["verified"], true);
    assert_eq!(receipt["assurance"], "tpm-ek");
    assert_eq!(till.backend_trade(&trade)["stage"], "ended");
}

#[test]
fn claim_15_a_personal_computer_is_known_by_its_tpm() {
    let world = World::start();
    let till = Till::enrol(&world, "pc");
    let hardware = till.app(&["hardware"], "");
    assert_eq!(hardware["kind"], "tpm");
    let device = till.backend().get(&till.path("")).ok();
    assert_eq!(device["assurance"], "tpm-ek");
}

#[test]
fn claim_16_the_server_records_and_the_device_stores() {
    let mut world = World::start();
    let mut till = Till::enrol(&world, "stored");
    // Both remember without each other, and without their processes.
    till.device.restart_agent();
    world.restart_server();
    twinseal_swtpm_tests::till::until("active again", || {
        (till.device.state() == "Active").then_some(())
    });
    let api = twinseal_swtpm_tests::till::api(&world);
    let device = api.get(&till.path("")).ok();
    assert_eq!(device["user_info"]["till"], "stored");
    till.use_api(api);
    let trade = till.open("key");
    till.send(&trade, "still here");
    assert_eq!(till.backend_receive(&trade, 0), ["still here"]);
}

#[test]
fn claim_17_the_servers_module_seals_and_opens_for_the_device_of_one_serial() {
    let world = World::start();
    let (one, other) = (Till::enrol(&world, "one"), Till::enrol(&world, "other"));
    let trade = one.backend_open("serial");
    one.backend_send(&trade, "for one");
    assert_eq!(one.receive(&one.offered(), 0), ["for one"]);
    assert!(other.app(&["trade", "list"], "")["trades"].as_array().expect("trades").is_empty());
    // The keys of one device's serial open nothing of another's.
    let trade = other.open("serial");
    other.send(&trade, "from other");
    assert_eq!(other.backend_receive(&trade, 0), ["from other"]);
    let (mine, theirs) = (Keys::of(&world, &other), Keys::of(&world, &one));
    assert_eq!(mine.layers_up(other.device.wire(), "from other").len(), 1);
    assert!(theirs.layers_up(other.device.wire(), "from other").is_empty());
}

#[test]
fn claim_18_the_devices_module_seals_and_opens_for_its_own_application_only() {
    let world = World::start();
    let till = Till::enrol(&world, "own");
    let trade = till.open("serial");
    till.send(&trade, "mine");
    let stranger = User::App(2002);
    let list = till.try_app(stranger, &["trade", "list"], "");
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert!(list["trades"].as_array().expect("trades").is_empty());
    for arguments in [&["trade", "receive", &trade][..], &["trade", "close", &trade]] {
        assert_eq!(till.try_app(stranger, arguments, "").status.code(), Some(6), "{arguments:?}");
    }
    let open = till.try_app(stranger, &["trade", "open", SERVICE], "");
    assert_eq!(open.status.code(), Some(4), "{open:?}");
    assert_eq!(till.backend_receive(&trade, 0), ["mine"]);
}

#[test]
fn fig_05_06_two_devices_trade_at_once_one_in_each_order() {
    let world = World::start();
    let (three, four) = (Till::enrol(&world, "three"), Till::enrol(&world, "four"));
    let (q, n) = (three.open("serial"), four.open("key"));
    for round in 0..3 {
        three.send(&q, &format!("q{round}"));
        four.send(&n, &format!("n{round}"));
        three.backend_send(&q, &format!("p{round}"));
        four.backend_send(&n, &format!("m{round}"));
    }
    for (till, trade, up, down) in [(&three, &q, "q", "p"), (&four, &n, "n", "m")] {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        while sent.len() < 3 {
            sent.extend(till.backend_receive(trade, 1 + sent.len() as u32));
        }
        while received.len() < 3 {
            received.extend(till.receive(trade, received.len() as u32));
        }
        let numbered = |word: &str| (0..3).map(|r| format!("{word}{r}")).collect::<Vec<_>>();
        assert_eq!((sent, received), (numbered(up), numbered(down)));
    }
    let outer = |till: &Till, trade: &str| text(&till.backend_trade(trade)["outer"]);
    assert_eq!((outer(&three, &q), outer(&four, &n)), ("serial".into(), "key".into()));
}
