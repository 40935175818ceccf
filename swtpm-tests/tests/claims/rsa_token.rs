//! Devices whose token knows no elliptic curves, so that CK_0 is encrypted to them. What is the same
//! for every chip runs with `TWINSEAL_TEST_CHIP=kryoptic-rsa` too; here is SoftHSM, whose OAEP is
//! with SHA-1, and what only such a token can do wrong.

use twinseal_scheme::explain::explain;
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, text, until};
use twinseal_swtpm_tests::{
    Api, Chip, ChipKind, Device, DeviceBuilder, Module, ModuleMishap, Token, TokenKind, World,
    enrol,
};

use crate::rsa::field;
use crate::thief::Thief;
use crate::wire::{KEY_DOWN, KEY_UP, Keys, SERIAL};

/// SoftHSM behind a module that hides its curves.
fn without_curves() -> (Module, DeviceBuilder) {
    let token = Token::of(TokenKind::SoftHsm);
    let module = Module::before(&token);
    module.set(ModuleMishap::Rsa);
    let builder = Device::builder().chip(token).module(&module);
    (module, builder)
}

#[test]
fn the_claims_hold_on_a_token_with_rsa_alone_and_sha1_in_oaep() {
    let world = World::start();
    let (_module, builder) = without_curves();
    let mut till = Till::of_device(&world, "rsa", builder);
    let verdict = till.shown(&world)["verdict"].to_string();
    let oaep = "RSAES-OAEP with SHA-1";
    let said = format!("sign by PS256 and decrypt by {oaep}; its serial key is for {oaep}");
    assert!(verdict.contains(&said), "{verdict}");
    for generation in 1..=2 {
        for outer in ["serial", "key"] {
            both_ways(&world, &till, outer);
        }
        let keys = Keys::of(&world, &till);
        let is_key = |bytes: &Vec<u8>| title(bytes).starts_with("Ea");
        let down = keys.downlinks(till.device.wire()).into_iter().rfind(is_key);
        assert_eq!(field(&down.expect("a message"), "recipient"), format!("{oaep} (-40)"));
        till.device.restart_agent();
        till.wait_for("Active");
        till.trades("in the next epoch");
        if generation == 1 {
            // The old key proves that it is the same device, and there are new ones.
            let link = world.link(&till.device);
            assert_eq!(enrol(&till.device, &link, &[("till", "rsa")]), Ok(()));
            assert_eq!(till.device.token().public_keys().len(), 3);
        }
    }
}

/// A whole trade, with the layers that were seen.
fn both_ways(world: &World, till: &Till, outer: &str) {
    let trade = till.open(outer);
    let (asked, answered) = (format!("two coffees, {outer}"), format!("four euros, {outer}"));
    till.send(&trade, &asked);
    assert_eq!(till.backend_receive(&trade, 0), [asked.as_str()]);
    till.backend_send(&trade, &answered);
    assert_eq!(till.receive(&trade, 0), [answered.as_str()]);
    let keys = Keys::of(world, till);
    let layers = match outer {
        "serial" => [[SERIAL, KEY_UP], [SERIAL, KEY_DOWN]],
        _ => [[KEY_UP, SERIAL], [KEY_DOWN, SERIAL]],
    };
    assert_eq!(keys.layers_up(till.device.wire(), &asked).last(), Some(&layers[0].to_vec()));
    assert_eq!(keys.layers_down(till, &answered).last(), Some(&layers[1].to_vec()));
    assert!(!till.device.wire().heard(b"two coffees"));
    let receipt = till.close(world, &trade);
    assert_eq!((&receipt["verified"], text(&receipt["assurance"])), (&true.into(), "token".into()));
}

/// What the outermost layer is called.
fn title(envelope: &[u8]) -> &'static str {
    explain(envelope, None).expect("an envelope")[1].title
}

#[test]
fn a_token_that_begins_to_decrypt_with_another_key_loses_nothing() {
    let world = World::start();
    let (module, builder) = without_curves();
    let mut till = Till::of_device(&world, "junk", builder);
    let trade = till.open("serial");
    till.send(&trade, "before");
    assert_eq!(till.backend_receive(&trade, 0), ["before"]);
    module.set(ModuleMishap::Junk);
    till.backend_send(&trade, "when it is well again");
    until("a message does not open", || {
        till.device.agent_log().contains("bad-key-layer").then_some(())
    });
    assert!(till.device.agent_pid() > 0);
    // What needs no decryption goes on.
    till.send(&trade, "meanwhile");
    assert_eq!(till.backend_receive(&trade, 2), ["meanwhile"]);
    module.set(ModuleMishap::Rsa);
    till.device.restart_agent();
    till.wait_for("Active");
    assert_eq!(till.receive(&trade, 0), ["when it is well again"]);
}

#[test]
fn another_token_with_the_true_devices_two_rsa_keys_neither_opens_nor_seals() {
    let world = World::start();
    let rsa = ChipKind::Token(TokenKind::KryopticRsa);
    let till = Till::with_chip(&world, "true", Chip::of(rsa));
    till.trades("it is me");
    let thief = Thief::of(&till.device);
    let copy = till.device.chip().copy();
    copy.take_serial_away();
    // His token signs as the true device, and opens the key layer of what is sent to it.
    assert!(thief.openssl_believes(&copy, b"I am the true device"));
    let trade = till.open("key");
    till.send(&trade, "a question");
    till.backend_send(&trade, "an answer");
    assert_eq!(till.receive(&trade, 0), ["an answer"]);
    let keys = Keys::of(&world, &till);
    let down = keys.downlinks(till.device.wire()).pop().expect("a message down");
    assert!(keys.open_down(&till, &down).is_ok());
    let refused = keys.of_another_chip().open_down(&till, &down).unwrap_err();
    assert_eq!(refused.code(), "bad-commitment");
    let door = Api::new(world.server().device_address(), "none");
    let forged = thief.forge(&copy, 7);
    let reply = door.send("POST", "/device/v1/message", &forged, "application/cose");
    assert_eq!((reply.status, reply.body), (403, b"rejected".to_vec()));
    assert!(world.server().log().contains("bad-commitment"), "{}", world.server().log());
    let impostor = Device::builder().chip(copy).service(SERVICE, &[APP]).state_of(&till.device);
    let impostor = world.device(impostor);
    until("it knows", || (impostor.state() == "ChipCleared").then_some(()));
    till.trades("it is still me");
}
