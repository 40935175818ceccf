//! The process of a token's module: what becomes of it, and of those who wait for it.

use std::time::{Duration, Instant};

use twinseal_hardware::{AuthValue, ChipKeys, Error, Hardware, TokenFault, draw_token_ids};
use twinseal_swtpm_tests::ModuleMishap;

use crate::rig::{Rig, loaded_by, signs};

/// Far more than it takes here, and far less than for ever.
const BOUNDED: Duration = Duration::from_secs(15);

async fn with_keys(rig: &Rig) -> (Hardware, ChipKeys) {
    let hardware = rig.open();
    let keys = hardware.lane(0).create_token_keys(draw_token_ids()).await.expect("keys");
    (hardware, ChipKeys::from(&keys))
}

#[tokio::test]
async fn a_module_that_crashes_is_started_again() {
    let rig = Rig::new();
    let (hardware, keys) = with_keys(&rig).await;
    let lane = hardware.lane(0);
    rig.module.set(ModuleMishap::Crash);
    let error = lane.sign(keys.signing(), [1; 32]).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Crashed));
    assert!(error.to_string().contains("update the module"), "{error}");
    // What is safe to be done twice was tried once more, on a new process.
    assert_eq!(rig.module.logins(), 1);
    // Whoever asks at once hears the same; the module is let alone for a moment.
    assert_eq!(lane.lockout().await, Err(Error::Token(TokenFault::Crashed)));
    assert_eq!(rig.module.logins(), 1);
    rig.module.set(ModuleMishap::None);
    tokio::time::sleep(Duration::from_millis(600)).await;
    signs(&lane, &keys).await;
}

#[tokio::test]
async fn keys_are_not_made_twice() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    lane.lockout().await.expect("a process");
    rig.module.set(ModuleMishap::Crash);
    let error = lane.create_token_keys(draw_token_ids()).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Crashed));
    assert_eq!(rig.module.logins(), 0, "no second process");
}

#[tokio::test]
async fn a_module_that_never_comes_back_is_ended() {
    let rig = Rig::new();
    let (hardware, keys) = with_keys(&rig).await;
    rig.module.set(ModuleMishap::Hang);
    let hasty = hardware.lane(0).within(Duration::from_millis(200));
    assert_eq!(hasty.sign(keys.signing(), [1; 32]).await, Err(Error::Deadline));
    // Who is patient hears what it is.
    let error = hardware.lane(1).sign(keys.signing(), [1; 32]).await;
    assert!(matches!(error, Err(Error::Token(TokenFault::Hung) | Error::Deadline)), "{error:?}");
    let error = hardware.lane(1).sign(keys.signing(), [1; 32]).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Hung));
    assert_eq!(error.code(), "deadline");
    assert!(error.to_string().contains("hangs"), "{error}");
    rig.module.set(ModuleMishap::None);
    tokio::time::sleep(Duration::from_millis(600)).await;
    signs(&hardware.lane(7), &keys).await;
}

#[tokio::test]
async fn closing_waits_for_no_module() {
    let rig = Rig::new();
    let (hardware, keys) = with_keys(&rig).await;
    rig.module.set(ModuleMishap::Hang);
    let lane = hardware.lane(0);
    let asked = tokio::spawn(async move { lane.sign(keys.signing(), [1; 32]).await });
    while rig.module.hangs() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    hardware.close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(asked.await.expect("an answer"), Err(Error::Cancelled));
    assert_eq!(hardware.lane(0).lockout().await, Err(Error::Cancelled));
    // One that does not hang ends by itself.
    rig.module.set(ModuleMishap::None);
    let (hardware, _) = with_keys(&rig).await;
    assert_eq!(loaded_by(&rig.module).len(), 1);
    let begun = Instant::now();
    hardware.close().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(loaded_by(&rig.module).is_empty());
}

#[tokio::test]
async fn a_pin_that_nobody_answers_for_is_tried_twice() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    rig.module.set(ModuleMishap::Faint);
    let deadline = Instant::now() + BOUNDED;
    while lane.lockout().await != Err(Error::Token(TokenFault::PinUnanswered)) {
        assert!(Instant::now() < deadline, "it is tried for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rig.module.logins(), 2);
    rig.module.set(ModuleMishap::None);
    let error = lane.lockout().await.unwrap_err();
    assert!(error.to_string().contains("twinseal unlock"), "{error}");
    assert_eq!(rig.module.logins(), 0);
    let pin = AuthValue::new(rig.token.pin().as_bytes().to_vec()).expect("a PIN");
    assert_eq!(lane.log_in(pin).await, Ok(()));
    assert_eq!(rig.module.logins(), 1);
}
