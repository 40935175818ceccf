//! Which tokens a server lets in, and keeps.

use twinseal_swtpm_tests::till::{Till, text};
use twinseal_swtpm_tests::{Device, Token, TokenKind, User, World, enrol};

fn device(world: &World) -> Device {
    world.device(Device::builder().chip(Token::start()))
}

fn serial(device: &Device) -> String {
    let output = device.run(User::Operator, "twinseal", &["--json", "hardware"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    text(&shown["serial"])
}

#[test]
fn a_server_takes_tokens_only_where_its_operator_says_so() {
    let world = World::with_options(&[]);
    let device = device(&world);
    let refused = enrol(&device, &world.link(&device), &[]);
    assert!(refused.is_err());
    assert!(world.server().log().contains("token-not-accepted"), "{}", world.server().log());
    // What the enrolment has made is taken out again.
    assert!(device.token().public_keys().is_empty());
}

#[test]
fn a_token_that_cannot_agree_is_refused_before_anything_is_made() {
    let world = World::start();
    let poor = Token::with_mechanisms(&["CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"]);
    let device = world.device(Device::builder().chip(poor));
    let refused = enrol(&device, &world.link(&device), &[]).unwrap_err();
    assert!(refused.contains("ECDH on P-256"), "{refused}");
    assert!(device.token().public_keys().is_empty());
    // The same module with all that it knows.
    let rich = world.device(Device::builder().chip(Token::of(TokenKind::Kryoptic)));
    assert_eq!(enrol(&rich, &world.link(&rich), &[]), Ok(()));
}

#[test]
fn without_a_code_a_token_waits_for_nobody_and_enters_when_it_is_listed() {
    let world = World::with_options(&["--accept-tokens", "--approve-by-hand"]);
    let device = device(&world);
    let link = world.link(&device);
    let (without_code, _) = link.split_once("&code=").expect("a link with a code");
    assert!(enrol(&device, without_code, &[]).is_err());
    assert!(world.server().log().contains("not-admitted"), "{}", world.server().log());
    world.server().run(&["device", "register", "--serial", &serial(&device)]);
    assert_eq!(enrol(&device, without_code, &[]), Ok(()));
}

#[test]
fn an_enrolment_again_proves_itself_by_the_old_key_and_leaves_three_keys() {
    let world = World::start();
    let till: Till = Till::with_chip(&world, "again", Token::start());
    let link = world.link(&till.device);
    assert_eq!(enrol(&till.device, &link, &[("till", "again")]), Ok(()));
    till.wait_for("Active");
    assert_eq!(till.shown(&world)["generation"], 2);
    till.trades("as the second generation");
    assert_eq!(till.device.token().public_keys().len(), 3);
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
