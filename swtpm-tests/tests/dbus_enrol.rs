//! Enrolment begins only when polkit says a clear yes to a caller who is still there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::fs;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use twinseal_client::Options;
use twinseal_swtpm_tests::{Device, User, is_child, rerun};
use zbus::{Connection, Message};

const APP: User = User::App(2001);

fn link() -> String {
    format!("http://127.0.0.1:9/#server={}&least=1&code=abcd", "5a".repeat(32))
}

fn enrol(device: &Device, user: User) -> Output {
    let mut command = device.bus().command(user, "gdbus");
    command.args(["call", "--system", "--dest", "org.twinseal.Agent1"]);
    command.args([
        "--object-path",
        "/org/twinseal/Agent1",
        "--method",
        "org.twinseal.Agent1.Enrol",
    ]);
    command.args([&link(), "{'name': <'Till 7'>}", "{}"]).output().unwrap()
}

fn state(device: &Device) -> String {
    let output = device.run(APP, "twinseal", &["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["state"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("org.twinseal.Error.NotAllowed") && said.contains(why), "{said}");
}

#[track_caller]
fn assert_begun(output: &Output, user: User) {
    let said = String::from_utf8_lossy(&output.stdout);
    let job = format!("(objectpath '/org/twinseal/Agent1/u{}/job/1',)", user.uid());
    assert_eq!(said.trim(), job, "{output:?}");
}

#[test]
fn who_polkit_allows_may_enrol_and_nobody_else() {
    let device = Device::start();
    for user in [APP, User::Courier] {
        assert_refused(&enrol(&device, user), "an administrator has to allow this");
        assert_eq!(state(&device), "NotEnrolled");
    }
    assert_begun(&enrol(&device, User::Operator), User::Operator);
    assert_eq!(state(&device), "Enrolling");
}

#[test]
fn an_enrolment_is_a_job_of_who_began_it_alone() {
    let device = Device::start();
    assert_begun(&enrol(&device, User::Operator), User::Operator);
    let job = |of: User| format!("/u{}/job/1", of.uid());
    let own = device.property(User::Operator, &job(User::Operator), ".Job", "State");
    assert_eq!(own, Ok("Running".to_owned()));
    // Neither under the path of its owner nor under his own does anybody else find it.
    for path in [job(User::Operator), job(APP)] {
        let read = device.property(APP, &path, ".Job", "State").unwrap_err();
        assert_eq!(read.name, "org.freedesktop.DBus.Error.UnknownObject");
        let cancel = device.call(APP, &path, "Job.Cancel", &["@a{sv} {}"]).unwrap_err();
        assert_eq!(cancel.name, "org.freedesktop.DBus.Error.UnknownObject");
    }
    assert_eq!(state(&device), "Enrolling");
    device.call(User::Operator, &job(User::Operator), "Job.Cancel", &["@a{sv} {}"]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while state(&device) != "NotEnrolled" {
        assert!(Instant::now() < deadline, "{}", device.agent_log());
    }
}

#[test]
fn without_polkit_nobody_enrols() {
    let mut device = Device::start();
    device.bus_mut().stop_polkitd();
    for user in [User::Operator, User::Root, APP] {
        assert_refused(&enrol(&device, user), "polkit does not answer");
        assert_eq!(state(&device), "NotEnrolled");
    }
    device.bus_mut().start_polkitd();
    assert_begun(&enrol(&device, User::Operator), User::Operator);
}

#[test]
fn who_leaves_before_polkit_has_answered_does_not_enrol() {
    let test = "who_leaves_before_polkit_has_answered_does_not_enrol";
    if is_child() {
        return ask_and_leave();
    }
    let mut device = Device::start();
    slow_down_polkit(&mut device);
    rerun(test, |program| device.bus().command(User::Operator, program));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !device.agent_log().contains("a caller left before his answer") {
        assert!(Instant::now() < deadline, "{}", device.agent_log());
        thread::sleep(Duration::from_millis(10));
    }
    // polkit answers one after the other: now it has answered about him, too.
    assert_refused(&enrol(&device, APP), "an administrator has to allow this");
    assert_eq!(state(&device), "NotEnrolled");
    // Who stays enrols, however long polkit takes.
    assert_begun(&enrol(&device, User::Operator), User::Operator);
}

/// A rule before the others that takes its time.
fn slow_down_polkit(device: &mut Device) {
    device.bus_mut().stop_polkitd();
    let rule = "polkit.addRule(function(action, subject) { if (action.id == 'org.twinseal.enrol') \
                { polkit.log('thinking'); polkit.spawn(['sleep', '1']); } });";
    fs::write(device.bus().folder().join("rules.d/10-slow.rules"), rule).unwrap();
    device.bus_mut().start_polkitd();
}

/// As the operator: asks for an enrolment, and is gone while polkit thinks about it.
#[tokio::main]
async fn ask_and_leave() {
    let connection = Connection::system().await.unwrap();
    let info = HashMap::from([("name", zbus::Variant::from("Till 7"))]);
    let call = Message::method_call("/org/twinseal/Agent1", "Enrol")
        .destination("org.twinseal.Agent1")
        .interface("org.twinseal.Agent1")
        .build(&(link(), info, Options::new()))
        .unwrap();
    connection.send(&call).await.unwrap();
    let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap();
    let log = address.strip_prefix("unix:path=").unwrap().replace("/socket", "/polkitd.log");
    while !fs::read_to_string(&log).unwrap().contains("thinking") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    connection.close().await.unwrap();
}
