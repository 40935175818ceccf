//! What becomes of requests that nobody waits for any more, as a tap on the chip sees it. Who is
//! served when is the same on every chip (`tests/conformance`).

use std::time::Duration;

use tokio::task::JoinSet;
use twinseal_hardware::{DeviceKeys, Error, Hardware};
use twinseal_swtpm_tests::{ChipMishap, Swtpm, Tap};

use crate::eyes::{open, sign_and_verify};

const TPM_CC_SIGN: u32 = 0x15d;

async fn enrolled(tcti: &str) -> (Hardware, DeviceKeys) {
    let hardware = open(tcti);
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    (hardware, keys)
}

#[tokio::test]
async fn a_caller_who_goes_away_costs_the_chip_nothing() {
    let chip = Swtpm::start();
    let tap = Tap::on(&chip);
    let (hardware, keys) = enrolled(&tap.tcti()).await;
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
    let (hardware, keys) = enrolled(&tap.tcti()).await;
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
