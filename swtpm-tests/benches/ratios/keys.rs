//! Signatures of an application's key over the bus, against the chip's own.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use twinseal_agent::{Agent, Config as AgentConfig, bus};
use twinseal_client::{AGENT_INTERFACE, Agent1Proxy, BUS_NAME, KeyProxy, Options, ROOT_PATH};
use twinseal_hardware::{
    Config, Hardware, KeyAlgorithm, Lane, SignScheme, TpmApplicationKey, Uses,
};
use twinseal_swtpm_tests::{Bus, Swtpm};
use zbus::fdo::IntrospectableProxy;
use zbus::{Connection, connection};

use super::{Row, ratio};

const CLIENTS: u32 = 64;
const SIGNATURES_EACH: u32 = 16;
const DIGEST: [u8; 32] = [7; 32];

/// An agent on a bus of its own, which root may call.
struct Served {
    bus: Bus,
    path: String,
    _chip: Swtpm,
    _folder: tempfile::TempDir,
}

/// P1: one client's signatures, against the same chip's without agent and bus. P10: 64 clients at
/// once.
pub fn rows() -> Vec<Row> {
    let runtime = Runtime::new().unwrap();
    let served = runtime.block_on(Served::start());
    let chip = Swtpm::start();
    let (hardware, lane, key) = runtime.block_on(alone(&chip));
    let proxy = runtime.block_on(served.client());
    let mut over_bus = || {
        let signed = proxy.sign(&DIGEST, "ecdsa", Options::new());
        black_box(runtime.block_on(signed).unwrap());
    };
    let mut floor = || {
        let signed = lane.sign_digest(&key, SignScheme::Ecdsa, DIGEST.to_vec());
        black_box(runtime.block_on(signed).unwrap());
    };
    let what = "sign over the bus with an application's key, against the chip alone";
    let p1 = Row { id: "P1", what, ratio: ratio(&mut over_bus, &mut floor, 5, 100), target: 1.5 };
    let mut rows = vec![p1];
    rows.extend(runtime.block_on(crowd(&served)));
    runtime.block_on(hardware.close());
    rows
}

impl Served {
    async fn start() -> Served {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("bench.conf");
        let text = format!(
            "<busconfig><policy user=\"root\"><allow own=\"{BUS_NAME}\"/>\
             <allow send_destination=\"{BUS_NAME}\"/></policy></busconfig>"
        );
        std::fs::write(&policy, text).unwrap();
        let bus = Bus::builder().bus_policy(policy).start();
        let chip = Swtpm::start();
        let agent = Agent::start(config(folder.path(), &chip)).await.unwrap();
        let service = bus::publish(agent, connect(&bus).await).await.unwrap();
        tokio::spawn(service.run());
        let root = Agent1Proxy::new(&connect(&bus).await).await.unwrap();
        let path = root.create_key("bench", "ecc-p256", Options::new()).await.unwrap();
        Served { bus, path: path.as_str().to_owned(), _chip: chip, _folder: folder }
    }

    async fn client(&self) -> KeyProxy<'static> {
        let connection = connect(&self.bus).await;
        KeyProxy::builder(&connection).path(self.path.clone()).build().await.unwrap()
    }
}

fn config(folder: &Path, chip: &Swtpm) -> AgentConfig {
    let file = folder.join("agent.toml");
    let text = format!(
        "state_dir = '{0}/state'\nstate_key_file = '{0}/state.key'\n\
         services_dir = '{0}/services.d'\nhardware.tcti = '{1}'",
        folder.display(),
        chip.tcti()
    );
    std::fs::write(&file, text).unwrap();
    AgentConfig::read(&file).unwrap()
}

async fn connect(bus: &Bus) -> Connection {
    connection::Builder::address(bus.address().as_str()).build().await.unwrap()
}

/// A chip of the same make, without agent and bus.
async fn alone(chip: &Swtpm) -> (Hardware, Lane, TpmApplicationKey) {
    let hardware = Hardware::open(Config::new(chip.tcti().parse().unwrap())).unwrap();
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let uses = Uses { sign: true, decrypt: false };
    let key = lane.create_application_key(&ek, KeyAlgorithm::EccP256, uses).await.unwrap();
    (hardware, lane, key)
}

async fn crowd(served: &Served) -> [Row; 3] {
    let one = served.client().await;
    let began = Instant::now();
    for _ in 0..CLIENTS * SIGNATURES_EACH {
        one.sign(&DIGEST, "ecdsa", Options::new()).await.unwrap();
    }
    let alone = began.elapsed();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = served.client().await;
        clients.spawn(async move {
            let began = Instant::now();
            for _ in 0..SIGNATURES_EACH {
                client.sign(&DIGEST, "ecdsa", Options::new()).await.unwrap();
            }
            began.elapsed()
        });
    }
    let (done, mut is_done) = watch::channel(false);
    let connection = connect(&served.bus).await;
    let looking = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        while !*is_done.borrow_and_update() {
            slowest = slowest.max(introspect(&connection).await);
        }
        slowest
    });
    let began = Instant::now();
    let waits = clients.join_all().await;
    let together = began.elapsed();
    done.send_replace(true);
    let slowest = looking.await.unwrap();
    let mean = waits.iter().sum::<Duration>() / CLIENTS;
    let longest = waits.into_iter().max().unwrap();
    let row = |what, ratio, target| Row { id: "P10", what, ratio, target };
    [
        row(
            "64 clients' signatures, against as many of one",
            together.as_secs_f64() / alone.as_secs_f64(),
            1.0 / 0.95,
        ),
        row(
            "the longest wait of 64 clients, against the mean",
            longest.as_secs_f64() / mean.as_secs_f64(),
            2.0,
        ),
        row(
            "the slowest introspection meanwhile, against 50 ms",
            slowest.as_secs_f64() / 0.05,
            1.0,
        ),
    ]
}

async fn introspect(connection: &Connection) -> Duration {
    let root = IntrospectableProxy::builder(connection).destination(BUS_NAME).path(ROOT_PATH);
    let began = Instant::now();
    let xml = root.build().await.unwrap().introspect().await.unwrap();
    assert!(xml.contains(AGENT_INTERFACE));
    began.elapsed()
}
