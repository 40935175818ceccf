//! Claims 3 to 11: the two layers, in both orders and both directions.

use twinseal_scheme::Reason;
use twinseal_swtpm_tests::{ChipKind, EkKind, World};

use crate::wire::{KEY_DOWN, KEY_UP, Keys, SERIAL};
use twinseal_swtpm_tests::till::{APP, Till};

/// A trade with one message up and one down, where the chip is a TPM with both kinds of
/// endorsement key; gives what was on the wire.
fn trade(outer: &str, check: impl Fn(&Till, &Keys, &str)) {
    let world = World::start();
    let tills = match ChipKind::of_environment() {
        ChipKind::Tpm => vec![
            Till::of_kind(&world, "rsa", EkKind::Rsa2048),
            Till::of_kind(&world, "ecc", EkKind::EccP384),
        ],
        ChipKind::Token(_) => vec![Till::enrol(&world, "token")],
    };
    for till in tills {
        let trade = till.open(outer);
        till.send(&trade, "two coffees");
        assert_eq!(till.backend_receive(&trade, 0), ["two coffees"]);
        till.backend_send(&trade, "four euros");
        assert_eq!(till.receive(&trade, 0), ["four euros"]);
        assert!(!till.device.wire().heard(b"two coffees"));
        assert!(!till.device.wire().heard(b"four euros"));
        check(&till, &Keys::of(&world, &till), &trade);
    }
}

#[test]
fn claim_03_either_side_sends_until_the_trade_is_closed() {
    let world = World::start();
    let till = Till::enrol(&world, "loop");
    let trade = till.open("serial");
    for round in 0..3 {
        till.send(&trade, &format!("up {round}"));
        till.send(&trade, &format!("up again {round}"));
        till.backend_send(&trade, &format!("down {round}"));
    }
    let mut up = Vec::new();
    while up.len() < 6 {
        // The opening message has the first index.
        up.extend(till.backend_receive(&trade, 1 + up.len() as u32));
    }
    let expected: Vec<_> =
        (0..3).flat_map(|r| [format!("up {r}"), format!("up again {r}")]).collect();
    assert_eq!(up, expected);
    let receipt = till.close(&world, &trade);
    assert_eq!(receipt["verified"], true);
    // Closed is closed.
    let refused = till.try_app(APP, &["trade", "send", &trade], "late");
    assert!(!refused.status.success());
}

#[test]
fn claim_04_the_device_seals_with_the_key_layer_outside() {
    trade("key", |till, keys, _| {
        let layers = keys.layers_up(till.device.wire(), "two coffees");
        assert_eq!(layers, [[KEY_UP, SERIAL]]);
    });
}

#[test]
fn claim_05_the_server_opens_the_key_layer_and_then_the_serial_layer() {
    trade("key", |till, keys, _| {
        assert_eq!(keys.layers_up(till.device.wire(), "two coffees").len(), 1);
        // Without the chip's half of the keys nothing opens.
        let stranger = keys.of_another_chip();
        assert!(stranger.layers_up(till.device.wire(), "two coffees").is_empty());
    });
}

#[test]
fn claim_06_the_device_seals_with_the_serial_layer_outside() {
    trade("serial", |till, keys, _| {
        let layers = keys.layers_up(till.device.wire(), "two coffees");
        assert_eq!(layers, [[SERIAL, KEY_UP]]);
    });
}

#[test]
fn claim_07_the_server_opens_the_serial_layer_and_then_the_key_layer() {
    trade("serial", |till, keys, _| {
        assert_eq!(keys.layers_up(till.device.wire(), "two coffees").len(), 1);
        let stranger = keys.of_another_chip();
        assert!(stranger.layers_up(till.device.wire(), "two coffees").is_empty());
    });
}

#[test]
fn claim_08_the_server_seals_with_the_key_layer_outside() {
    trade("key", |till, keys, _| {
        assert_eq!(keys.layers_down(till, "four euros"), [[KEY_DOWN, SERIAL]]);
    });
}

#[test]
fn claim_09_the_device_opens_the_key_layer_and_then_the_serial_layer() {
    opens_and_refuses("key", "bad-key-layer");
}

#[test]
fn claim_11_the_device_opens_the_serial_layer_and_then_the_key_layer() {
    opens_and_refuses("serial", "bad-serial-layer");
}

/// The device opens what the server sealed, and refuses the same bytes with one bit changed.
fn opens_and_refuses(outer: &str, reason: &str) {
    trade(outer, |till, keys, trade| {
        let path = format!("/u{}/trade/{trade}", APP.uid());
        let sealed = keys.downlinks(till.device.wire()).pop().expect("a message down");
        let open = |envelope: &[u8]| {
            let bytes: Vec<_> = envelope.iter().map(|b| format!("byte {b}")).collect();
            let argument = format!("[{}]", bytes.join(", "));
            till.device.call(APP, &path, "Trade.Open", &[&argument, "@a{sv} {}"])
        };
        // The application asks for a message that it carries itself; it may ask again.
        assert!(open(&sealed).expect("the message").contains("text/plain"));
        let mut changed = sealed.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let refused = open(&changed).expect_err("a refusal");
        assert_eq!(refused.name, "org.twinseal.Error.Rejected");
        assert!(refused.text.contains(reason), "{}", refused.text);
        // Whoever has the use of the device's decryption key, and another chip's serial layer,
        // opens nothing.
        assert_eq!(keys.open_down(till, &sealed).map(drop), Ok(()));
        let stranger = keys.of_another_chip();
        assert_eq!(stranger.open_down(till, &sealed).map(drop), Err(Reason::BadCommitment));
    });
}

#[test]
fn claim_10_the_server_seals_with_the_serial_layer_outside() {
    trade("serial", |till, keys, _| {
        assert_eq!(keys.layers_down(till, "four euros"), [[SERIAL, KEY_DOWN]]);
    });
}
