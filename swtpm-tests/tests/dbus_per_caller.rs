//! What a user sees on the bus is his own: two real users, and objects of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::task::JoinHandle;
use twinseal_agent::bus::{
    Interface, Object, Objects, Pending, Refusal, Request, Service, Session, Signals,
};
use twinseal_swtpm_tests::{Bus, User, is_child, rerun_command};
use zbus::{Connection, MessageStream, connection};

const NAME: &str = "org.twinseal.Test1";
const TOP: &str = "/org/twinseal/Test1";
const ONE: User = User::App(2001);
const OTHER: User = User::App(2002);

const POLICY: &str = r#"<busconfig>
<policy user="root"><allow own="org.twinseal.Test1"/></policy>
<policy context="default"><allow send_destination="org.twinseal.Test1"/></policy>
</busconfig>"#;

/// Every user has one object.
struct OneEach;

static THING: LazyLock<Interface<u32>> =
    LazyLock::new(|| {
        Interface::new("org.twinseal.Test1.Thing")
            .method("Owner", &[], &["uid"], |uid: Arc<u32>, (): ()| async move {
                Ok::<_, Refusal>((*uid,))
            })
            .signal::<(String,)>("Said", &["word"])
            .property("Uid", |uid: Arc<u32>| async move { Ok::<_, Refusal>(*uid) })
    });

fn path_of(user: User) -> String {
    format!("{TOP}/u{}/thing/1", user.uid())
}

impl Objects for OneEach {
    fn find<'a>(&'a self, request: &'a Request, path: &'a str) -> Pending<'a, Option<Object>> {
        let uid = request.session.uid;
        Box::pin(async move {
            match path {
                TOP => Some(Object::default()),
                _ => (path == format!("{TOP}/u{uid}/thing/1"))
                    .then(|| Object::default().with(&*THING, Arc::new(uid))),
            }
        })
    }

    fn paths<'a>(&'a self, session: &'a Session) -> Pending<'a, Vec<String>> {
        Box::pin(async { vec![TOP.to_owned(), format!("{TOP}/u{}/thing/1", session.uid)] })
    }

    fn left(&self, _: &Session) {}
}

/// A bus with the objects on it.
struct Served {
    bus: Bus,
    signals: Signals,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("org.twinseal.Test1.conf");
        std::fs::write(&policy, POLICY).unwrap();
        let bus = Bus::builder().bus_policy(policy).start();
        let connection = connect(&bus).await;
        let mut signals = None;
        let service = Service::start(connection, NAME, TOP, |given| {
            signals = Some(given);
            Arc::new(OneEach)
        });
        let serving = tokio::spawn(service.await.unwrap().run());
        Self { bus, signals: signals.unwrap(), serving }
    }

    /// What `gdbus call` prints for `user`, or how it fails.
    async fn call(
        &self,
        user: User,
        path: &str,
        method: &str,
        rest: &[&str],
    ) -> Result<String, String> {
        let mut command = self.bus.command(user, "gdbus");
        command.args(["call", "--system", "--dest", NAME, "--object-path", path]);
        command.args(["--method", method]).args(rest);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn connect(bus: &Bus) -> Connection {
    connection::Builder::address(bus.address().as_str()).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_what_is_the_callers() {
    let served = Served::start().await;
    let introspect = async |user, path: &str| {
        served.call(user, path, "org.freedesktop.DBus.Introspectable.Introspect", &[]).await
    };
    for (user, other) in [(ONE, OTHER), (OTHER, ONE), (User::Root, ONE)] {
        for folder in ["/", "/org", "/org/twinseal"] {
            let xml = introspect(user, folder).await.unwrap();
            assert_eq!(xml.matches("<node name=").count(), 1, "{folder}: {xml}");
        }
        let xml = introspect(user, TOP).await.unwrap();
        assert!(xml.contains(&format!("<node name=\"u{}\"/>", user.uid())), "{xml}");
        assert!(!xml.contains(&format!("u{}", other.uid())), "{xml}");
        let xml = introspect(user, &path_of(user)).await.unwrap();
        assert!(xml.contains("org.twinseal.Test1.Thing"), "{xml}");
        for hidden in [path_of(other), format!("{TOP}/u{}", other.uid())] {
            let refusal = introspect(user, &hidden).await.unwrap_err();
            assert!(refusal.contains("UnknownObject"), "{refusal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_manager_lists_what_is_the_callers() {
    let served = Served::start().await;
    let method = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
    for (user, other) in [(ONE, OTHER), (OTHER, ONE)] {
        let listed = served.call(user, TOP, method, &[]).await.unwrap();
        let uid = user.uid();
        assert_eq!(
            listed.trim(),
            format!(
                "({{objectpath '{}': {{'org.twinseal.Test1.Thing': {{'Uid': <uint32 {uid}>}}}}}},)",
                path_of(user)
            )
        );
        assert!(!listed.contains(&other.uid().to_string()));
        // It stands at the top and nowhere else.
        let elsewhere = served.call(user, &path_of(user), method, &[]).await.unwrap_err();
        assert!(elsewhere.contains("UnknownInterface"), "{elsewhere}");
    }
}

/// Methods and properties of somebody else's object fail exactly as if nobody had it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_does_not_exist() {
    let served = Served::start().await;
    let properties = "org.freedesktop.DBus.Properties";
    let get = format!("{properties}.Get");
    let set = format!("{properties}.Set");
    let get_all = format!("{properties}.GetAll");
    let thing = "org.twinseal.Test1.Thing";
    let calls: [(&str, &[&str], &str); 4] = [
        ("org.twinseal.Test1.Thing.Owner", &[], "(uint32 2001,)"),
        (&get, &[thing, "Uid"], "(<uint32 2001>,)"),
        (&get_all, &[thing], "({'Uid': <uint32 2001>},)"),
        ("org.freedesktop.DBus.Peer.Ping", &[], "()"),
    ];
    let nobodys = path_of(ONE).replace("/1", "/9");
    for (method, rest, answer) in calls {
        let own = served.call(ONE, &path_of(ONE), method, rest).await.unwrap();
        assert_eq!(own.trim(), answer);
        for user in [OTHER, User::Root] {
            let refusal = served.call(user, &path_of(ONE), method, rest).await.unwrap_err();
            assert!(refusal.contains("UnknownObject"), "{refusal}");
            let same = served.call(user, &nobodys, method, rest).await.unwrap_err();
            assert_eq!(refusal, same);
        }
    }
    let value: &[&str] = &[thing, "Uid", "<uint32 0>"];
    let own = served.call(ONE, &path_of(ONE), &set, value).await.unwrap_err();
    assert!(own.contains("PropertyReadOnly"), "{own}");
    let others = served.call(OTHER, &path_of(ONE), &set, value).await.unwrap_err();
    assert!(others.contains("UnknownObject"), "{others}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_its_user_alone() {
    if is_child() {
        return hear_signals().await;
    }
    let served = Served::start().await;
    let mut listeners = [ONE, OTHER].map(|user| {
        let test = "a_signal_reaches_its_user_alone";
        let mut command = rerun_command(test, |program| served.bus.command(user, program));
        (user, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    });
    let say = async |user: User, word: &str| {
        let path = path_of(user);
        let interface = "org.twinseal.Test1.Thing";
        served.signals.to_user(user.uid(), &path, interface, "Said", &(word,)).await;
    };
    // Who has not called yet is not known; both say when they are there.
    while served.signals.listeners(ONE.uid()) + served.signals.listeners(OTHER.uid()) < 2 {
        for (_, child) in &mut listeners {
            if child.try_wait().unwrap().is_some() {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("a listener has ended: {said}");
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    say(ONE, "for one").await;
    say(OTHER, "for the other").await;
    say(OTHER, "end").await;
    say(ONE, "end").await;
    let [one, other] = listeners.map(|(_, child)| heard(child));
    assert_eq!(one, ["for one", "end"]);
    assert_eq!(other, ["for the other", "end"]);
    // Who has left is forgotten.
    while served.signals.listeners(ONE.uid()) + served.signals.listeners(OTHER.uid()) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As another user: prints every word that is said, whoever it is said to, until the end.
async fn hear_signals() {
    let connection = Connection::system().await.unwrap();
    let mut messages = MessageStream::from(&connection);
    // It asks for every signal that there is; more than that the bus itself refuses.
    let bus = zbus::fdo::DBusProxy::new(&connection).await.unwrap();
    bus.add_match_rule("type='signal'".try_into().unwrap()).await.unwrap();
    let eavesdrop = "type='signal',eavesdrop='true'".try_into().unwrap();
    assert!(bus.add_match_rule(eavesdrop).await.is_err());
    let interface = Some("org.freedesktop.DBus.Peer");
    connection.call_method(Some(NAME), TOP, interface, "Ping", &()).await.unwrap();
    while let Some(Ok(message)) = messages.next().await {
        if message.header().member().is_some_and(|member| member == "Said") {
            let (word,): (String,) = message.body().deserialize().unwrap();
            println!("heard:{word}");
            if word == "end" {
                return;
            }
        }
    }
    panic!("the bus has gone");
}

fn heard(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let words = printed.lines().filter_map(|line| line.split_once("heard:"));
    words.map(|(_, word)| word.to_owned()).collect()
}
