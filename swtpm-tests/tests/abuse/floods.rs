//! Users that ask without end. Whoever is honest is served meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::task::JoinSet;
use twinseal_swtpm_tests::{User, is_child};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use crate::guest::{NAME, ROOT, call};
use crate::stage::{ABUSER, OTHER_STRANGER, SERVICE, STRANGER, Stage};

/// Calls of one flood: all of them under way at once, where they wait.
const CALLS: usize = 10_000;
/// Of one connection. The bus itself lets none have more than 128.
const CALLS_EACH: usize = 100;
/// Connections that ask on and on for what is answered at once.
const ASKING: usize = 10;
/// Connections of each of two users.
const CONNECTIONS: usize = 150;
/// The flood goes on until there is a file of this name.
const STOP: &str = "STOP";
/// What the flood is of.
const KIND: &str = "KIND";

/// Calls that wait: a place each of the 256 that a user has, and the rest is refused.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_waiting_calls_keep_nobody_from_being_served() {
    let test = "floods::ten_thousand_waiting_calls_keep_nobody_from_being_served";
    let Some(tally) = flood(test, "Receive").await else { return };
    // Whoever is slow to refuse the last may have let others in behind the first 256.
    assert!(tally.answered >= 256 && tally.busy > CALLS / 2, "{tally:?}");
    assert_eq!((tally.answered + tally.busy, tally.refused), (CALLS, 0), "{tally:?}");
}

/// Calls that the chip has to work for.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_questions_for_the_chip_keep_nobody_from_being_served() {
    let test = "floods::ten_thousand_questions_for_the_chip_keep_nobody_from_being_served";
    let Some(tally) = flood(test, "Hardware").await else { return };
    assert!(tally.answered > 0, "{tally:?}");
}

/// Calls that polkit has to be asked about.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_enrolments_keep_nobody_from_being_served() {
    let test = "floods::ten_thousand_enrolments_keep_nobody_from_being_served";
    let Some(tally) = flood(test, "Enrol").await else { return };
    assert_eq!(tally.answered, 0, "{tally:?}");
    // One question to polkit at a time; an operator's own is not behind the others.
    assert!(tally.refused > 0 && tally.busy > CALLS / 2, "{tally:?}");
}

/// What became of the calls. Each has one outcome.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    /// Refused by the agent as too many of this user, or given up behind his own others.
    busy: usize,
    /// Not allowed.
    refused: usize,
}

/// Floods from another process while somebody honest works; `None` in that other process.
async fn flood(test: &str, kind: &str) -> Option<Tally> {
    if is_child() {
        let path = std::env::var("TRADE").unwrap();
        flood_until_stopped(&std::env::var(KIND).unwrap(), &path).await;
        return None;
    }
    let stage = Stage::set();
    let alone = stage.honest_work();
    let stop = stage.device.bus().folder().join("stop");
    let variables = [(STOP, stop.to_str().unwrap()), (KIND, kind)];
    let user = if kind == "Receive" { ABUSER } else { STRANGER };
    let mut guest = stage.guest(user, test, &variables);
    guest.wait_for("sent");
    let mut meanwhile = stage.honest_work();
    if kind == "Enrol" {
        let begun = Instant::now();
        let arguments = ["no link", "@a{sv} {}", "@a{sv} {}"];
        let refused = stage.device.call(User::Operator, "", "Enrol", &arguments).unwrap_err();
        assert_eq!(refused.name, "org.twinseal.Error.InvalidArgument", "{refused:?}");
        meanwhile = meanwhile.max(begun.elapsed());
    }
    // The flood was there before the honest work began, and is there after it.
    assert!(guest.runs(), "{}", guest.said());
    let is_over = guest.said().contains("drained");
    std::fs::write(&stop, "").unwrap();
    let said = guest.end();
    assert!(!is_over, "the honest work was not done before the flood: {said}");
    println!("{kind}: honest work took {alone:?} alone, {meanwhile:?} meanwhile; {said}");
    // And whoever flooded is served again.
    assert_eq!(stage.device.property(user, "", "", "State").unwrap(), "Active");
    Some(Tally::read(&said))
}

/// Has as many calls under way as the bus lets it, until it is told to stop.
async fn flood_until_stopped(kind: &str, trade: &str) {
    let sent = Arc::new(AtomicUsize::new(0));
    let mut flooding = JoinSet::new();
    let waits = kind == "Receive";
    for _ in 0..if waits { CALLS / CALLS_EACH } else { ASKING } {
        let bus = Connection::system().await.unwrap();
        let call = flooding_call(kind, trade);
        flooding.spawn(flood_connection(bus, call, waits, Arc::clone(&sent)));
    }
    let mut tally = Tally::default();
    for of_one in flooding.join_all().await {
        tally.add(&of_one);
    }
    println!("drained\n{}", tally.line());
}

async fn flood_connection(
    bus: Connection,
    call: impl Fn() -> Message,
    waits: bool,
    sent: Arc<AtomicUsize>,
) -> Tally {
    let stop = std::env::var(STOP).unwrap();
    let (mut tally, mut under_way) = (Tally::default(), 0);
    let mut messages = MessageStream::from(&bus);
    let is_over = || waits || Path::new(&stop).exists();
    let send = async || {
        bus.send(&call()).await.unwrap();
        if sent.fetch_add(1, Ordering::SeqCst) + 1 == CALLS {
            println!("sent");
        }
    };
    for _ in 0..CALLS_EACH {
        send().await;
        under_way += 1;
    }
    while under_way > 0 {
        let message = messages.next().await.unwrap().unwrap();
        if !tally.note(&message) {
            continue;
        }
        under_way -= 1;
        // Calls that do not wait are over soon: another takes the place of each.
        if !is_over() {
            send().await;
            under_way += 1;
        }
    }
    tally
}

/// What the flood is made of. Every message has a number of its own.
fn flooding_call(kind: &str, trade: &str) -> impl Fn() -> Message + Send + 'static {
    let (kind, trade) = (kind.to_owned(), trade.to_owned());
    let options = std::collections::HashMap::<String, zbus::Variant<'static>>::new;
    let to = |path: &str, interface: &str, member: &str| {
        let call = Message::method_call(path.to_owned(), member.to_owned());
        call.destination(NAME).interface(interface.to_owned())
    };
    move || {
        match kind.as_str() {
            "Receive" => {
                let receive = to(&trade, "org.twinseal.Agent1.Trade", "Receive");
                receive.build(&(0_u64, 15_000_u32, options()))
            }
            "Hardware" => {
                to(ROOT, "org.freedesktop.DBus.Properties", "Get").build(&(NAME, "Hardware"))
            }
            _ => to(ROOT, NAME, "Enrol").build(&(SERVICE, options(), options())),
        }
        .unwrap()
    }
}

impl Tally {
    /// Whether the message is the outcome of a call.
    fn note(&mut self, message: &Message) -> bool {
        let header = message.header();
        let counted = match (message.message_type(), header.error_name().map(|name| name.as_str()))
        {
            (Type::MethodReturn, _) => &mut self.answered,
            (Type::Error, Some("org.twinseal.Error.Busy" | "org.twinseal.Error.Timeout")) => {
                &mut self.busy
            }
            (Type::Error, Some("org.twinseal.Error.NotAllowed")) => &mut self.refused,
            (Type::Error, other) => panic!("{other:?}"),
            _ => return false,
        };
        *counted += 1;
        true
    }

    fn add(&mut self, other: &Tally) {
        self.answered += other.answered;
        self.busy += other.busy;
        self.refused += other.refused;
    }

    fn line(&self) -> String {
        format!("tally {} {} {}", self.answered, self.busy, self.refused)
    }

    fn read(said: &str) -> Tally {
        let line = said.lines().find_map(|line| line.strip_prefix("tally ")).unwrap();
        let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [answered, busy, refused] = numbers.try_into().unwrap();
        Tally { answered, busy, refused }
    }
}

/// Two users that hold connections, each of which has called.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_connections_keep_nobody_from_being_served() {
    if is_child() {
        return hold_connections().await;
    }
    let stage = Stage::set();
    let before = stage.descriptors();
    let alone = stage.honest_work();
    let test = "floods::three_hundred_connections_keep_nobody_from_being_served";
    let stop = stage.device.bus().folder().join("stop");
    let variables = [(STOP, stop.to_str().unwrap())];
    let mut guests = [STRANGER, OTHER_STRANGER].map(|user| stage.guest(user, test, &variables));
    guests.iter_mut().for_each(|guest| guest.wait_for("connected"));
    let meanwhile = stage.honest_work();
    println!("honest work took {alone:?} alone, {meanwhile:?} with 300 connections");
    guests.iter_mut().for_each(|guest| assert!(guest.runs(), "{}", guest.said()));
    std::fs::write(&stop, "").unwrap();
    for guest in guests {
        guest.end();
    }
    stage.honest_work();
    assert!(stage.descriptors() <= before, "the agent has one connection, however many call it");
}

async fn hold_connections() {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let bus = Connection::system().await.unwrap();
        call(&bus, ROOT, "org.freedesktop.DBus.Peer.Ping", "").await.unwrap();
        held.push(bus);
    }
    println!("connected");
    let stop = std::env::var(STOP).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !Path::new(&stop).exists() {
        assert!(Instant::now() < deadline, "nobody says stop");
        for bus in &held {
            call(bus, ROOT, "org.freedesktop.DBus.Peer.Ping", "").await.unwrap();
        }
    }
}
