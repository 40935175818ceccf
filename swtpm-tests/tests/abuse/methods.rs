//! Every method and property that there is, as a user who may do nothing: found by asking for
//! them, so that a new one cannot be forgotten, and with one outcome each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use twinseal_swtpm_tests::{User, is_child};
use zbus::Connection;

use crate::guest::{INTROSPECT, Member, NAME, ROOT, call, call_with, members, nodes};
use crate::stage::{ABUSER, STRANGER, Stage};

const GET: &str = "org.freedesktop.DBus.Properties.Get";
const SET: &str = "org.freedesktop.DBus.Properties.Set";
const ALLOWED: &str = "allowed";
const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
const UNKNOWN_INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
/// By the agent.
const NOT_ALLOWED: &str = "org.twinseal.Error.NotAllowed";
/// By the bus, before the agent has to.
const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// What a stranger's call of each method of the root ends with.
const METHODS: [(&str, &str); 17] = [
    ("org.freedesktop.DBus.Introspectable.Introspect", ALLOWED),
    ("org.freedesktop.DBus.ObjectManager.GetManagedObjects", ALLOWED),
    ("org.freedesktop.DBus.Peer.Ping", ALLOWED),
    // Of an interface that there is not; of those that there are, below.
    ("org.freedesktop.DBus.Properties.Get", UNKNOWN_INTERFACE),
    ("org.freedesktop.DBus.Properties.GetAll", UNKNOWN_INTERFACE),
    ("org.freedesktop.DBus.Properties.Set", UNKNOWN_INTERFACE),
    ("org.twinseal.Agent1.Courier.Answer", ACCESS_DENIED),
    ("org.twinseal.Agent1.Courier.Next", ACCESS_DENIED),
    ("org.twinseal.Agent1.CreateKey", NOT_ALLOWED),
    ("org.twinseal.Agent1.Enrol", NOT_ALLOWED),
    ("org.twinseal.Agent1.Exchange", NOT_ALLOWED),
    ("org.twinseal.Agent1.ImportKey", NOT_ALLOWED),
    ("org.twinseal.Agent1.Listen", NOT_ALLOWED),
    ("org.twinseal.Agent1.OpenTrade", NOT_ALLOWED),
    ("org.twinseal.Agent1.Random", ALLOWED),
    ("org.twinseal.Agent1.Recover", NOT_ALLOWED),
    ("org.twinseal.Agent1.Unlock", NOT_ALLOWED),
];

/// What his reading of each property of the root ends with.
const PROPERTIES: [(&str, &str); 13] = [
    ("org.twinseal.Agent1.Assurance", ALLOWED),
    ("org.twinseal.Agent1.Courier.Origin", NOT_ALLOWED),
    ("org.twinseal.Agent1.EkCertificate", NOT_ALLOWED),
    ("org.twinseal.Agent1.Hardware", ALLOWED),
    ("org.twinseal.Agent1.HardwareSerial", NOT_ALLOWED),
    ("org.twinseal.Agent1.HardwareTag", ALLOWED),
    ("org.twinseal.Agent1.LastContact", ALLOWED),
    ("org.twinseal.Agent1.MaxMessage", ALLOWED),
    ("org.twinseal.Agent1.Message", ALLOWED),
    ("org.twinseal.Agent1.Pending", ALLOWED),
    ("org.twinseal.Agent1.ServerId", ALLOWED),
    ("org.twinseal.Agent1.State", ALLOWED),
    ("org.twinseal.Agent1.Version", ALLOWED),
];

/// A trade's, a key's and a job's own methods and properties: none of them exists for a stranger. The
/// table is of names, so that whoever adds one comes by here.
const OF_OTHERS: [&str; 36] = [
    "org.twinseal.Agent1.Job.Cancel",
    "org.twinseal.Agent1.Job.Error",
    "org.twinseal.Agent1.Job.Progress",
    "org.twinseal.Agent1.Job.State",
    "org.twinseal.Agent1.Key.Agree",
    "org.twinseal.Agent1.Key.Algorithm",
    "org.twinseal.Agent1.Key.Attest",
    "org.twinseal.Agent1.Key.Certificate",
    "org.twinseal.Agent1.Key.Change",
    "org.twinseal.Agent1.Key.Created",
    "org.twinseal.Agent1.Key.Decrypt",
    "org.twinseal.Agent1.Key.Delete",
    "org.twinseal.Agent1.Key.Export",
    "org.twinseal.Agent1.Key.Group",
    "org.twinseal.Agent1.Key.Id",
    "org.twinseal.Agent1.Key.Label",
    "org.twinseal.Agent1.Key.Owner",
    "org.twinseal.Agent1.Key.PublicKey",
    "org.twinseal.Agent1.Key.Sign",
    "org.twinseal.Agent1.Key.Uses",
    "org.twinseal.Agent1.Trade.Accepted",
    "org.twinseal.Agent1.Trade.Close",
    "org.twinseal.Agent1.Trade.Id",
    "org.twinseal.Agent1.Trade.Inspect",
    "org.twinseal.Agent1.Trade.IsExchange",
    "org.twinseal.Agent1.Trade.IsOffered",
    "org.twinseal.Agent1.Trade.Open",
    "org.twinseal.Agent1.Trade.Outer",
    "org.twinseal.Agent1.Trade.Receipt",
    "org.twinseal.Agent1.Trade.Receive",
    "org.twinseal.Agent1.Trade.Received",
    "org.twinseal.Agent1.Trade.Seal",
    "org.twinseal.Agent1.Trade.Send",
    "org.twinseal.Agent1.Trade.Sent",
    "org.twinseal.Agent1.Trade.Service",
    "org.twinseal.Agent1.Trade.State",
];

/// A trade's, a key's and a job's, as their owners see them: `path`, then the introspection data.
const OTHERS_FILE: &str = "OTHERS";

#[tokio::test]
async fn every_method_and_property_has_one_outcome_for_who_may_do_nothing() {
    if is_child() {
        return stranger().await;
    }
    let stage = Stage::set();
    let arguments = ["till", "ecc-p256", "@a{sv} {}"];
    stage.device.call(ABUSER, "", "CreateKey", &arguments).unwrap();
    let mut others = String::new();
    for user in [ABUSER, User::Operator] {
        let listed = stage.device.call(user, "", MANAGED, &[]).unwrap();
        let quoted = listed.split('\'');
        let paths: Vec<&str> = quoted.filter(|text| text.starts_with(ROOT)).collect();
        assert_eq!(paths.len(), if user == ABUSER { 2 } else { 1 }, "{listed}");
        for path in paths {
            let xml = stage.device.call(user, path, INTROSPECT, &[]).unwrap();
            let _ = write!(others, "@{path}\n{}\n", xml.replace("\\n", "\n"));
        }
    }
    let file = stage.device.bus().folder().join("others");
    std::fs::write(&file, others).unwrap();
    let test = "methods::every_method_and_property_has_one_outcome_for_who_may_do_nothing";
    stage.guest(STRANGER, test, &[(OTHERS_FILE, file.to_str().unwrap())]).end();
}

const MANAGED: &str = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";

async fn stranger() {
    let bus = Connection::system().await.unwrap();
    let mut objects = Vec::new();
    let mut folders = vec!["/".to_owned()];
    while let Some(path) = folders.pop() {
        let xml: String =
            call(&bus, &path, INTROSPECT, "").await.unwrap().body().deserialize().unwrap();
        let below = nodes(&xml);
        folders.extend(below.iter().map(|name| format!("{}/{name}", path.trim_end_matches('/'))));
        if xml.contains(NAME) {
            objects.push((path, members(&xml)));
        }
    }
    assert_eq!(objects.len(), 1, "a stranger has no object of his own: {objects:?}");
    let (path, (methods, properties)) = objects.pop().unwrap();
    assert_eq!(path, ROOT);
    let mut outcomes = BTreeMap::new();
    for Member { name, signature } in methods {
        let outcome = call(&bus, &path, &name, &signature).await;
        outcomes.insert(name, outcome.map_or_else(|name| name, |_| ALLOWED.to_owned()));
    }
    assert_eq!(outcomes, table(&METHODS));
    outcomes.clear();
    for Member { name, .. } in properties {
        let read = property(&bus, &path, GET, &name).await;
        let written = property(&bus, &path, SET, &name).await;
        // Writing says no more than reading does.
        assert_eq!(written, if read == ALLOWED { READ_ONLY } else { &read }, "{name}");
        outcomes.insert(name, read);
    }
    assert_eq!(outcomes, table(&PROPERTIES));
    strangers_to(&bus).await;
    // The same without the name of an interface, where the bus's rules have nothing to go by.
    let bare = bus.call_method(Some(NAME), ROOT, None::<&str>, "Next", &(0_u32, options())).await;
    assert!(matches!(&bare, Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))), "{bare:?}");
}

/// The objects of others, by every name that their owners know.
async fn strangers_to(bus: &Connection) {
    let others = std::fs::read_to_string(std::env::var(OTHERS_FILE).unwrap()).unwrap();
    let mut seen = Vec::new();
    for object in others.split('@').skip(1) {
        let (path, xml) = object.split_once('\n').unwrap();
        let (methods, properties) = members(xml);
        assert!(methods.len() > 5, "{xml}");
        for Member { name, signature } in &methods {
            let outcome = call(bus, path, name, signature).await;
            assert_eq!(outcome.unwrap_err(), UNKNOWN_OBJECT, "{path} {name}");
        }
        for Member { name, .. } in &properties {
            assert_eq!(property(bus, path, GET, name).await, UNKNOWN_OBJECT, "{path} {name}");
            assert_eq!(property(bus, path, SET, name).await, UNKNOWN_OBJECT, "{path} {name}");
        }
        let names = methods.into_iter().chain(properties).map(|member| member.name);
        seen.extend(names.filter(|name| name.starts_with(NAME)));
    }
    seen.sort();
    assert_eq!(seen, OF_OTHERS);
}

async fn property(bus: &Connection, path: &str, how: &str, name: &str) -> String {
    let (interface, name) = name.rsplit_once('.').unwrap();
    let mut arguments = vec![interface.into(), name.into()];
    if how == SET {
        arguments.push(zbus::Variant::Variant(Box::new("x".into())));
    }
    let outcome = call_with(bus, path, how, arguments).await;
    outcome.map_or_else(|name| name, |_| ALLOWED.to_owned())
}

fn table(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
}

fn options() -> std::collections::HashMap<String, zbus::Variant<'static>> {
    std::collections::HashMap::new()
}
