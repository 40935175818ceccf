//! A device is there, speaks to who may speak to it, and asks polkit before it enrols.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use twinseal_swtpm_tests::{Device, User};

const NOT_ALLOWED: &str = "org.twinseal.Error.NotAllowed";

#[test]
fn polkit_decides_who_may_enrol() {
    let mut device = Device::start();
    assert_eq!(enrol(&device, User::App(2001)), NOT_ALLOWED);
    assert_eq!(enrol(&device, User::Operator), "org.twinseal.Error.InvalidArgument");

    device.bus_mut().stop_polkitd();
    assert_eq!(enrol(&device, User::Operator), NOT_ALLOWED);
    device.bus_mut().start_polkitd();
    assert_eq!(enrol(&device, User::Operator), "org.twinseal.Error.InvalidArgument");
}

#[test]
fn an_agent_that_was_killed_starts_again() {
    let mut device = Device::start();
    assert_eq!(device.state(), "NotEnrolled");
    let first = device.agent_pid();
    device.kill_agent();
    assert!(!device.bus().has_owner("org.twinseal.Agent1"));
    device.restart_agent();
    assert_eq!(device.state(), "NotEnrolled");
    assert_ne!(device.agent_pid(), first);
}

#[test]
fn only_the_courier_carries() {
    let mut device = Device::start();
    let next = |device: &Device, user| device.call(user, "", "Courier.Next", &["0", "{}"]);
    assert!(next(&device, User::Courier).is_ok());
    let refusal = next(&device, User::Operator).unwrap_err();
    assert_eq!(refusal.name, "org.freedesktop.DBus.Error.AccessDenied");
    device.start_courier(&[]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !device.courier_log().contains("carrying") {
        assert!(std::time::Instant::now() < deadline, "{}", device.courier_log());
        std::thread::yield_now();
    }
}

/// The name of the error that an enrolment without a link meets.
fn enrol(device: &Device, user: User) -> String {
    device.call(user, "", "Enrol", &["not a link", "{}", "{}"]).unwrap_err().name
}
