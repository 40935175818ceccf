//! Who may enrol, with real agents and emulated chips: by code, by a registered serial, by hand;
//! and who may not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use serde_json::Value;
use twinseal_swtpm_tests::{Device, EkAuthority, Server, Swtpm, User, enrol};

/// A server that trusts the fixture's chips, with more options for `serve`.
fn server(options: &[&str]) -> Server {
    let server = Server::with_options(options);
    server.trust(&EkAuthority::shared().root_pem_file());
    server
}

fn device(chip: Swtpm) -> Device {
    let mut device = Device::builder().chip(chip).start();
    device.start_courier(&[]);
    device
}

fn link(server: &Server) -> String {
    server.link(&format!("http://{}", server.device_address()))
}

fn link_without_code(server: &Server) -> String {
    let link = link(server);
    link.split("&code=").next().unwrap().to_owned()
}

fn serial(device: &Device) -> String {
    device.property(User::Operator, "", "", "HardwareSerial").unwrap()
}

/// The one device of a serial.
fn shown(server: &Server, serial: &str) -> Value {
    server.run(&["device", "show", "--serial", serial])
}

/// The device is refused, and the log says why.
fn refused(server: &Server, device: &Device, link: &str, code: &str) {
    let before = server.log().len();
    let refusal = enrol(device, link, &[]).unwrap_err();
    assert!(refusal.contains("org.twinseal.Error.Rejected"), "{refusal}");
    let log = server.log()[before..].to_owned();
    assert!(log.contains(&format!("reason=\"{code}\"")), "{log}");
}

fn until(is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it took too long");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_code_admits_one_device_once() {
    let server = server(&[]);
    let (first, second) = (device(Swtpm::start()), device(Swtpm::start()));
    let code = link(&server);
    enrol(&first, &code, &[]).unwrap();
    refused(&server, &second, &code, "code-not-good");
    refused(&server, &second, &link_without_code(&server), "not-admitted");
    enrol(&second, &link(&server), &[]).unwrap();
    let used = server.run(&["code", "list"]);
    let used = used["codes"].as_array().unwrap().iter().filter(|code| code["state"] == "used");
    assert_eq!(used.count(), 2);
}

#[test]
fn a_registered_serial_needs_no_code_and_the_operators_word_counts_more() {
    let server = Server::start();
    let device = device(Swtpm::start());
    let serial = serial(&device);
    // No root is trusted, so that only the operator vouches for this chip.
    refused(&server, &device, &link(&server), "ek-issuer-unknown");
    let folder = tempfile::tempdir().unwrap();
    let user_info = folder.path().join("user-info.json");
    fs::write(&user_info, r#"{"holder": "Anna Müller"}"#).unwrap();
    let user_info = user_info.to_str().unwrap();
    server.run(&["device", "register", "--serial", &serial, "--user-info", user_info]);
    assert_eq!(server.run(&["device", "list"])["devices"][0]["state"], "expected");

    let said = [("holder", "somebody else"), ("floor", "2")];
    enrol(&device, &link_without_code(&server), &said).unwrap();
    let shown = shown(&server, &serial);
    assert_eq!(shown["assurance"], "tpm-ek-listed");
    assert_eq!(shown["user_info"]["holder"], "Anna Müller");
    assert_eq!(shown["user_info"]["floor"], "2");
    assert_eq!(server.run(&["device", "list"])["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn a_device_that_waits_is_let_in_or_not() {
    let server = server(&["--approve-by-hand"]);
    for (decision, state) in [("approve", "Active"), ("revoke", "NotEnrolled")] {
        let device = device(Swtpm::start());
        let serial = serial(&device);
        std::thread::scope(|scope| {
            let link = link_without_code(&server);
            let enrolment = scope.spawn({
                let device = &device;
                move || enrol(device, &link, &[])
            });
            until(|| {
                let listed = server.run(&["device", "list", "--state", "awaiting"]);
                !listed["devices"].as_array().unwrap().is_empty()
            });
            assert_eq!(shown(&server, &serial)["state"], "awaiting");
            server.run(&["device", decision, "--serial", &serial]);
            let _ = enrolment.join().unwrap();
        });
        until(|| device.state() == state);
    }
}

#[test]
fn one_chip_is_one_device_until_it_is_revoked_and_then_registered() {
    let server = server(&[]);
    let chip = Swtpm::start();
    let first = device(chip.copy());
    let serial = serial(&first);
    enrol(&first, &link(&server), &[]).unwrap();
    // The same chip without what its agent knew, and with a good code.
    let again = device(chip);
    refused(&server, &again, &link(&server), "serial-live");
    let taken = server.try_run(&["device", "register", "--serial", &serial]);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("serial-live"));

    server.run(&["device", "revoke", "--serial", &serial]);
    refused(&server, &again, &link(&server), "serial-revoked");
    server.run(&["device", "register", "--serial", &serial]);
    enrol(&again, &link(&server), &[]).unwrap();
    let listed = server.run(&["device", "list", "--serial", &serial]);
    let listed = listed["devices"].as_array().unwrap();
    let mut states: Vec<_> = listed.iter().map(|d| d["state"].as_str().unwrap()).collect();
    states.sort();
    assert_eq!(states, ["active", "revoked"]);
}
