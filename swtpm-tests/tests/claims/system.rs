//! Claims 1 and 15 to 18, Fig. 5 and 6: the system as a whole.

use twinseal_swtpm_tests::{Chip, ChipKind, User, World};

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
    assert_eq!(receipt["assurance"], till.device.chip().kind().assurance());
    assert_eq!(till.backend_trade(&trade)["stage"], "ended");
}

#[test]
fn claim_15_a_computer_with_a_tpm_and_small_devices_with_tokens() {
    let world = World::start();
    let tills = ChipKind::ALL.map(|kind| Till::with_chip(&world, kind.name(), Chip::of(kind)));
    for (till, kind) in tills.iter().zip(ChipKind::ALL) {
        assert_eq!(till.app(&["hardware"], "")["kind"], kind.word());
        let device = till.backend().get(&till.path("")).ok();
        assert_eq!(device["assurance"], kind.assurance());
    }
    let [computer, small @ ..] = &tills;
    let small = small.iter().map(|till| (till, "serial"));
    trade_at_once(&[(computer, "key")].into_iter().chain(small).collect::<Vec<_>>());
}

#[test]
fn claim_16_the_server_records_and_the_device_stores() {
    let mut world = World::start();
    let mut till = Till::enrol(&world, "stored");
    // Both remember without each other, and without their processes.
    for start in ["once more", "twice more"] {
        till.device.restart_agent();
        till.wait_for("Active");
        till.trades(start);
    }
    world.restart_server();
    let api = twinseal_swtpm_tests::till::api(&world);
    let device = api.get(&till.path("")).ok();
    assert_eq!(device["user_info"]["till"], "stored");
    till.use_api(api);
    till.trades("still here");
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
    trade_at_once(&[(&three, "serial"), (&four, "key")]);
}

/// Each says and hears its own, in its own order of layers, while the others do.
fn trade_at_once(tills: &[(&Till, &str)]) {
    let trades: Vec<String> = tills.iter().map(|(till, outer)| till.open(outer)).collect();
    let both = || tills.iter().zip(&trades).enumerate();
    for round in 0..3 {
        for (number, ((till, _), trade)) in both() {
            till.send(trade, &format!("up {number} {round}"));
            till.backend_send(trade, &format!("down {number} {round}"));
        }
    }
    for (number, ((till, outer), trade)) in both() {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        while sent.len() < 3 {
            sent.extend(till.backend_receive(trade, 1 + sent.len() as u32));
        }
        while received.len() < 3 {
            received.extend(till.receive(trade, received.len() as u32));
        }
        let numbered =
            |word: &str| (0..3).map(|r| format!("{word} {number} {r}")).collect::<Vec<_>>();
        assert_eq!((sent, received), (numbered("up"), numbered("down")));
        assert_eq!(text(&till.backend_trade(trade)["outer"]), *outer);
    }
}
