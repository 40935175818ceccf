//! The courier between an agent and a server that come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use twinseal_agent::bus::{
    Interface, Object, Objects, Pending, Refusal, Request, Service, Session,
};
use twinseal_client::{BUS_NAME, COURIER_INTERFACE, ROOT_PATH};
use twinseal_swtpm_tests::{Bus, Daemon, User, program};
use zbus::connection::Builder;
use zbus::{Connection, OwnedVariant};

const POLICY: &str = r#"<busconfig><policy user="root"><allow own="org.twinseal.Agent1"/></policy>
<policy context="default"><allow send_destination="org.twinseal.Agent1"/></policy></busconfig>"#;

type Options = std::collections::HashMap<String, OwnedVariant>;
type Item = (u64, &'static str, Vec<u8>);

/// An agent with a list of items, and what was answered to each.
#[derive(Default)]
struct Agent {
    origin: Mutex<String>,
    items: Mutex<VecDeque<Item>>,
    under_way: Mutex<Vec<(String, Item)>>,
    answers: Mutex<Vec<(u64, String, Vec<u8>)>>,
}

/// The same for one connection.
struct View {
    agent: Arc<Agent>,
    connection: String,
}

static COURIER: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(COURIER_INTERFACE)
        .method("Next", &["wait_ms", "options"], &["id", "kind", "body"], View::next)
        .method("Answer", &["id", "outcome", "body", "options"], &[], View::answer)
        .property("Origin", |view: Arc<View>| async move {
            Ok::<_, Refusal>(view.agent.origin.lock().unwrap().clone())
        })
});

impl View {
    async fn next(self: Arc<Self>, (wait_ms, _): (u32, Options)) -> Result<Item, Refusal> {
        let deadline = Instant::now() + Duration::from_millis(wait_ms.into());
        while Instant::now() < deadline {
            if let Some(item) = self.agent.items.lock().unwrap().pop_front() {
                let mut under_way = self.agent.under_way.lock().unwrap();
                under_way.push((self.connection.clone(), item.clone()));
                return Ok(item);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok((0, "", Vec::new()))
    }

    async fn answer(
        self: Arc<Self>,
        (id, outcome, body, _): (u64, String, Vec<u8>, Options),
    ) -> Result<(), Refusal> {
        let mut under_way = self.agent.under_way.lock().unwrap();
        let place = under_way.iter().position(|(_, item)| item.0 == id).unwrap();
        let (_, item) = under_way.remove(place);
        if outcome == "unreachable" {
            // An agent offers it again.
            self.agent.items.lock().unwrap().push_front(item);
        }
        self.agent.answers.lock().unwrap().push((id, outcome, body));
        Ok(())
    }
}

/// The agent's objects, for the service.
struct Root(Arc<Agent>);

impl Objects for Root {
    fn find<'a>(&'a self, request: &'a Request, path: &'a str) -> Pending<'a, Option<Object>> {
        let connection = request.session.name.to_string();
        let view = Arc::new(View { agent: Arc::clone(&self.0), connection });
        Box::pin(
            async move { (path == ROOT_PATH).then(|| Object::default().with(&*COURIER, view)) },
        )
    }

    fn paths<'a>(&'a self, _: &'a Session) -> Pending<'a, Vec<String>> {
        Box::pin(async { vec![ROOT_PATH.to_owned()] })
    }

    fn left(&self, session: &Session) {
        let mut under_way = self.0.under_way.lock().unwrap();
        let his = |(connection, _): &(String, Item)| connection == session.name.as_str();
        let back: Vec<_> = under_way.extract_if(.., |entry| his(entry)).collect();
        self.0.items.lock().unwrap().extend(back.into_iter().map(|(_, item)| item));
    }
}

impl Agent {
    fn offer(&self, item: Item) {
        self.items.lock().unwrap().push_back(item);
    }

    /// Answers of that outcome, by id.
    fn answered(&self, outcome: &str) -> Vec<(u64, Vec<u8>)> {
        let answers = self.answers.lock().unwrap();
        let fits = answers.iter().filter(|(_, said, _)| said == outcome);
        fits.map(|(id, _, body)| (*id, body.clone())).collect()
    }
}

/// Puts the agent on the bus; it leaves with the connection.
async fn serve(bus: &Bus, agent: &Arc<Agent>) -> Connection {
    let connection = Builder::address(bus.address().as_str()).build().await.unwrap();
    let root = Arc::new(Root(Arc::clone(agent)));
    let service = Service::start(connection.clone(), BUS_NAME, ROOT_PATH, |_| root).await.unwrap();
    tokio::spawn(service.run());
    connection
}

fn bus() -> Bus {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("org.twinseal.Agent1.conf");
    std::fs::write(&policy, POLICY).unwrap();
    Bus::builder().bus_policy(policy).start()
}

fn start_courier(bus: &Bus) -> Daemon {
    let config = bus.folder().join("courier.toml");
    std::fs::write(&config, "backoff_max_ms = 300\n").unwrap();
    let mut command = bus.command(User::Courier, program("twinseal-courier"));
    command.arg("--config").arg(&config);
    Daemon::spawn("twinseal-courier", &command, bus.folder().join("courier.log"))
}

/// Answers every request with the route's last part and the body, after `hold`.
fn start_server(port: u16, hold: impl Fn(&str) -> Duration + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hold = Arc::new(hold);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, hold) = (stream.unwrap(), Arc::clone(&hold));
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut lines = Vec::new();
                while lines.last().is_none_or(|line: &String| line != "\r\n") {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    lines.push(line);
                }
                let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let kind = lines[0].split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
                thread::sleep(hold(kind));
                let answer = [kind.as_bytes(), b":", &body].concat();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/cose\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n",
                    answer.len()
                );
                // The courier may have been killed meanwhile.
                let _ = stream.write_all(&[head.as_bytes(), &answer].concat());
            });
        }
    });
    port
}

async fn until(what: &str, courier: &Daemon, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "not {what}:\n{}", courier.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_fetch_does_not_hold_messages() {
    let (bus, agent) = (bus(), Arc::new(Agent::default()));
    let port = start_server(0, |kind| match kind {
        "fetch" => Duration::from_secs(3),
        _ => Duration::ZERO,
    });
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{port}");
    let serving = serve(&bus, &agent).await;
    agent.offer((1, "fetch", b"down?".to_vec()));
    agent.offer((2, "message", b"up".to_vec()));
    agent.offer((3, "claim", b"me".to_vec()));
    let courier = start_courier(&bus);
    until("carried", &courier, || agent.answered("ok").len() == 3).await;
    let answered = agent.answered("ok");
    assert_eq!(answered[2], (1, b"fetch:down?".to_vec()), "the held one is the last");
    assert!(answered.contains(&(2, b"message:up".to_vec())));
    assert!(answered.contains(&(3, b"claim:me".to_vec())));
    drop(serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_may_come_late_and_go_and_come_back() {
    let (bus, agent) = (bus(), Arc::new(Agent::default()));
    let port = start_server(0, |_| Duration::ZERO);
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{port}");
    let courier = start_courier(&bus);
    until("waiting", &courier, || courier.log().contains("no agent to carry for")).await;
    for id in 1..=2 {
        let serving = serve(&bus, &agent).await;
        agent.offer((id, "message", vec![7]));
        until("carried", &courier, || agent.answered("ok").len() as u64 == id).await;
        serving.close().await.unwrap();
        until("free", &courier, || !bus.has_owner(BUS_NAME)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_may_come_late_and_the_same_bytes_arrive() {
    let (bus, agent) = (bus(), Arc::new(Agent::default()));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{port}");
    let serving = serve(&bus, &agent).await;
    agent.offer((1, "message", b"the same".to_vec()));
    let courier = start_courier(&bus);
    until("tried", &courier, || agent.answered("unreachable").len() >= 2).await;
    start_server(port, |_| Duration::ZERO);
    until("carried", &courier, || !agent.answered("ok").is_empty()).await;
    assert_eq!(agent.answered("ok"), [(1, b"message:the same".to_vec())]);
    assert!(agent.answered("unreachable").iter().all(|(_, body)| body.is_empty()));
    drop(serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_courier_carried_is_carried_by_the_next() {
    let (bus, agent) = (bus(), Arc::new(Agent::default()));
    let slow = start_server(0, |_| Duration::from_secs(60));
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{slow}");
    let serving = serve(&bus, &agent).await;
    agent.offer((1, "message", b"again".to_vec()));
    let mut courier = start_courier(&bus);
    until("under way", &courier, || !agent.under_way.lock().unwrap().is_empty()).await;
    courier.kill();
    until("given back", &courier, || !agent.items.lock().unwrap().is_empty()).await;
    let quick = start_server(0, |_| Duration::ZERO);
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{quick}");
    let next = start_courier(&bus);
    until("carried", &next, || !agent.answered("ok").is_empty()).await;
    assert_eq!(agent.answered("ok"), [(1, b"message:again".to_vec())]);
    drop(serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_it_does_not_know_goes_nowhere() {
    let (bus, agent) = (bus(), Arc::new(Agent::default()));
    let port = start_server(0, |_| Duration::ZERO);
    *agent.origin.lock().unwrap() = format!("http://127.0.0.1:{port}");
    let serving = serve(&bus, &agent).await;
    agent.offer((1, "../../api/v1/devices", vec![7]));
    let courier = start_courier(&bus);
    until("answered", &courier, || !agent.answered("unreachable").is_empty()).await;
    assert_eq!(agent.answered("ok"), []);
    drop(serving);
}
