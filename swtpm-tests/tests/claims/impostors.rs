//! The point of it all ([0019], [0023]): another chip, with every key of the true device, can
//! neither open nor seal. Each impostor has the true device beside him, which still can.

use twinseal_swtpm_tests::{Api, ChipKind, Device, World};

use crate::thief::Thief;
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, until};

/// The true device trades: the twin of every refusal.
fn trades(till: &Till) {
    let trade = till.open("serial");
    till.send(&trade, "it is me");
    assert_eq!(till.backend_receive(&trade, 0), ["it is me"]);
}

#[test]
fn another_chip_with_the_true_devices_state_cannot_use_it() {
    let world = World::start();
    let till = Till::enrol(&world, "true");
    trades(&till);
    let impostor = Device::builder().service(SERVICE, &[APP]).state_of(&till.device);
    let impostor = world.device(impostor);
    until("it knows another chip", || (impostor.state() == "ChipReplaced").then_some(()));
    let open = impostor.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]);
    assert_eq!(open.unwrap_err().name, "org.twinseal.Error.ChipReplaced");
    trades(&till);
}

#[test]
fn a_copy_without_the_serial_signs_and_still_is_nobody() {
    let world = World::start();
    let till = Till::enrol(&world, "true");
    trades(&till);
    // A copy of the emulated chip: the true device's signing key is there, and signs.
    let copy = till.device.chip().copy();
    copy.take_serial_away();
    // A TPM with another seed is another chip; a token without a key is one that has lost it.
    let known_as = match copy.kind() {
        ChipKind::Tpm => "ChipReplaced",
        ChipKind::Token(_) => "ChipCleared",
    };
    let impostor = Device::builder().chip(copy).service(SERVICE, &[APP]).state_of(&till.device);
    let impostor = world.device(impostor);
    until("it knows", || (impostor.state() == known_as).then_some(()));
    let open = impostor.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]);
    assert_eq!(open.unwrap_err().name, format!("org.twinseal.Error.{known_as}"));
    trades(&till);
}

#[test]
fn a_modified_agent_that_states_the_true_serial_is_refused_by_the_server() {
    let world = World::start();
    let till = Till::enrol(&world, "true");
    trades(&till);
    let thief = Thief::of(&till.device);
    let copy = till.device.chip().copy();
    assert_eq!(thief.agrees(&copy), Ok(()));
    copy.take_serial_away();
    let refusal = match copy.kind() {
        ChipKind::Tpm => "replaced",
        ChipKind::Token(_) => "cleared",
    };
    assert_eq!(thief.agrees(&copy), Err(refusal));
    // To everybody who believes in keys alone this is the true device.
    assert!(thief.openssl_believes(&copy, b"I am the true device"));
    let door = Api::new(world.server().device_address(), "none");
    let knock = |envelope: &[u8]| {
        let reply = door.send("POST", "/device/v1/message", envelope, "application/cose");
        (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
    };
    assert_eq!(knock(&thief.forge(&copy, 7)), (403, "rejected".to_owned()));
    assert!(world.server().log().contains("bad-commitment"), "{}", world.server().log());
    trades(&till);
}

#[test]
fn the_right_chip_after_revocation_is_refused_and_told_so() {
    let world = World::start();
    let till = Till::enrol(&world, "revoked");
    trades(&till);
    let trade = till.open("serial");
    world.server().run(&["device", "revoke", &till.id]);
    let _ = till.try_app(APP, &["trade", "send", &trade], "too late");
    until("it knows", || (till.device.state() == "Revoked").then_some(()));
    let open = till.device.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]);
    assert_eq!(open.unwrap_err().name, "org.twinseal.Error.Revoked");
}

#[test]
fn a_second_enrolment_of_a_live_serial_is_refused() {
    let world = World::start();
    let till = Till::enrol(&world, "live");
    // The same chip, copied, in a device that knows nothing of its enrolment.
    let second = world.device(Device::builder().chip(till.device.chip().copy()));
    let link = world.link(&second);
    let refused = twinseal_swtpm_tests::enrol(&second, &link, &[("till", "thief")]);
    assert!(refused.is_err(), "{refused:?}");
    assert!(world.server().log().contains("serial-live"), "{}", world.server().log());
    trades(&till);
    // A chip that is not enrolled is let in with the same kind of link.
    let other = world.device(Device::builder());
    let link = world.link(&other);
    assert_eq!(twinseal_swtpm_tests::enrol(&other, &link, &[("till", "new")]), Ok(()));
}
