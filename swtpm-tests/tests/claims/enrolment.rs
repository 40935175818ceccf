//! Claims 2 and 19: the keys are exchanged, and serial and user information recorded.

use twinseal_swtpm_tests::{Device, World};

use twinseal_swtpm_tests::till::{Till, text};

#[test]
fn claim_02_the_device_answers_the_servers_key_with_its_own_sealed_to_it() {
    let world = World::start();
    let till = Till::enrol(&world, "north");
    let kinds: Vec<String> = till.device.wire().calls().into_iter().map(|call| call.kind).collect();
    let steps: Vec<&str> = kinds.iter().map(String::as_str).take(4).collect();
    assert_eq!(steps, ["challenge", "claim", "activate", "confirm"]);
    // Sealed: neither the serial nor the owner can be read on the way.
    assert!(!till.device.wire().heard(b"north"));
    let device = till.backend().get(&till.path("")).ok();
    assert_eq!(device["state"], "active");
    assert_eq!(device["assurance"], till.device.chip().kind().assurance());
    assert_eq!(device["user_info"]["till"], "north");
    // The serial that the server has computed is the one that the device shows its operator.
    let own = till.try_app(twinseal_swtpm_tests::User::Operator, &["hardware"], "");
    let own: serde_json::Value = serde_json::from_slice(&own.stdout).expect("JSON");
    assert_eq!(own["serial"], device["serial"]);
    assert_eq!(own["kind"], till.device.chip().kind().word());
}

#[test]
fn claim_19_the_server_records_serial_and_user_information_and_finds_by_them() {
    let world = World::start();
    let (north, south) = (Till::enrol(&world, "north"), Till::enrol(&world, "south"));
    let find = |query: &str| {
        let found = north.backend().get(&format!("/api/v1/devices?{query}")).ok();
        let devices = found["devices"].as_array().expect("devices").clone();
        devices.iter().map(|device| text(&device["device"])).collect::<Vec<_>>()
    };
    assert_eq!(find("find=till=south"), std::slice::from_ref(&south.id));
    let serial = text(&north.backend().get(&north.path("")).ok()["serial"]);
    assert_eq!(find(&format!("serial={serial}")), std::slice::from_ref(&north.id));
    assert!(find("find=till=east").is_empty());
}

#[test]
fn a_link_admits_one_device_once() {
    let world = World::start();
    let first = world.device(Device::builder());
    let link = world.link(&first);
    assert_eq!(twinseal_swtpm_tests::enrol(&first, &link, &[("till", "one")]), Ok(()));
    let second = world.device(Device::builder());
    let refused = twinseal_swtpm_tests::enrol(&second, &link, &[("till", "two")]);
    assert!(refused.is_err(), "{refused:?}");
    assert!(world.server().log().contains("code-not-good"), "{}", world.server().log());
    // With a link of its own it is let in.
    let link = world.link(&second);
    assert_eq!(twinseal_swtpm_tests::enrol(&second, &link, &[("till", "two")]), Ok(()));
}
