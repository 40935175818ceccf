//! What the chip holds after much work, after faults, and when it goes away and comes back.

use std::process::Command;

use rand_core::OsRng;
use twinseal_hardware::{Description, DeviceKeys, EkKind, Error, Kind, Lane};
use twinseal_scheme::tpm::{Credential, EndorsementKey, Public, make_credential};
use twinseal_swtpm_tests::{Swtpm, Tap, is_child, rerun};

use crate::eyes::{open, peer, sign_and_verify};

async fn enrolled(lane: &Lane) -> DeviceKeys {
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    lane.define_counter(&keys).await.unwrap();
    keys
}

/// What this process holds in memory, KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Ten thousand in a whole run, and a fifth of them otherwise; in a process of its own, since
/// memory belongs to a process.
#[tokio::test]
async fn ten_thousand_mixed_operations_leave_nothing_behind() {
    if !is_child() {
        let test = "endurance::ten_thousand_mixed_operations_leave_nothing_behind";
        return rerun(test, |program| Command::new(program));
    }
    let rounds = if std::env::var_os("TWINSEAL_TEST_ALL").is_some() { 10_000 } else { 2000 };
    let chip = Swtpm::start();
    let hardware = open(&chip.tcti());
    let keys = enrolled(&hardware.lane(0)).await;
    hardware.close().await;
    let before = chip.handles();
    let hardware = open(&chip.tcti());
    let mut after_a_thousand = 0;
    for round in 0..rounds {
        // Of several callers, as it is with many users.
        let lane = hardware.lane(u64::from(round % 7));
        operate(&lane, &keys, round).await;
        if round % 100 == 99 {
            let capacity = lane.describe().await.unwrap().capacity;
            assert!(capacity.objects_loaded <= 2 && capacity.sessions_loaded <= 1, "{capacity:?}");
        }
        if round == 999 {
            after_a_thousand = resident_kib();
        }
    }
    let grown = resident_kib().saturating_sub(after_a_thousand);
    println!(
        "{rounds} operations: {after_a_thousand} KiB after 1,000, {grown} KiB more at the end"
    );
    assert!(grown <= 2048, "{grown} KiB");
    hardware.close().await;
    assert_eq!(chip.handles(), before);
}

/// The operation whose turn it is.
async fn operate(lane: &Lane, keys: &DeviceKeys, round: u32) {
    let (_, point) = peer();
    match round % 12 {
        0 => drop(lane.certify(keys, &keys.signing, [3; 32]).await.unwrap()),
        1 => drop(lane.agree_serial(keys, point).await.unwrap()),
        2 => drop(lane.certify(keys, &keys.serial, [4; 32]).await.unwrap()),
        3 => drop(lane.counter(keys).await.unwrap()),
        4 | 5 => drop(lane.agree(&keys.decryption, point).await.unwrap()),
        6 => drop(lane.random(40).await.unwrap()),
        7 => drop(lane.increment_counter(keys).await.unwrap()),
        8 => drop(activate(lane, keys).await.unwrap()),
        // What a chip refuses leaves nothing behind either.
        9 => assert_eq!(refused(lane, keys).await.code(), "rejected"),
        _ => drop(lane.sign(&keys.signing, [5; 32]).await.unwrap()),
    }
}

async fn activate(lane: &Lane, keys: &DeviceKeys) -> Result<twinseal_scheme::Secret, Error> {
    let made = credential(keys);
    lane.activate(keys, made.credential_blob, made.encrypted_secret).await
}

/// A credential that was damaged on its way.
async fn refused(lane: &Lane, keys: &DeviceKeys) -> Error {
    let mut made = credential(keys);
    made.credential_blob[3] ^= 1;
    lane.activate(keys, made.credential_blob, made.encrypted_secret).await.unwrap_err()
}

fn credential(keys: &DeviceKeys) -> Credential {
    let name = Public::parse(keys.attestation.public()).unwrap().name().clone();
    let ek = EndorsementKey::parse(&keys.ek_public).unwrap();
    make_credential(&ek, &name, &[9; 32], &mut OsRng).unwrap()
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

/// Fails the first command of a start and of messages, then the second, and so on.
#[tokio::test]
async fn any_one_command_of_a_start_may_fail() {
    let chip = Swtpm::start();
    let keys = stored_keys(&chip).await;
    let swept = sweep(&chip, async |lane: &Lane| {
        let (_, point) = peer();
        lane.recognise(&keys).await?;
        lane.agree_serial(&keys, point).await?;
        lane.increment_counter(&keys).await?;
        lane.certify(&keys, &keys.signing, [6; 32]).await?;
        lane.sign(&keys.signing, [7; 32]).await?;
        lane.agree(&keys.decryption, point).await.map(drop)
    })
    .await;
    assert!(swept > 20, "the sweep met only {swept} commands");
}

/// The same for an enrolment.
#[tokio::test]
async fn any_one_command_of_an_enrolment_may_fail() {
    let chip = Swtpm::start();
    let keys = stored_keys(&chip).await;
    let name = Public::parse(keys.attestation.public()).unwrap().name().clone();
    let ek = EndorsementKey::parse(&keys.ek_public).unwrap();
    let swept = sweep(&chip, async |lane: &Lane| {
        let ek_of_chip = lane.endorsement_key(None).await?;
        assert_eq!(ek_of_chip.public, keys.ek_public);
        lane.create_keys(&ek_of_chip).await?;
        let made = make_credential(&ek, &name, &[9; 32], &mut OsRng).unwrap();
        let opened = lane.activate(&keys, made.credential_blob, made.encrypted_secret).await?;
        assert_eq!(opened.expose(), &[9; 32]);
        lane.undefine_counter(&keys).await?;
        lane.define_counter(&keys).await.map(drop)
    })
    .await;
    assert!(swept > 40, "the sweep met only {swept} commands");
}

async fn stored_keys(chip: &Swtpm) -> DeviceKeys {
    let hardware = open(&chip.tcti());
    let keys = enrolled(&hardware.lane(0)).await;
    hardware.close().await;
    keys
}

/// Runs `work` with the first command failing, then the second, until none is left to fail. After
/// each fault the same work must succeed, and an orderly end leave nothing in the chip. Returns
/// how many commands have failed.
async fn sweep(chip: &Swtpm, work: impl AsyncFn(&Lane) -> Result<(), Error>) -> u32 {
    const TPM_RC_FAILURE: u32 = 0x101;
    for commands in 0.. {
        let tap = Tap::on(chip);
        let hardware = open(&tap.tcti());
        let lane = hardware.lane(0);
        tap.fail_after(commands, TPM_RC_FAILURE);
        let result = work(&lane).await;
        if tap.take_fault() {
            result.unwrap();
            return commands;
        }
        if let Err(error) = result {
            assert!(["failed", "absent"].contains(&error.code()), "{commands}: {error:?}");
        }
        let again = work(&lane).await;
        again.unwrap_or_else(|error| panic!("long after command {commands} failed: {error:?}"));
        hardware.close().await;
        drop(tap);
        let left = chip.tool("tpm2_getcap", &["handles-transient"]);
        assert_eq!(left, "", "after command {commands} failed");
    }
    0
}

#[tokio::test]
async fn it_describes_itself() {
    let chip = Swtpm::start();
    let description = open(&chip.tcti()).lane(0).describe().await.unwrap();
    assert_eq!((description.kind, description.manufacturer.as_str()), (Kind::Tpm, "IBM"));
    assert!(description.model.contains("TPM"), "{description:?}");
    let algorithms = ["ecc-p256", "ecc-p384", "rsa-2048", "rsa-3072", "hmac-sha256"];
    assert_eq!(description.algorithms, algorithms);
    assert_eq!(description.certified_eks, [EkKind::EccP384, EkKind::Rsa2048]);
    assert_eq!((description.capacity.objects, description.capacity.sessions), (3, 3));
    assert!(!description.lockout.locked_out && !description.owner_authorisation);
    let json = serde_json::to_string(&description).unwrap();
    assert_eq!(serde_json::from_str::<Description>(&json).unwrap(), description);
}
