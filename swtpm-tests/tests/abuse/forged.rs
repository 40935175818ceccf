//! Callers that say they are somebody else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use futures_util::StreamExt;
use twinseal_swtpm_tests::{User, is_child};
use zbus::fdo::DBusProxy;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use crate::guest::{NAME, ROOT, call_with};
use crate::stage::{ABUSER, STRANGER, Stage};

const COURIER: &str = "org.twinseal.Agent1.Courier";
const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// Whoever a message says that it is from, its sender is who the bus knows.
#[tokio::test]
async fn a_sender_that_a_message_claims_counts_for_nothing() {
    if is_child() {
        return claim_to_be_everybody().await;
    }
    let stage = Stage::set();
    let managed = format!("{MANAGER}.GetManagedObjects");
    let own = stage.device.call(ABUSER, "", &managed, &[]).unwrap();
    assert!(own.contains(&stage.trade), "{own}");
    let test = "forged::a_sender_that_a_message_claims_counts_for_nothing";
    stage.guest(STRANGER, test, &[]).end();
}

async fn claim_to_be_everybody() {
    let bus = Connection::system().await.unwrap();
    let daemon = DBusProxy::new(&bus).await.unwrap();
    let own = bus.unique_name().unwrap().to_string();
    let names = daemon.list_names().await.unwrap().into_iter().map(|name| name.to_string());
    let others: Vec<_> = names.filter(|name| name.starts_with(':') && *name != own).collect();
    // Agent, courier and polkit at least.
    assert!(others.len() >= 3, "{others:?}");
    for other in others {
        let forged = |interface: &'static str, member: &'static str| {
            let message = Message::method_call(ROOT, member).destination(NAME);
            message.interface(interface).sender(other.clone())
        };
        let managed = forged(MANAGER, "GetManagedObjects").build(&()).unwrap();
        let managed = reply(&bus, &managed).await;
        assert_eq!(managed.message_type(), Type::MethodReturn);
        // A dictionary without entries: its length, and the padding before the first.
        assert_eq!(managed.body().data().bytes(), &[0; 8], "{managed:?}");
        let options = std::collections::HashMap::<String, zbus::Variant<'static>>::new();
        let next = forged(COURIER, "Next").build(&(0_u32, options)).unwrap();
        let next = reply(&bus, &next).await;
        let denied = "org.freedesktop.DBus.Error.AccessDenied";
        assert_eq!(next.header().error_name().unwrap().as_str(), denied);
    }
}

/// Sends a call as it is, and gives what comes back to it.
async fn reply(bus: &Connection, call: &Message) -> Message {
    let mut messages = MessageStream::from(bus);
    bus.send(call).await.unwrap();
    let serial = call.primary_header().serial_num();
    loop {
        let message = messages.next().await.unwrap().unwrap();
        if message.header().reply_serial() == Some(serial) {
            return message;
        }
    }
}

/// Only the bus says that a connection has left: whoever else says so ends nobody's call.
#[tokio::test]
async fn a_departure_that_another_tells_of_ends_no_call() {
    if is_child() {
        return match std::env::var("LEAVING") {
            Ok(leaving) => tell_of_departure(&leaving).await,
            Err(_) => wait_for_messages().await,
        };
    }
    let stage = Stage::set();
    let test = "forged::a_departure_that_another_tells_of_ends_no_call";
    let mut waiting = stage.guest(ABUSER, test, &[]);
    waiting.wait_for("asked");
    let said = waiting.said();
    let name = said.split("name=").nth(1).unwrap().split_whitespace().next().unwrap();
    stage.guest(STRANGER, test, &[("LEAVING", name)]).end();
    assert!(waiting.runs(), "{}", waiting.said());
    assert!(waiting.end().contains("answered"));
    assert!(!stage.device.agent_log().contains("a caller left before his answer"));
}

async fn wait_for_messages() {
    let bus = Connection::system().await.unwrap();
    println!("name={} ", bus.unique_name().unwrap());
    let trade = std::env::var("TRADE").unwrap();
    let options = std::collections::HashMap::<String, zbus::Variant<'static>>::new();
    let arguments = vec![0_u64.into(), 8000_u32.into(), options.into()];
    let receive = "org.twinseal.Agent1.Trade.Receive";
    let receive = call_with(&bus, &trade, receive, arguments);
    let mut receive = std::pin::pin!(receive);
    tokio::select! {
        biased;
        early = &mut receive => panic!("{early:?}"),
        () = tokio::time::sleep(std::time::Duration::from_millis(300)) => println!("asked"),
    }
    receive.await.unwrap();
    println!("answered");
}

async fn tell_of_departure(leaving: &str) {
    let bus = Connection::system().await.unwrap();
    let daemon = DBusProxy::new(&bus).await.unwrap();
    let agent = daemon.get_name_owner(NAME.try_into().unwrap()).await.unwrap();
    let interface = "org.freedesktop.DBus";
    for sender in [None, Some(interface)] {
        let signal = Message::signal("/org/freedesktop/DBus", interface, "NameOwnerChanged");
        let signal = signal.destination(agent.as_str());
        let signal = match sender {
            Some(sender) => signal.sender(sender),
            None => signal,
        };
        bus.send(&signal.build(&(leaving, leaving, "")).unwrap()).await.unwrap();
    }
    // Behind those on the same connection: when this is answered, they have arrived.
    let ping = "org.freedesktop.DBus.Peer.Ping";
    call_with(&bus, ROOT, ping, Vec::new()).await.unwrap();
}

/// A connection's user is the one that its process has, whatever it says when it connects.
#[test]
fn a_connection_cannot_be_made_as_another_user() {
    if is_child() {
        return claim_uids();
    }
    let stage = Stage::set();
    let test = "forged::a_connection_cannot_be_made_as_another_user";
    stage.guest(STRANGER, test, &[]).end();
}

/// The first lines of a connection (D-Bus specification, "Authentication Protocol").
fn claim_uids() {
    let own = STRANGER.uid();
    let others = [User::Root, User::Agent, User::Courier, ABUSER].map(User::uid);
    for uid in others.into_iter().chain([u32::MAX, own]) {
        let said = authenticate(&uid.to_string());
        let expected = if uid == own { "OK " } else { "REJECTED" };
        assert!(said.starts_with(expected), "{uid}: {said}");
    }
    assert!(authenticate("-1").starts_with("REJECTED"));
}

fn authenticate(uid: &str) -> String {
    let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap();
    let mut bus = UnixStream::connect(address.strip_prefix("unix:path=").unwrap()).unwrap();
    let digits: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
    write!(bus, "\0AUTH EXTERNAL {digits}\r\n").unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\n") && bus.read(&mut byte).unwrap() == 1 {
        said.push(byte[0]);
    }
    String::from_utf8(said).unwrap()
}
