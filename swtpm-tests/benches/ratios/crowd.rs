//! P10: 64 clients at once.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use twinseal_client::{AGENT_INTERFACE, BUS_NAME, KeyProxy, Options, ROOT_PATH};
use twinseal_swtpm_tests::Device;
use zbus::fdo::IntrospectableProxy;
use zbus::{Connection, connection};

use super::{Row, median};

const CLIENTS: u32 = 64;
const SIGNATURES_EACH: u32 = 8;
const ROUNDS: usize = 7;
const DIGEST: [u8; 32] = [7; 32];

/// `key`: the path of a key of root's.
pub fn rows(device: &Device, key: &str) -> [Row; 3] {
    Runtime::new().unwrap().block_on(crowd(&device.bus().address(), key))
}

async fn crowd(bus: &str, key: &str) -> [Row; 3] {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(bus, key).await);
    }
    let of = |which: usize| median(rounds.iter().map(|round| round[which]).collect());
    [
        Row::held("P10", "64 clients sign, against one", of(0), 1.0 / 0.95),
        Row::held("P10", "the longest wait of 64, against the mean", of(1), 2.0),
        Row::held("P10", "introspection meanwhile, against 50 ms", of(2), 1.0),
    ]
}

/// The three ratios of one round.
async fn round(bus: &str, key: &str) -> [f64; 3] {
    let one = client(bus, key).await;
    let began = Instant::now();
    for _ in 0..CLIENTS * SIGNATURES_EACH {
        one.sign(&DIGEST, "ecdsa", Options::new()).await.unwrap();
    }
    let alone = began.elapsed();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = client(bus, key).await;
        clients.spawn(async move {
            let began = Instant::now();
            for _ in 0..SIGNATURES_EACH {
                client.sign(&DIGEST, "ecdsa", Options::new()).await.unwrap();
            }
            began.elapsed()
        });
    }
    let (done, mut is_done) = watch::channel(false);
    let connection = connect(bus).await;
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
    let part = |one: Duration, of: Duration| one.as_secs_f64() / of.as_secs_f64();
    [part(together, alone), part(longest, mean), part(slowest, Duration::from_millis(50))]
}

async fn client(bus: &str, key: &str) -> KeyProxy<'static> {
    let connection = connect(bus).await;
    KeyProxy::builder(&connection).path(key.to_owned()).build().await.unwrap()
}

async fn connect(bus: &str) -> Connection {
    connection::Builder::address(bus).build().await.unwrap()
}

async fn introspect(connection: &Connection) -> Duration {
    let root = IntrospectableProxy::builder(connection).destination(BUS_NAME).path(ROOT_PATH);
    let began = Instant::now();
    let xml = root.build().await.unwrap().introspect().await.unwrap();
    assert!(xml.contains(AGENT_INTERFACE));
    began.elapsed()
}
