//! The agent as a service on the system bus: its contract, and who may do what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use twinseal_swtpm_tests::{Device, EkKind, Swtpm, Tap, User};

const NAME: &str = "org.twinseal.Agent1";
const ROOT: &str = "/org/twinseal/Agent1";
const APP: User = User::App(2001);

/// `gdbus call` on the agent's root: what it prints, or how it fails.
fn call(device: &Device, user: User, method: &str, rest: &[&str]) -> Result<String, String> {
    let mut command = device.bus().command(user, "gdbus");
    command.args(["call", "--system", "--dest", NAME, "--object-path", ROOT]);
    let Output { status, stdout, stderr } =
        command.args(["--method", method]).args(rest).output().unwrap();
    match status.success() {
        true => Ok(String::from_utf8(stdout).unwrap()),
        false => Err(String::from_utf8(stderr).unwrap()),
    }
}

fn property(device: &Device, user: User, name: &str) -> Result<String, String> {
    call(device, user, "org.freedesktop.DBus.Properties.Get", &[NAME, name])
}

/// The name of the D-Bus error in what gdbus says.
fn error_name(refusal: &str) -> &str {
    let rest = refusal.split("GDBus.Error:").nth(1).unwrap_or(refusal);
    rest.split(": ").next().unwrap()
}

#[test]
fn the_root_is_as_the_files_say() {
    let device = Device::start();
    let method = "org.freedesktop.DBus.Introspectable.Introspect";
    let seen = call(&device, APP, method, &[]).unwrap();
    // As gdbus prints a text within a tuple.
    let seen = seen.trim().trim_start_matches("('").trim_end_matches("',)").replace("\\n", "\n");
    for file in ["org.twinseal.Agent1", "org.twinseal.Agent1.Courier"] {
        let path = format!("{}/../docs/dbus/{file}.xml", env!("CARGO_MANIFEST_DIR"));
        let written = without_comments(&std::fs::read_to_string(path).unwrap());
        let interface =
            &written[written.find("<interface").unwrap()..written.find("</node>").unwrap()];
        assert!(
            without_comments(&seen).contains(interface),
            "{file}:\n{interface}\nnot in\n{seen}"
        );
    }
    for standard in ["Introspectable", "ObjectManager", "Peer", "Properties"] {
        assert!(seen.contains(&format!("\"org.freedesktop.DBus.{standard}\"")), "{seen}");
    }
}

fn without_comments(xml: &str) -> String {
    let parts = xml.split("<!--").enumerate();
    let parts = parts.map(|(number, part)| match number {
        0 => part,
        _ => part.split_once("-->").unwrap().1,
    });
    let xml: String = parts.collect();
    xml.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_serial_is_for_root_and_the_operators() {
    let device = Device::start();
    let serial = property(&device, User::Root, "HardwareSerial").unwrap();
    assert_eq!(property(&device, User::Operator, "HardwareSerial").unwrap(), serial);
    let certificate = property(&device, User::Operator, "EkCertificate").unwrap();
    assert!(certificate.starts_with("(<[byte 0x30, 0x82"), "{certificate}");
    let all = "org.freedesktop.DBus.Properties.GetAll";
    let everything = call(&device, User::Operator, all, &[NAME]).unwrap();
    let text = serial.split('\'').nth(1).unwrap();
    assert!(everything.contains(text), "{everything}");
    for user in [APP, User::Courier] {
        for name in ["HardwareSerial", "EkCertificate"] {
            let refusal = property(&device, user, name).unwrap_err();
            assert_eq!(error_name(&refusal), "org.twinseal.Error.NotAllowed");
        }
        let rest = call(&device, user, all, &[NAME]).unwrap();
        assert!(rest.contains("'State': <'NotEnrolled'>"), "{rest}");
        assert!(!rest.contains(text) && !rest.contains("EkCertificate"), "{rest}");
    }
}

/// What cannot change while it is the same chip is asked of it once.
#[test]
fn a_client_that_polls_costs_the_chip_little_and_another_chip_is_seen() {
    let chip = Swtpm::builder().only(EkKind::EccP384).start();
    let tap = Tap::on(&chip);
    let mut device = Device::builder().chip(chip).tcti(tap.tcti()).start();
    let all = "org.freedesktop.DBus.Properties.GetAll";
    let ask = |device: &Device| call(device, User::Operator, all, &[NAME]).unwrap();
    // Properties come in any order.
    let told = |device: &Device, kind: &str| {
        let told = ask(device);
        let all = ["HardwareSerial", "EkCertificate", "'manufacturer'", kind];
        all.iter().all(|part| told.contains(part))
    };
    assert!(told(&device, "'ek': <'ecc-p384'>"), "{}", ask(&device));
    let before = tap.exchanges().len();
    for _ in 0..100 {
        assert!(told(&device, "'ek': <'ecc-p384'>"), "{}", ask(&device));
    }
    let cost = tap.exchanges().len() - before;
    println!("{cost} commands for 100 questions");
    // A dozen a question, for lockout, what is loaded, and whether it is the same chip; and the
    // agent's own looks.
    assert!((400..=1400).contains(&cost), "{cost}");
    let mut other = Swtpm::builder().only(EkKind::Rsa2048).start();
    device.tpm_mut().trade_places(&mut other);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !told(&device, "'ek': <'rsa-2048'>") {
        assert!(Instant::now() < deadline, "{}", ask(&device));
    }
}

#[test]
fn what_does_not_fit_the_contract_is_refused_by_name() {
    let device = Device::start();
    let open = "org.twinseal.Agent1.OpenTrade";
    let service = "com.example.till";
    let invalid = "org.twinseal.Error.InvalidArgument";
    for (method, rest, error) in [
        (open, &[service, "{'outer': <'inside'>}"][..], invalid),
        (open, &[service, "{'colour': <'red'>}"], invalid),
        (open, &[service, "{'outer': <uint32 1>}"], invalid),
        (open, &[service, "{}"], "org.twinseal.Error.NotAllowed"),
        ("org.twinseal.Agent1.MakeTea", &["x"], "org.freedesktop.DBus.Error.UnknownMethod"),
        ("org.twinseal.Agent2.OpenTrade", &["x"], "org.freedesktop.DBus.Error.UnknownInterface"),
    ] {
        let refusal = call(&device, APP, method, rest).unwrap_err();
        assert_eq!(error_name(&refusal), error, "{method} {rest:?}: {refusal}");
    }
    let refusal = property(&device, APP, "Colour").unwrap_err();
    assert_eq!(error_name(&refusal), "org.freedesktop.DBus.Error.UnknownProperty");
    // busctl sends the types it is told to, whatever introspection says.
    let mut command = device.bus().command(APP, "busctl");
    let output =
        command.args(["call", NAME, ROOT, NAME, "Listen", "us", "1", "x"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("the arguments do not fit"), "{said}");
}

#[test]
fn items_are_for_the_courier_alone() {
    let device = Device::start();
    let next = "org.twinseal.Agent1.Courier.Next";
    let nothing = call(&device, User::Courier, next, &["0", "{}"]).unwrap();
    assert_eq!(nothing.trim(), "(uint64 0, '', @ay [])");
    assert!(call(&device, User::Root, next, &["0", "{}"]).is_ok());
    for user in [APP, User::Operator] {
        // The bus says it before the agent has to.
        let refusal = call(&device, user, next, &["0", "{}"]).unwrap_err();
        assert_eq!(error_name(&refusal), "org.freedesktop.DBus.Error.AccessDenied");
    }
}

#[test]
fn it_ends_when_it_is_asked_to_and_there_is_one_of_it() {
    let device = Device::start();
    let config = device.bus().folder().join("agent/agent.toml");
    let mut second = device.command(User::Agent, "twinseal-agent");
    let second = second.arg("--config").arg(&config).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(device.state(), "NotEnrolled");
    let pid = device.agent_pid().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while device.bus().has_owner(NAME) || !device.agent_log().contains("stopped") {
        assert!(Instant::now() < deadline, "{}", device.agent_log());
    }
    // Nothing of it is left in the chip.
    for loaded in ["handles-transient", "handles-loaded-session"] {
        assert_eq!(device.tpm().tool("tpm2_getcap", &[loaded]).trim(), "");
    }
}
