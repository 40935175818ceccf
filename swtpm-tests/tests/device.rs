//! A device is there, speaks to who may speak to it, and asks polkit before it enrols.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Output;

use twinseal_swtpm_tests::{Device, User};

#[test]
fn polkit_decides_who_may_enrol() {
    let mut device = Device::start();
    assert_eq!(error(&enrol(&device, User::App(2001))), "org.twinseal.Error.NotAllowed");
    let allowed = enrol(&device, User::Operator);
    assert_ne!(error(&allowed), "org.twinseal.Error.NotAllowed", "{allowed:?}");

    device.bus_mut().stop_polkitd();
    assert_eq!(error(&enrol(&device, User::Operator)), "org.twinseal.Error.NotAllowed");
    device.bus_mut().start_polkitd();
    let allowed = enrol(&device, User::Operator);
    assert_ne!(error(&allowed), "org.twinseal.Error.NotAllowed", "{allowed:?}");
}

#[test]
fn an_agent_that_was_killed_starts_again() {
    let mut device = Device::start();
    let first = device.agent_pid();
    device.kill_agent();
    assert!(!device.bus().has_owner("org.twinseal.Agent1"));
    device.restart_agent();
    assert!(device.bus().has_owner("org.twinseal.Agent1"));
    assert_ne!(device.agent_pid(), first);
}

fn enrol(device: &Device, user: User) -> Output {
    device
        .bus()
        .command(user, "gdbus")
        .args(["call", "--system", "--dest", "org.twinseal.Agent1"])
        .args(["--object-path", "/org/twinseal/Agent1"])
        .args(["--method", "org.twinseal.Agent1.Enrol"])
        .args(["not a link", "{}", "{}"])
        .output()
        .unwrap()
}

/// The D-Bus name of the error that `gdbus` met.
fn error(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = said.split_once("GDBus.Error:").map(|(_, rest)| rest.split(": ").next());
    name.flatten().unwrap_or(&said).to_owned()
}
