//! Arguments that make no sense: descriptors nobody asked for, other types, absurd lengths.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use twinseal_swtpm_tests::is_child;
use zbus::{Connection, Fd, Variant};

use crate::guest::{NAME, ROOT, call_with};
use crate::stage::{ABUSER, SERVICE, STRANGER, Stage};

const INVALID: &str = "org.twinseal.Error.InvalidArgument";
const TOO_LARGE: &str = "org.twinseal.Error.TooLarge";
const NOT_ALLOWED: &str = "org.twinseal.Error.NotAllowed";
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Each call is refused by its name, the agent goes on, and holds nothing of it.
#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_by_name() {
    if is_child() {
        call_with_descriptors().await;
        call_with_other_types().await;
        return call_with_absurd_lengths().await;
    }
    let stage = Stage::set();
    let before = stage.descriptors();
    let test = "junk::arguments_that_make_no_sense_are_refused_by_name";
    stage.guest(ABUSER, test, &[]).end();
    stage.honest_work();
    assert!(stage.descriptors() <= before, "{} files before, now more", before);
    assert!(!stage.device.agent_log().contains("panicked"), "{}", stage.device.agent_log());
}

fn none() -> Variant<'static> {
    HashMap::<String, Variant<'static>>::new().into()
}

fn trade() -> String {
    std::env::var("TRADE").unwrap()
}

/// As many as a message may have, where none are wanted.
async fn call_with_descriptors() {
    let bus = Connection::system().await.unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let send = "org.twinseal.Agent1.Trade.Send";
    for _ in 0..10 {
        for count in [1, 16] {
            let sent = (0..count).map(|_| Fd::from(&null).into()).collect();
            let outcome = call_with(&bus, &trade(), send, sent).await;
            assert_eq!(outcome.unwrap_err(), INVALID);
        }
        let hidden = HashMap::from([("content_type".to_owned(), Variant::from(Fd::from(&null)))]);
        let arguments = vec![Vec::<u8>::new().into(), hidden.into()];
        let outcome = call_with(&bus, &trade(), send, arguments).await;
        assert_eq!(outcome.unwrap_err(), INVALID);
    }
}

async fn call_with_other_types() {
    let bus = Connection::system().await.unwrap();
    let agent = |method: &str| format!("{NAME}.{method}");
    let trade = trade();
    let on_trade = |method: &str| format!("{NAME}.Trade.{method}");
    let cases: Vec<(&str, String, Vec<Variant<'_>>, &str)> = vec![
        (ROOT, agent("OpenTrade"), vec![], INVALID),
        (ROOT, agent("OpenTrade"), vec![SERVICE.into()], INVALID),
        (ROOT, agent("OpenTrade"), vec![SERVICE.into(), none(), none()], INVALID),
        (ROOT, agent("OpenTrade"), vec![7_u64.into(), none()], INVALID),
        (
            ROOT,
            agent("OpenTrade"),
            vec![Variant::Variant(Box::new(SERVICE.into())), none()],
            INVALID,
        ),
        (ROOT, agent("OpenTrade"), vec!["".into(), none()], INVALID),
        (ROOT, agent("OpenTrade"), vec!["com.example.till\r\nforged".into(), none()], INVALID),
        (ROOT, agent("Enrol"), vec!["x".into(), vec!["no", "map"].into(), none()], INVALID),
        (ROOT, agent("Listen"), vec!["\u{1b}[31mred".into(), none()], INVALID),
        (&trade, on_trade("Send"), vec!["text".into(), none()], INVALID),
        (&trade, on_trade("Receive"), vec![(-1_i64).into(), 0_u32.into(), none()], INVALID),
        (
            &trade,
            on_trade("Send"),
            vec![Vec::<u8>::new().into(), options("colour", "red")],
            INVALID,
        ),
        (&trade, on_trade("Sing"), vec![none()], UNKNOWN_METHOD),
    ];
    for (path, method, arguments, error) in cases {
        let shown = format!("{method} {arguments:?}");
        let outcome = call_with(&bus, path, &method, arguments).await;
        assert_eq!(outcome.unwrap_err(), error, "{shown}");
    }
    // After all of that, what is right is done.
    let arguments = vec![b"right".to_vec().into(), none()];
    call_with(&bus, &trade, &on_trade("Send"), arguments).await.unwrap();
}

fn options(name: &str, value: &str) -> Variant<'static> {
    HashMap::from([(name.to_owned(), Variant::from(value.to_owned()))]).into()
}

async fn call_with_absurd_lengths() {
    let bus = Connection::system().await.unwrap();
    let trade = trade();
    let long = |len: usize| "x".repeat(len);
    let many: HashMap<String, Variant<'_>> =
        (0..20_000).map(|number| (number.to_string(), Variant::from("x"))).collect();
    let nested = (0..60).fold(Variant::from(0_u32), |inner, _| Variant::Variant(Box::new(inner)));
    let nested = HashMap::from([("outer".to_owned(), nested)]);
    let cases: Vec<(&str, &str, Vec<Variant<'_>>, &str)> = vec![
        (&trade, "Trade.Send", vec![vec![7_u8; 300 * KIB].into(), none()], TOO_LARGE),
        (&trade, "Trade.Seal", vec![vec![7_u8; 300 * KIB].into(), none()], TOO_LARGE),
        (&trade, "Trade.Open", vec![vec![0xd8_u8; 300 * KIB].into(), none()], TOO_LARGE),
        (&trade, "Trade.Inspect", vec![vec![0xff_u8; 300 * KIB].into(), none()], TOO_LARGE),
        (
            &trade,
            "Trade.Send",
            vec![vec![7_u8; 8].into(), options("content_type", &long(MIB))],
            INVALID,
        ),
        (ROOT, "OpenTrade", vec![long(30 * MIB).into(), none()], INVALID),
        (ROOT, "OpenTrade", vec![SERVICE.into(), many.clone().into()], INVALID),
        (ROOT, "OpenTrade", vec![SERVICE.into(), nested.into()], INVALID),
        (ROOT, "Exchange", vec![SERVICE.into(), vec![7_u8; 300 * KIB].into(), none()], TOO_LARGE),
        (ROOT, "Enrol", vec![long(30 * MIB).into(), none(), none()], NOT_ALLOWED),
        (ROOT, "Enrol", vec!["x".into(), many.into(), none()], NOT_ALLOWED),
    ];
    for (path, method, arguments, error) in cases {
        let method = format!("{NAME}.{method}");
        let outcome = call_with(&bus, path, &method, arguments).await;
        assert_eq!(outcome.unwrap_err(), error, "{method}");
    }
    let body = (&vec![7_u8; 4 * MIB][..], HashMap::<String, Variant<'_>>::new());
    let interface = Some("org.twinseal.Agent1.Trade");
    let outcome = bus.call_method(Some(NAME), trade.as_str(), interface, "Send", &body).await;
    let Err(zbus::Error::MethodError(name, ..)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(name.as_str(), TOO_LARGE);
}

/// Bytes that are no message end the connection that sent them, and nothing else.
#[test]
fn bytes_that_are_no_message_end_their_connection_alone() {
    if is_child() {
        return send_garbage();
    }
    let stage = Stage::set();
    let test = "junk::bytes_that_are_no_message_end_their_connection_alone";
    stage.guest(STRANGER, test, &[]).end();
    stage.honest_work();
}

fn send_garbage() {
    let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap();
    let path = address.strip_prefix("unix:path=").unwrap();
    let digits: String =
        STRANGER.uid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    // A header that says that 4 GiB follow, one of another version, one that is cut off, noise.
    let huge = [b'l', 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let version = [b'l', 1, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    for garbage in [&huge[..], &version, &[0xff; 4096], &[0; 4096]] {
        let mut bus = UnixStream::connect(path).unwrap();
        write!(bus, "\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").unwrap();
        let _ = bus.write_all(garbage);
        let mut rest = Vec::new();
        // The bus hangs up, in order or by a reset.
        let _ = bus.read_to_end(&mut rest);
        assert!(rest.starts_with(b"OK "), "{rest:?}");
    }
}
