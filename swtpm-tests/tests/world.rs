//! A world with one server and its devices: they enrol, over HTTP and HTTPS, through outages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use twinseal_swtpm_tests::{Api, Device, EkKind, Swtpm, User, Vendor, World, bytes, enrol};

const SERVICE: &str = "com.example.till";
const APP: User = User::App(2001);

#[test]
fn devices_enrol_with_both_kinds_of_ek() {
    let world = World::start();
    for kind in EkKind::ALL {
        let chip = Swtpm::builder().only(kind).start();
        let info = format!("till with {kind:?}");
        world.enrolled(Device::builder().chip(chip), &[("holder", &info)]);
        let found = world.server().run(&["device", "list", "--find", &info]);
        let found = found["devices"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["assurance"], "tpm-ek", "{found:?}");
    }
}

#[test]
fn the_wire_is_on_tape_and_shows_no_user_information() {
    let world = World::start();
    let device = world.enrolled(Device::builder(), &[("holder", "a very particular holder")]);
    assert!(device.wire().heard(b"POST /device/v1/"));
    assert!(!device.wire().heard(b"a very particular holder"));
}

#[test]
fn https_is_checked_by_host_name() {
    let world = World::start_https();
    let device = world.enrolled(Device::builder(), &[]);
    assert!(!device.wire().heard(b"POST /device/v1/"));
}

#[test]
fn a_simulator_is_not_enrolled_as_a_chip() {
    let world = World::start();
    let chip = Swtpm::builder().vendor(Vendor::Swtpm).start();
    let device = world.device(Device::builder().chip(chip));
    let refusal = enrol(&device, &world.link(&device), &[]).unwrap_err();
    assert!(refusal.contains("org.twinseal.Error.Rejected"), "{refusal}");
    assert_eq!(device.state(), "NotEnrolled");
    assert!(world.server().log().contains("simulator"), "{}", world.server().log());
}

#[test]
fn an_enrolment_outlives_outages() {
    let mut world = World::start();
    let mut device = world.device(Device::builder());
    let link = world.link(&device);
    device.wire().cut();
    std::thread::scope(|scope| {
        let enrolment = scope.spawn(|| enrol(&device, &link, &[]));
        while device.state() != "Enrolling" {
            assert!(!enrolment.is_finished());
        }
        device.wire().mend();
        enrolment.join().unwrap().unwrap();
    });
    world.restart_server();
    device.kill_agent();
    device.restart_agent();
    world.start_courier(&mut device);
    assert_eq!(device.state(), "Active");
    let serial = device.property(User::Operator, "", "", "HardwareSerial").unwrap();
    let found = world.server().run(&["device", "list", "--serial", &serial]);
    assert_eq!(found["devices"].as_array().unwrap().len(), 1);
}

/// The disk goes to another chip: that is told apart at the start. With a copy of the chip it is
/// the device.
#[test]
fn a_copied_disk_is_of_use_with_its_chip_alone() {
    let world = World::start();
    let mut device = world.enrolled(Device::builder(), &[]);
    device.kill_agent();
    let copy = Device::builder().chip(device.tpm().copy()).state_of(&device).start();
    assert_eq!(copy.state(), "Active", "{}", copy.agent_log());
    let thief = Device::builder().state_of(&device).start();
    assert_eq!(thief.state(), "ChipReplaced", "{}", thief.agent_log());
}

#[test]
fn an_application_and_a_back_end_exchange() {
    let world = World::start();
    let device = world.enrolled(Device::builder().service(SERVICE, &[APP]), &[]);
    let api = world.server().api(&["trades:read", "trades:write"]);
    let question = bytes(b"a question");
    let exchange = |user| device.call(user, "", "Exchange", &[SERVICE, &question, "{}"]);

    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| exchange(APP));
        reply(&api, "YW4gYW5zd2Vy", || asking.is_finished());
        asking.join().unwrap().unwrap()
    });
    assert!(answer.starts_with(&format!("({}, objectpath", bytes(b"an answer"))), "{answer}");
    assert!(!device.wire().heard(b"a question") && !device.wire().heard(b"an answer"));

    let refusal = exchange(User::App(2002)).unwrap_err();
    assert_eq!(refusal.name, "org.twinseal.Error.NotAllowed");
}

/// Answers the first question that comes, with base64.
fn reply(api: &Api, payload: &str, given_up: impl Fn() -> bool) {
    let question = loop {
        let inbox = api.get("/api/v1/inbox?wait_ms=1000").ok();
        if let Some(question) = inbox["messages"].as_array().and_then(|all| all.first()) {
            break question.clone();
        }
        assert!(!given_up(), "the device asks no more: {inbox}");
    };
    assert_eq!(question["payload"], "YSBxdWVzdGlvbg==", "{question}");
    let (device, trade) = (&question["device"], &question["trade"]);
    let path = |part: &serde_json::Value| part.as_str().unwrap().to_owned();
    let messages = format!("/api/v1/devices/{}/trades/{}/messages", path(device), path(trade));
    api.post(&messages, &json!({ "payload": payload })).ok();
}
