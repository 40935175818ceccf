//! A PIN that is asked for: who gives it, how, and what nobody sees of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Output, Stdio};

use twinseal_swtpm_tests::till::{APP, SERVICE, Till, until};
use twinseal_swtpm_tests::{Daemon, Device, Module, ModuleMishap, Token, User, World, program};

const WRONG: &str = "no pin of the test";

/// A till whose token is behind a module that counts, and whose configuration has lost the PIN.
fn without_pin(world: &World, name: &str) -> (Till, Module) {
    let token = Token::start();
    let module = Module::before(&token);
    let mut till = Till::of_device(world, name, Device::builder().chip(token).module(&module));
    module.set(ModuleMishap::None);
    till.device.unconfigure("pin_file");
    let message = till.wait_for("ChipUnauthorised");
    assert!(message.contains("twinseal unlock"), "{message}");
    assert_eq!(module.logins(), 0);
    (till, module)
}

fn unlock(till: &Till, user: User, pin: &str) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = till.try_app(user, &["unlock"], &format!("{pin}\n"));
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

#[test]
fn it_is_tried_once_and_only_an_administrators() {
    let world = World::start();
    let (till, module) = without_pin(&world, "asked");
    let right = till.device.token().pin();
    let monitor = till.device.bus().folder().join("monitor.log");
    let mut command = till.device.bus().command(User::Root, "dbus-monitor");
    command.arg("--system");
    let mut watching = Daemon::spawn("dbus-monitor", &command, monitor);
    watching.wait_until("watching", || watching_log(&till).contains("NameLost").then_some(()));

    let (code, said) = unlock(&till, APP, right);
    assert_eq!((code, module.logins()), (Some(4), 0), "{said}");
    let refused = till.try_app(APP, &["trade", "open", SERVICE], "");
    assert_eq!(refused.status.code(), Some(8));

    let (code, said) = unlock(&till, User::Operator, WRONG);
    assert_eq!((code, module.logins()), (Some(8), 1), "{said}");
    assert!(said.contains("refuses its PIN"), "{said}");
    for _ in 0..3 {
        // Each looks at the chip anew.
        let refused = till.try_app(APP, &["trade", "open", SERVICE], "");
        assert_eq!(refused.status.code(), Some(8));
    }
    let message = till.wait_for("ChipUnauthorised");
    assert!(message.contains("twinseal unlock"), "{message}");
    assert_eq!(module.logins(), 1, "not tried again");
    assert!(!is_in_memory(&till, WRONG), "forgotten");

    let (code, said) = unlock(&till, User::Operator, right);
    assert_eq!((code, module.logins()), (Some(0), 2), "{said}");
    assert!(said.contains("\"Active\""), "{said}");
    assert!(is_in_memory(&till, right), "for when the token was away");
    till.trades("unlocked");
    let (code, said) = unlock(&till, User::Operator, WRONG);
    assert_eq!((code, module.logins()), (Some(9), 2), "not wanted any more: {said}");

    module.set(ModuleMishap::Removed);
    till.wait_for("ChipAbsent");
    module.set(ModuleMishap::None);
    till.wait_for("Active");
    till.trades("back, and nobody was asked");

    let seen = watching_log(&till);
    assert!(seen.contains("member=Unlock") && seen.contains("file descriptor"), "{seen}");
    for pin in [right, WRONG] {
        assert!(!seen.contains(pin) && !till.device.agent_log().contains(pin));
    }
}

fn watching_log(till: &Till) -> String {
    let mut log = String::new();
    let file = File::open(till.device.bus().folder().join("monitor.log"));
    file.and_then(|mut file| file.read_to_string(&mut log)).map(|_| log).unwrap_or_default()
}

/// Whether the agent holds it somewhere in memory that it can write.
fn is_in_memory(till: &Till, pin: &str) -> bool {
    let pid = till.device.agent_pid();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let number = |hex| u64::from_str_radix(hex, 16).unwrap();
    let writable = maps.lines().filter(|line| line.contains(" rw"));
    writable.filter_map(|line| line.split(' ').next()?.split_once('-')).any(|(from, to)| {
        let mut bytes = vec![0; usize::try_from(number(to) - number(from)).unwrap()];
        // What was unmapped meanwhile is gone.
        let _ = memory.read_exact_at(&mut bytes, number(from));
        bytes.windows(pin.len()).any(|window| window == pin.as_bytes())
    })
}

#[test]
fn a_refused_one_is_made_good_by_hand() {
    let world = World::start();
    let mut till = Till::with_chip(&world, "refused", Token::start());
    till.device.token().set_pin(WRONG);
    till.device.restart_agent();
    let message = till.wait_for("ChipUnauthorised");
    assert!(message.contains("hardware.pin_file"), "{message}");
    let (code, said) = unlock(&till, User::Operator, till.device.token().pin());
    assert_eq!(code, Some(0), "{said}");
    till.trades("with the right one");
}

#[test]
fn an_enrolment_waits_for_it() {
    let world = World::start();
    let builder = Device::builder().chip(Token::start()).service(SERVICE, &[APP]);
    let mut device = world.device(builder);
    device.stop_courier();
    let link = world.link(&device);
    device.call(User::Operator, "", "Enrol", &[&link, "@a{sv} {}", "@a{sv} {}"]).unwrap();
    assert_eq!(device.state(), "Enrolling");
    device.unconfigure("pin_file");
    let pin = device.token().pin();
    let give = |device: &Device| {
        let mut command = device.command(User::Operator, "twinseal");
        let mut child =
            command.arg("unlock").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(pin.as_bytes()).unwrap();
        child.wait().unwrap()
    };
    world.start_courier(&mut device);
    // The server's first answer can be had, but nothing can be made of it.
    until("a claim that cannot be made", || {
        device.wire().calls().iter().any(|call| call.kind == "challenge").then_some(())
    });
    until("the state", || (device.state() == "ChipUnauthorised").then_some(()));
    assert!(give(&device).success());
    until("the enrolment's end", || (device.state() == "Active").then_some(()));
}

#[test]
fn a_tpm_has_none() {
    let world = World::start();
    let till = Till::with_chip(&world, "tpm", twinseal_swtpm_tests::Swtpm::start());
    let (code, said) = unlock(&till, User::Operator, WRONG);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("a TPM has no PIN"), "{said}");
}

#[test]
fn what_is_typed_is_not_shown() {
    let world = World::start();
    let (till, module) = without_pin(&world, "typed");
    let right = till.device.token().pin();
    // Cancelled: the terminal is as it was, and nothing is tried.
    let shown = at_a_terminal(&till, "; stty --all", b"secret\x03");
    assert!(shown.contains("no PIN was given") && shown.contains(" echo "), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(module.logins(), 0);
    // Corrected while it is typed.
    let typed = format!("x\x15{right}y\x7f\r");
    let shown = at_a_terminal(&till, "", typed.as_bytes());
    assert!(!shown.contains(right), "{shown}");
    assert_eq!(module.logins(), 1);
    till.wait_for("Active");
}

/// Types this when it is asked for; gives what the terminal has shown.
fn at_a_terminal(till: &Till, then: &str, typed: &[u8]) -> String {
    let line = format!("{} unlock{then}", program("twinseal").display());
    let mut command = till.device.bus().command(User::Root, "script");
    command.args(["--quiet", "--command", &line, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"token: ") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed).unwrap();
    output.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}
