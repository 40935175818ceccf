//! The private bus and its polkitd hold users apart, as a system's own would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output, Stdio};

use twinseal_swtpm_tests::{Bus, User};

const ACTION: &str = "org.example.test.enrol";
const NAME: &str = "org.example.Test1";

const ACTIONS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>
  <action id="org.example.test.enrol">
    <description>Enrol</description>
    <message>Enrol</message>
    <defaults>
      <allow_any>auth_admin</allow_any>
      <allow_inactive>auth_admin</allow_inactive>
      <allow_active>auth_admin</allow_active>
    </defaults>
  </action>
</policyconfig>
"#;

const POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="twinseal"><allow own="org.example.Test1"/></policy>
  <policy group="twinseal-courier"><allow own="org.example.Test1"/></policy>
</busconfig>
"#;

fn bus() -> Bus {
    let folder = tempfile::tempdir().unwrap();
    let (actions, policy) = (folder.path().join("t.policy"), folder.path().join("t.conf"));
    std::fs::write(&actions, ACTIONS).unwrap();
    std::fs::write(&policy, POLICY).unwrap();
    Bus::builder().actions(actions).bus_policy(policy).allow(User::App(2001), ACTION).start()
}

#[test]
fn polkit_allows_the_user_it_was_told_and_nobody_else() {
    let bus = bus();
    assert_eq!(may_enrol(&bus, User::App(2001)), Ok(true));
    assert_eq!(may_enrol(&bus, User::App(2002)), Ok(false));
    assert_eq!(may_enrol(&bus, User::Operator), Ok(false));
}

#[test]
fn polkit_is_gone_when_stopped_and_the_same_when_started_again() {
    let mut bus = bus();
    bus.stop_polkitd();
    let refusal = may_enrol(&bus, User::App(2001)).unwrap_err();
    assert!(refusal.contains("ServiceUnknown"), "{refusal}");
    bus.start_polkitd();
    assert_eq!(may_enrol(&bus, User::App(2001)), Ok(true));
    assert_eq!(may_enrol(&bus, User::App(2002)), Ok(false));
}

#[test]
fn the_bus_knows_users_and_groups() {
    let bus = bus();
    for (user, owns) in [
        (User::Agent, true),
        (User::Courier, true),
        (User::Operator, false),
        (User::App(2001), false),
        (User::Root, false),
    ] {
        let output = ask_bus(&bus, user, "RequestName", &[&format!("string:{NAME}"), "uint32:0"]);
        assert_eq!(output.status.success(), owns, "{user:?}: {output:?}");
        let refused = String::from_utf8_lossy(&output.stderr).contains("AccessDenied");
        assert_eq!(refused, !owns, "{user:?}: {output:?}");
    }
}

#[test]
fn a_command_runs_as_its_user_with_its_groups() {
    let bus = bus();
    let id = |user, option| {
        let output = bus.command(user, "id").arg(option).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(id(User::App(2002), "-u"), "2002");
    assert_eq!(id(User::Courier, "-nG"), "twinseal-courier");
    assert_eq!(id(User::Operator, "-nG"), "operator twinseal");
}

/// A program in a folder that is closed to the user is still found.
#[test]
fn a_command_may_be_any_file_of_ours() {
    let bus = bus();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("mine");
    std::fs::copy("/usr/bin/id", &program).unwrap();
    let run = |command: &mut Command| command.arg("-u").output().unwrap();
    let output = run(&mut bus.command(User::App(2003), &program));
    assert_eq!(output.stdout, b"2003\n", "{output:?}");
}

#[test]
fn the_machine_is_left_alone() {
    let before = std::fs::read("/etc/passwd").unwrap();
    let bus = bus();
    let seen = bus.command(User::Root, "cat").arg("/etc/passwd").output().unwrap().stdout;
    assert!(String::from_utf8(seen).unwrap().contains("app2001"));
    assert_eq!(std::fs::read("/etc/passwd").unwrap(), before);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bus.folder().to_str().unwrap()), "{mounts}");
}

/// Calls a method of the bus itself.
fn ask_bus(bus: &Bus, user: User, method: &str, arguments: &[&str]) -> Output {
    bus.command(user, "dbus-send")
        .args(["--system", "--print-reply=literal"])
        .args(["--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"])
        .arg(format!("org.freedesktop.DBus.{method}"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Asks polkit, as root, whether a live connection of `user` may enrol.
fn may_enrol(bus: &Bus, user: User) -> Result<bool, String> {
    let mut connection = bus
        .command(user, "gdbus")
        .args(["monitor", "--system", "--dest", "org.freedesktop.DBus"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let name = loop {
        if let Some(name) = connection_of(bus, user) {
            break name;
        }
        assert!(connection.try_wait().unwrap().is_none(), "gdbus has ended");
    };
    let subject = format!("('system-bus-name', {{'name': <'{name}'>}})");
    let output = bus
        .command(User::Root, "gdbus")
        .args(["call", "--system", "--dest", "org.freedesktop.PolicyKit1"])
        .args(["--object-path", "/org/freedesktop/PolicyKit1/Authority"])
        .args(["--method", "org.freedesktop.PolicyKit1.Authority.CheckAuthorization"])
        .args([&subject, ACTION, "{}", "0", ""])
        .output()
        .unwrap();
    connection.kill().unwrap();
    connection.wait().unwrap();
    match output.status.success() {
        true => Ok(output.stdout.starts_with(b"((true,")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn connection_of(bus: &Bus, user: User) -> Option<String> {
    let ask = |method, arguments: &[&str]| {
        String::from_utf8(ask_bus(bus, User::Root, method, arguments).stdout).unwrap()
    };
    let wanted = format!("uint32 {}", user.uid());
    ask("ListNames", &[])
        .split_whitespace()
        .filter(|name| name.starts_with(':'))
        .find(|name| ask("GetConnectionUnixUser", &[&format!("string:{name}")]).trim() == wanted)
        .map(str::to_owned)
}
