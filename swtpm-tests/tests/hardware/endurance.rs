//! What the chip holds after much work, after faults, and when it goes away and comes back.

use twinseal_hardware::{Config, DeviceKeys, Error, Hardware, Lane};
use twinseal_swtpm_tests::{Swtpm, Tap};

use crate::eyes::{open, peer, sign_and_verify};

async fn enrolled(lane: &Lane) -> DeviceKeys {
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    lane.define_counter(&keys).await.unwrap();
    keys
}

#[tokio::test]
async fn a_thousand_mixed_operations_leave_nothing_behind() {
    let chip = Swtpm::start();
    let hardware = open(&chip.tcti());
    let lane = hardware.lane(0);
    let keys = enrolled(&lane).await;
    let (_, point) = peer();
    for round in 0..1000_u32 {
        match round % 10 {
            0 => drop(lane.certify(&keys, &keys.signing, [3; 32]).await.unwrap()),
            1 => drop(lane.agree_serial(&keys, point).await.unwrap()),
            2 => drop(lane.certify(&keys, &keys.serial, [4; 32]).await.unwrap()),
            3 => drop(lane.counter(&keys).await.unwrap()),
            4 | 5 => drop(lane.agree(&keys.decryption, point).await.unwrap()),
            6 => drop(lane.random(40).await.unwrap()),
            _ => drop(lane.sign(&keys.signing, [5; 32]).await.unwrap()),
        }
        if round % 100 == 99 {
            let capacity = lane.describe().await.unwrap().capacity;
            assert!(capacity.objects_loaded <= 2 && capacity.sessions_loaded <= 1, "{capacity:?}");
        }
    }
    hardware.close().await;
    for handles in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
        assert_eq!(chip.tool("tpm2_getcap", &[handles]), "", "{handles}");
    }
}

#[tokio::test]
async fn an_unplugged_chip_is_absent_until_it_is_back() {
    let mut chip = Swtpm::start();
    let lane = open(&chip.tcti()).lane(0);
    let keys = enrolled(&lane).await;
    let first = sign_and_verify(&lane, &keys.signing, b"plugged in").await;
    let counted = lane.counter(&keys).await.unwrap().unwrap();
    chip.kill();
    for _ in 0..3 {
        assert_eq!(lane.sign(&keys.signing, [1; 32]).await.unwrap_err().code(), "absent");
        assert_eq!(lane.increment_counter(&keys).await.unwrap_err().code(), "absent");
        assert_eq!(lane.describe().await.unwrap_err().code(), "absent");
    }
    chip.restart();
    let again = sign_and_verify(&lane, &keys.signing, b"plugged in").await;
    assert_ne!(first, again);
    // Nobody notices a reset between two requests either, whichever comes first.
    chip.restart();
    assert_eq!(lane.increment_counter(&keys).await.unwrap(), counted + 1);
    chip.restart();
    lane.recognise(&keys).await.unwrap();
    chip.restart();
    let (_, point) = peer();
    lane.agree(&keys.decryption, point).await.unwrap();
}

#[tokio::test]
async fn a_chip_that_was_never_there_is_absent() {
    let mut chip = Swtpm::start();
    chip.kill();
    let error = open(&chip.tcti()).lane(0).describe().await.unwrap_err();
    assert_eq!(error.code(), "absent");
    assert!(error.to_string().contains("tcti"), "{error}");
}

/// Fails the first command, then the second, and so on, until a whole run meets no fault.
#[tokio::test]
async fn any_one_command_may_fail() {
    const TPM_RC_FAILURE: u32 = 0x101;
    let chip = Swtpm::start();
    let keys = {
        let hardware = open(&chip.tcti());
        let keys = enrolled(&hardware.lane(0)).await;
        hardware.close().await;
        keys
    };
    let mut commands = 0;
    loop {
        let tap = Tap::on(&chip);
        let hardware = open(&tap.tcti());
        let lane = hardware.lane(0);
        tap.fail_after(commands, TPM_RC_FAILURE);
        let result = start_and_work(&lane, &keys).await;
        if tap.take_fault() {
            result.unwrap();
            break;
        }
        if let Err(error) = result {
            assert!(["failed", "absent"].contains(&error.code()), "{commands}: {error:?}");
        }
        start_and_work(&lane, &keys).await.unwrap_or_else(|error| {
            panic!("the fault after {commands} commands is over, but: {error:?}")
        });
        hardware.close().await;
        drop(tap);
        let left = chip.tool("tpm2_getcap", &["handles-transient"]);
        assert_eq!(left, "", "after {commands} commands");
        commands += 1;
    }
    assert!(commands > 20, "the sweep met only {commands} commands");
}

async fn start_and_work(lane: &Lane, keys: &DeviceKeys) -> Result<(), Error> {
    let (_, point) = peer();
    lane.recognise(keys).await?;
    lane.agree_serial(keys, point).await?;
    lane.increment_counter(keys).await?;
    lane.certify(keys, &keys.signing, [6; 32]).await?;
    lane.sign(&keys.signing, [7; 32]).await?;
    lane.agree(&keys.decryption, point).await.map(drop)
}

#[tokio::test]
async fn closing_cancels_what_waits() {
    let chip = Swtpm::start();
    let hardware = Hardware::open(Config::new(chip.tcti().parse().unwrap())).unwrap();
    let lane = hardware.lane(0);
    hardware.close().await;
    assert_eq!(lane.describe().await.unwrap_err(), Error::Cancelled);
}
