//! Who is served when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use twinseal_hardware::{Error, Limits};

use crate::bench::{Bench, signs};

pub async fn a_thousand_requests_of_one_do_not_hold_up_another(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let served = Arc::new(AtomicU32::new(0));
    let mut greedy = JoinSet::new();
    for _ in 0..1000 {
        let (lane, key, served) = (hardware.lane(1), keys.signing(), Arc::clone(&served));
        greedy.spawn(async move {
            lane.sign(&key, [1; 32]).await.expect("a signature");
            served.fetch_add(1, Ordering::SeqCst);
        });
    }
    // All thousand are polled, so waiting, before this task goes on.
    tokio::task::yield_now().await;
    let before = served.load(Ordering::SeqCst);
    assert!(before < 900, "they still wait: {before} served");
    hardware.lane(2).sign(keys.signing(), [2; 32]).await.expect("a signature");
    let delay = served.load(Ordering::SeqCst) - before;
    // In turn it is one; first come, first served would be all that wait. The rest is this
    // machine's own delay between the two lines above, whatever else it is doing.
    assert!(delay < 100, "the single request waited for {delay} others");
    greedy.join_all().await;
    assert_eq!(served.load(Ordering::SeqCst), 1000, "and nobody starves");
}

pub async fn one_too_many_is_busy_and_the_others_are_served(bench: &Bench) {
    let deadline = Duration::from_secs(120);
    let hardware = bench.open_with(Limits { waiting: 20, waiting_per_caller: 10, deadline });
    let keys = bench.create_keys(&hardware.lane(0)).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (lane, key) = (hardware.lane(1), keys.signing());
        requests.spawn(async move { lane.sign(&key, [1; 32]).await });
    }
    tokio::task::yield_now().await;
    hardware.lane(2).sign(keys.signing(), [2; 32]).await.expect("a signature");
    let results = requests.join_all().await;
    let busy = results.iter().filter(|result| **result == Err(Error::Busy)).count();
    let served = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(busy + served, 50, "{results:?}");
    assert!(served >= 10 && busy >= 30, "{served} served, {busy} busy");
}

pub async fn sixty_four_callers_each_get_their_signature(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let mut requests = JoinSet::new();
    for caller in 0..64 {
        let (lane, keys) = (hardware.lane(caller), keys.clone());
        requests.spawn(async move {
            for _ in 0..5 {
                signs(&lane, &keys).await;
            }
        });
    }
    requests.join_all().await;
}

pub async fn what_comes_too_late_is_over(bench: &Bench) {
    let (hardware, keys) = bench.enrolled().await;
    let mut ahead = JoinSet::new();
    for _ in 0..1000 {
        let (lane, key) = (hardware.lane(1), keys.signing());
        ahead.spawn(async move { lane.sign(&key, [1; 32]).await.expect("a signature") });
    }
    tokio::task::yield_now().await;
    let hurried = hardware.lane(1).within(Duration::from_millis(1));
    assert_eq!(hurried.sign(keys.signing(), [2; 32]).await, Err(Error::Deadline));
    assert_eq!(ahead.join_all().await.len(), 1000);
    signs(&hardware.lane(1), &keys).await;
}

pub async fn closing_cancels_what_waits(bench: &Bench) {
    let hardware = bench.open();
    let lane = hardware.lane(0);
    lane.describe().await.expect("a description");
    hardware.close().await;
    assert_eq!(lane.describe().await, Err(Error::Cancelled));
}
