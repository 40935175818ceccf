//! Many clients at once, one chip: every call is answered, and the bus never waits for the chip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use twinseal_agent::bus::{
    Interface, Object, Objects, Pending, Refusal, Request, Service, Session,
};
use twinseal_agent::{Error, Kind};
use twinseal_hardware::{ChildKey, Config, DeviceKeys, Hardware, Lane};
use twinseal_swtpm_tests::{Bus, Swtpm};
use zbus::{Connection, connection};

const NAME: &str = "org.twinseal.Test1";
const PATH: &str = "/org/twinseal/Test1";
const CLIENTS: usize = 64;
const SIGNATURES_EACH: usize = 8;
/// Calls of the client that leaves: more than the chip can do before the bus has told of it.
const ASKED: usize = 250;

const POLICY: &str = r#"<busconfig><policy user="root"><allow own="org.twinseal.Test1"/>
<allow send_destination="org.twinseal.Test1"/></policy></busconfig>"#;

/// One chip on the bus.
struct Chip {
    hardware: Hardware,
    keys: DeviceKeys,
    signed: Arc<AtomicUsize>,
}

/// The same, for one connection.
struct Signer {
    lane: Lane,
    key: ChildKey,
    signed: Arc<AtomicUsize>,
}

static SIGNER: LazyLock<Interface<Signer>> = LazyLock::new(|| {
    Interface::new(NAME).method("Sign", &["digest"], &["signature"], Signer::sign)
});

impl Signer {
    async fn sign(self: Arc<Self>, (digest,): (Vec<u8>,)) -> Result<(Vec<u8>,), Refusal> {
        let digest = digest.try_into().map_err(|_| Error::from(Kind::InvalidArgument))?;
        let signature = self.lane.sign(&self.key, digest).await;
        self.signed.fetch_add(1, Ordering::SeqCst);
        Ok((signature.map_err(|error| Error::new(Kind::Internal, error.to_string()))?.to_vec(),))
    }
}

/// Every connection has a lane of its own.
fn lane_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Objects for Chip {
    fn find<'a>(&'a self, request: &'a Request, path: &'a str) -> Pending<'a, Option<Object>> {
        Box::pin(async move {
            let lane = self.hardware.lane(lane_of(&request.session.name));
            let (key, signed) = (self.keys.signing.clone(), Arc::clone(&self.signed));
            let signer = Arc::new(Signer { lane, key, signed });
            (path == PATH).then(|| Object::default().with(&*SIGNER, signer))
        })
    }

    fn paths<'a>(&'a self, _: &'a Session) -> Pending<'a, Vec<String>> {
        Box::pin(async { vec![PATH.to_owned()] })
    }

    fn left(&self, _: &Session) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_sign_and_introspection_answers_meanwhile() {
    let bus = bus();
    let served = Served::start(&bus).await;
    let alone = Instant::now();
    for _ in 0..CLIENTS {
        served.hardware.lane(0).sign(&served.key, [7; 32]).await.unwrap();
    }
    let alone = alone.elapsed() / CLIENTS as u32;

    let left = Arc::new(AtomicUsize::new(CLIENTS * SIGNATURES_EACH));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (connection, left) = (connect(&bus).await, Arc::clone(&left));
        clients.spawn(async move { sign_often(&connection, number as u8, &left).await });
    }
    let looking = introspect_until_done(&connect(&bus).await, &left).await;
    let waits: Vec<Duration> = clients.join_all().await;
    let together = began.elapsed() / (CLIENTS * SIGNATURES_EACH) as u32;
    println!(
        "one signature: {alone:?} directly, {together:?} with {CLIENTS} clients on the bus; \
         longest wait of a client {:?}, shortest {:?}; {looking:?}",
        waits.iter().max().unwrap(),
        waits.iter().min().unwrap(),
    );
    assert!(looking.while_signing >= 3, "introspection waited for the chip: {looking:?}");
    assert_eq!(served.signed.load(Ordering::SeqCst), CLIENTS * SIGNATURES_EACH);
    served.stop().await;
}

/// A client that has left is taken out of the chip's queue, and the others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_gives_its_place_up() {
    let bus = bus();
    let served = Served::start(&bus).await;
    let leaving = connect(&bus).await;
    for _ in 0..ASKED {
        let call = zbus::Message::method_call(PATH, "Sign").destination(NAME).interface(NAME);
        leaving.send(&call.build(&(vec![1u8; 32],)).unwrap()).await.unwrap();
    }
    let lane = served.hardware.lane(lane_of(leaving.unique_name().unwrap()));
    leaving.close().await.unwrap();
    let staying = connect(&bus).await;
    let left = AtomicUsize::new(SIGNATURES_EACH);
    sign_often(&staying, 2, &left).await;
    assert_eq!(left.into_inner(), 0);
    // A lane is first in, first out: whatever still waited there is done before this.
    lane.sign(&served.key, [3; 32]).await.unwrap();
    let signed = served.signed.load(Ordering::SeqCst);
    assert!(signed < ASKED, "{signed} signatures, most of them for nobody");
    served.stop().await;
}

/// A chip that is on the bus.
struct Served {
    _chip: Swtpm,
    hardware: Hardware,
    key: ChildKey,
    /// Answers of the chip, whether or not somebody still waited.
    signed: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(bus: &Bus) -> Self {
        let chip = Swtpm::start();
        let hardware = Hardware::open(Config::new(chip.tcti().parse().unwrap())).unwrap();
        let ek = hardware.lane(0).endorsement_key(None).await.unwrap();
        let keys = hardware.lane(0).create_keys(&ek).await.unwrap();
        let (key, signed) = (keys.signing.clone(), Arc::new(AtomicUsize::new(0)));
        let objects = Chip { hardware: hardware.clone(), keys, signed: Arc::clone(&signed) };
        let start = Service::start(connect(bus).await, NAME, PATH, |_| Arc::new(objects));
        let serving = tokio::spawn(start.await.unwrap().run());
        Self { _chip: chip, hardware, key, signed, serving }
    }

    async fn stop(self) {
        self.serving.abort();
        self.hardware.close().await;
    }
}

/// Signs, checks each signature's length, and tells its longest wait for one.
async fn sign_often(connection: &Connection, number: u8, left: &AtomicUsize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..SIGNATURES_EACH {
        let began = Instant::now();
        let body = (vec![number; 32],);
        let reply = connection.call_method(Some(NAME), PATH, Some(NAME), "Sign", &body);
        let signature: Vec<u8> = reply.await.unwrap().body().deserialize().unwrap();
        assert_eq!(signature.len(), 64);
        left.fetch_sub(1, Ordering::SeqCst);
        longest = longest.max(began.elapsed());
    }
    longest
}

#[derive(Debug)]
struct Looking {
    /// Introspections answered while most signatures were still to be made.
    while_signing: usize,
    longest: Duration,
}

async fn introspect_until_done(connection: &Connection, left: &AtomicUsize) -> Looking {
    let mut looking = Looking { while_signing: 0, longest: Duration::ZERO };
    while left.load(Ordering::SeqCst) > CLIENTS {
        let began = Instant::now();
        let interface = Some("org.freedesktop.DBus.Introspectable");
        let reply = connection.call_method(Some(NAME), PATH, interface, "Introspect", &());
        let xml: String = reply.await.unwrap().body().deserialize().unwrap();
        assert!(xml.contains("<method name=\"Sign\">"), "{xml}");
        looking.longest = looking.longest.max(began.elapsed());
        looking.while_signing += usize::from(left.load(Ordering::SeqCst) > CLIENTS);
        // A person looks now and then: the signatures are to have the processor.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    looking
}

fn bus() -> Bus {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("org.twinseal.Test1.conf");
    std::fs::write(&policy, POLICY).unwrap();
    Bus::builder().bus_policy(policy).start()
}

async fn connect(bus: &Bus) -> Connection {
    connection::Builder::address(bus.address().as_str()).build().await.unwrap()
}
