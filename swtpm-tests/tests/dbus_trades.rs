//! Two users who trade for the same service on one device: neither sees, uses, closes or hears of
//! the other's trades.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use twinseal_client::Agent1Proxy;
use twinseal_swtpm_tests::{Api, Device, User, World, is_child, rerun_command};
use zbus::{Connection, MessageStream};

const TILL: &str = "com.example.till";
const ONE: User = User::App(2001);
const OTHER: User = User::App(2002);

fn enrolled(world: &World) -> Device {
    world.enrolled(Device::builder().service(TILL, &[ONE, OTHER]), &[("holder", "Bakery")])
}

fn twinseal(device: &Device, user: User, arguments: &[&str]) -> Value {
    let all = [&["--json"], arguments].concat();
    let output = device.run(user, "twinseal", &all);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn open(device: &Device, user: User) -> String {
    let opened = twinseal(device, user, &["trade", "open", TILL]);
    opened["trade"].as_str().unwrap().to_owned()
}

fn path_of(user: User, trade: &str) -> String {
    format!("/u{}/trade/{trade}", user.uid())
}

#[test]
fn what_another_trades_does_not_exist() {
    let world = World::start();
    let device = enrolled(&world);
    let trade = open(&device, ONE);
    let (path, nobodys) = (path_of(ONE, &trade), path_of(ONE, &"00".repeat(16)));
    let methods: [(&str, &[&str]); 7] = [
        ("Trade.Send", &["[byte 0x68]", "{}"]),
        ("Trade.Receive", &["0", "0", "{}"]),
        ("Trade.Seal", &["[byte 0x68]", "{}"]),
        ("Trade.Open", &["[byte 0x68]", "{}"]),
        ("Trade.Close", &["{}"]),
        ("Trade.Receipt", &["{}"]),
        ("org.freedesktop.DBus.Properties.GetAll", &["org.twinseal.Agent1.Trade"]),
    ];
    for (method, arguments) in methods {
        for user in [OTHER, User::Root, User::Operator] {
            let refusal = device.call(user, &path, method, arguments).unwrap_err();
            assert_eq!(refusal.name, "org.freedesktop.DBus.Error.UnknownObject", "{method}");
            // Not even the text tells it from a trade that nobody has.
            let same = device.call(user, &nobodys, method, arguments).unwrap_err();
            assert_eq!((refusal.name, refusal.text), (same.name, same.text));
        }
    }
    let listed = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
    let introspected = "org.freedesktop.DBus.Introspectable.Introspect";
    for method in [listed, introspected] {
        assert!(device.call(ONE, "", method, &[]).unwrap().contains("u2001"));
        assert!(!device.call(OTHER, "", method, &[]).unwrap().contains("u2001"));
    }
    // What was tried has changed nothing: the opening message alone is sealed.
    assert_eq!(device.property(ONE, &path, ".Trade", "State"), Ok("Open".to_owned()));
    assert_eq!(device.property(ONE, &path, ".Trade", "Sent"), Ok("uint32 1".to_owned()));
}

#[test]
fn nobody_hears_of_anothers_trade() {
    let test = "nobody_hears_of_anothers_trade";
    if is_child() {
        return hear_until_closed();
    }
    let world = World::start();
    let device = enrolled(&world);
    let api = world.server().api(&["devices:read", "trades:read", "trades:write"]);
    let listeners = [ONE, OTHER].map(|user| {
        let mut command = rerun_command(test, |program| device.bus().command(user, program));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let [one, other] = listeners.map(Listener::wait_until_there);
    let trades = [ONE, OTHER].map(|user| open(&device, user));
    let [mut heard_by_one, mut heard_by_other] =
        [(ONE, one), (OTHER, other)].map(|(user, listener)| {
            let trade = &trades[usize::from(user == OTHER)];
            say_and_close(&api, &device, user, trade);
            listener.heard()
        });
    for (user, trade, heard) in
        [(ONE, &trades[0], &mut heard_by_one), (OTHER, &trades[1], &mut heard_by_other)]
    {
        // The receipt, or a message that comes while another is told of, may be told of, too.
        heard.dedup();
        let path = format!("/org/twinseal/Agent1{}", path_of(user, trade));
        assert_eq!(*heard, [format!("Message {path}"), format!("Closed {path}")]);
    }
}

/// The server says something in the trade, and both sides close it.
fn say_and_close(api: &Api, device: &Device, user: User, trade: &str) {
    let devices = api.get("/api/v1/devices").ok();
    let id = devices["devices"][0]["device"].as_str().unwrap();
    let path = format!("/api/v1/devices/{id}/trades/{trade}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while api.get(&path).status != 200 {
        assert!(Instant::now() < deadline, "the server has not heard of the trade");
    }
    api.post(&format!("{path}/messages"), &json!({ "payload": "aGk=" })).ok();
    let received = twinseal(device, user, &["trade", "receive", trade]);
    assert_eq!(received["messages"][0]["text"], "hi");
    api.post(&format!("{path}/close"), &json!({})).ok();
    twinseal(device, user, &["trade", "close", trade]);
}

/// A child that prints what it hears.
struct Listener(Child, Lines<BufReader<ChildStdout>>);

impl Listener {
    fn wait_until_there(mut child: Child) -> Self {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("there")), "{child:?}");
        Self(child, lines)
    }

    fn heard(mut self) -> Vec<String> {
        let lines = self.1.map(Result::unwrap);
        let heard =
            lines.filter_map(|line| Some(line.split_once("heard: ")?.1.to_owned())).collect();
        assert!(self.0.wait().unwrap().success());
        heard
    }
}

/// As a user who wants to hear of everything: prints it until a trade of his own is closed.
#[tokio::main]
async fn hear_until_closed() {
    let connection = Connection::system().await.unwrap();
    let mut messages = MessageStream::from(&connection);
    let bus = zbus::fdo::DBusProxy::new(&connection).await.unwrap();
    bus.add_match_rule("type='signal'".try_into().unwrap()).await.unwrap();
    Agent1Proxy::new(&connection).await.unwrap().state().await.unwrap();
    println!("there");
    while let Some(Ok(message)) = messages.next().await {
        let header = message.header();
        let (Some(interface), Some(member), Some(path)) =
            (header.interface(), header.member(), header.path())
        else {
            continue;
        };
        if interface.starts_with("org.twinseal.")
            && header.message_type() == zbus::message::Type::Signal
        {
            println!("heard: {member} {path}");
            if member == "Closed" {
                return;
            }
        }
    }
    panic!("the bus has gone");
}

#[test]
fn a_listener_who_leaves_makes_room() {
    let world = World::start();
    let device = enrolled(&world);
    let mut listening = device.command(ONE, "twinseal");
    let mut listening =
        listening.args(["trade", "listen", TILL]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(listening.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "Listening for com.example.till");
    let listen = || device.call(OTHER, "", "Listen", &[TILL, "{}"]).map_err(|refusal| refusal.name);
    assert_eq!(listen(), Err("org.twinseal.Error.Busy".to_owned()));
    listening.kill().unwrap();
    listening.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while listen() != Ok("()".to_owned()) {
        assert!(Instant::now() < deadline, "it is still taken");
    }
}
