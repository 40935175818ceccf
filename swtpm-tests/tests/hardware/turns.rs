//! Who is served when, on a real chip.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use twinseal_hardware::{Config, DeviceKeys, Error, Hardware, Limits};
use twinseal_swtpm_tests::{ChipMishap, Swtpm, Tap};

use crate::eyes::sign_and_verify;

const TPM_CC_SIGN: u32 = 0x15d;

async fn enrolled(tcti: &str, limits: Limits) -> (Hardware, DeviceKeys) {
    let config = Config { limits, ..Config::new(tcti.parse().unwrap()) };
    let hardware = Hardware::open(config).unwrap();
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    (hardware, keys)
}

fn patient() -> Limits {
    Limits { deadline: Duration::from_secs(120), ..Limits::default() }
}

#[tokio::test]
async fn a_thousand_requests_of_one_do_not_hold_up_another() {
    let chip = Swtpm::start();
    let (hardware, keys) = enrolled(&chip.tcti(), patient()).await;
    let served = Arc::new(AtomicU32::new(0));
    let mut greedy = JoinSet::new();
    for _ in 0..1000 {
        let (lane, key, served) = (hardware.lane(1), keys.signing.clone(), Arc::clone(&served));
        greedy.spawn(async move {
            lane.sign(&key, [1; 32]).await.unwrap();
            served.fetch_add(1, Ordering::SeqCst);
        });
    }
    // All thousand are polled, so waiting, before this task goes on.
    tokio::task::yield_now().await;
    let before = served.load(Ordering::SeqCst);
    assert!(before < 900, "they still wait: {before} served");
    hardware.lane(2).sign(&keys.signing, [2; 32]).await.unwrap();
    let delay = served.load(Ordering::SeqCst) - before;
    // In turn it is one; first come, first served would be all that wait. The rest is this
    // machine's own delay between the two lines above, whatever else it is doing.
    assert!(delay < 100, "the single request waited for {delay} others");
    greedy.join_all().await;
    assert_eq!(served.load(Ordering::SeqCst), 1000, "and nobody starves");
}

#[tokio::test]
async fn a_caller_who_goes_away_costs_the_chip_nothing() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let (hardware, keys) = enrolled(&tap.tcti(), patient()).await;
    sign_and_verify(&hardware.lane(1), &keys.signing, b"one").await;
    let signed = |tap: &Tap| {
        tap.exchanges().iter().filter(|exchange| exchange.command_code() == TPM_CC_SIGN).count()
    };
    let mut leaving = JoinSet::new();
    for _ in 0..1000 {
        let (lane, key) = (hardware.lane(1), keys.signing.clone());
        leaving.spawn(async move { lane.sign(&key, [1; 32]).await });
    }
    tokio::task::yield_now().await;
    leaving.shutdown().await;
    let before = signed(&tap);
    assert!(before < 900, "they left while they waited: {before} served");
    sign_and_verify(&hardware.lane(1), &keys.signing, b"who stayed").await;
    let served = signed(&tap) - before;
    assert!(served <= 2, "{served}: the one in work and who stayed");
}

#[tokio::test]
async fn a_request_whose_deadline_passes_is_over_and_is_not_served() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let (hardware, keys) = enrolled(&tap.tcti(), patient()).await;
    // However slow this test is, the chip is slower.
    tap.meet(1, ChipMishap::Late(Duration::from_secs(1)));
    let mut ahead = JoinSet::new();
    for _ in 0..300 {
        let (lane, key) = (hardware.lane(1), keys.signing.clone());
        ahead.spawn(async move { lane.sign(&key, [1; 32]).await.unwrap() });
    }
    tokio::task::yield_now().await;
    let hurried = hardware.lane(1).within(Duration::from_millis(2));
    assert_eq!(hurried.sign(&keys.signing, [0xdd; 32]).await.unwrap_err(), Error::Deadline);
    ahead.join_all().await;
    sign_and_verify(&hardware.lane(1), &keys.signing, b"in time").await;
    let late = [0xdd; 32];
    let served = |digest: [u8; 32]| {
        let signs = |command: &[u8]| command.windows(32).any(|window| window == digest);
        tap.exchanges().iter().filter(|exchange| signs(&exchange.command)).count()
    };
    assert_eq!((served([1; 32]), served(late)), (300, 0));
}

#[tokio::test]
async fn one_too_many_is_busy_and_the_others_are_served() {
    let chip = Swtpm::start();
    let limits = Limits { waiting: 20, waiting_per_caller: 10, ..patient() };
    let (hardware, keys) = enrolled(&chip.tcti(), limits).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (lane, key) = (hardware.lane(1), keys.signing.clone());
        requests.spawn(async move { lane.sign(&key, [1; 32]).await });
    }
    tokio::task::yield_now().await;
    hardware.lane(2).sign(&keys.signing, [2; 32]).await.unwrap();
    let results = requests.join_all().await;
    let busy = results.iter().filter(|result| **result == Err(Error::Busy)).count();
    let served = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(busy + served, 50, "{results:?}");
    assert!(served >= 10 && busy >= 30, "{served} served, {busy} busy");
}

#[tokio::test]
async fn sixty_four_callers_each_get_their_signature() {
    let chip = Swtpm::start();
    let (hardware, keys) = enrolled(&chip.tcti(), patient()).await;
    let mut requests = JoinSet::new();
    for caller in 0..64 {
        let (lane, key) = (hardware.lane(caller), keys.signing.clone());
        requests.spawn(async move {
            for n in 0..5_u8 {
                let message = [u8::try_from(caller).unwrap(), n];
                sign_and_verify(&lane, &key, &message).await;
            }
        });
    }
    requests.join_all().await;
}
