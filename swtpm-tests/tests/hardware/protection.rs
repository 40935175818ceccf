//! Authorisations, lockout, and what a probe on the bus sees.

use rand_core::OsRng;
use twinseal_hardware::{AuthValue, Config, DeviceKeys, EkKind, Error, Hardware, Hierarchy, Lane};
use twinseal_scheme::tpm::{EndorsementKey, Public, make_credential};
use twinseal_swtpm_tests::{Exchange, Swtpm, Tap, probe};

use crate::eyes::{fields, open, peer, sign_and_verify};
use crate::leaving::template;
use crate::raw::{ENDORSEMENT, Raw};

const SIGN: u32 = 0x15d;

/// Everything that needs a chip, once. Returns the keys and what must never be seen on the bus.
async fn whole_life(lane: &Lane, kind: Option<EkKind>) -> (DeviceKeys, Vec<Vec<u8>>) {
    let ek = lane.endorsement_key(kind).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    lane.certify(&keys, &keys.signing, [1; 32]).await.unwrap();
    let name = Public::parse(keys.attestation.public()).unwrap().name().clone();
    let public = EndorsementKey::parse(&ek.public).unwrap();
    let credential = make_credential(&public, &name, &[0xc7; 32], &mut OsRng).unwrap();
    let (blob, secret) = (credential.credential_blob, credential.encrypted_secret);
    let opened = lane.activate(&keys, blob, secret).await.unwrap();
    assert_eq!(opened.expose(), &[0xc7; 32]);
    let value = lane.define_counter(&keys).await.unwrap();
    assert_eq!(lane.increment_counter(&keys).await.unwrap(), value + 1);
    assert_eq!(lane.counter(&keys).await.unwrap(), Some(value + 1));
    lane.recognise(&keys).await.unwrap();
    let (_, point) = peer();
    let serial_secret = lane.agree_serial(&keys, point).await.unwrap();
    let message_secret = lane.agree(&keys.decryption, point).await.unwrap();
    let random = lane.random(100).await.unwrap();
    let stored = fields(&keys.to_bytes());
    let mut secrets = vec![opened.expose().to_vec(), serial_secret.expose().to_vec()];
    secrets.extend([message_secret.expose().to_vec(), random[..32].to_vec()]);
    // The decryption key's authorisation, the counter's, and last the signing key's.
    secrets.extend([stored[15].clone(), stored[17].clone(), stored[11].clone()]);
    assert!(secrets.iter().all(|secret| secret.len() == 32));
    (keys, secrets)
}

#[tokio::test]
async fn every_kind_of_ek_opens_its_credential() {
    let chip = Swtpm::start();
    for kind in EkKind::ALL {
        let hardware = open(&chip.tcti());
        let (keys, _) = whole_life(&hardware.lane(0), Some(kind)).await;
        hardware.lane(0).undefine_counter(&keys).await.unwrap();
        assert_eq!(hardware.lane(0).counter(&keys).await.unwrap(), None);
        hardware.close().await;
    }
}

#[tokio::test]
async fn a_credential_for_another_is_rejected() {
    let (chip, other) = (Swtpm::start(), Swtpm::start());
    let lane = open(&chip.tcti()).lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    let ak = Public::parse(keys.attestation.public()).unwrap().name().clone();
    let signing = Public::parse(keys.signing.public()).unwrap().name().clone();
    let own = EndorsementKey::parse(&ek.public).unwrap();
    let others = open(&other.tcti()).lane(0).endorsement_key(None).await.unwrap();
    let others = EndorsementKey::parse(&others.public).unwrap();
    let activate = async |ek: &EndorsementKey, name| {
        let made = make_credential(ek, name, &[5; 32], &mut OsRng).unwrap();
        lane.activate(&keys, made.credential_blob, made.encrypted_secret).await
    };
    assert_eq!(activate(&own, &ak).await.unwrap().expose(), &[5; 32]);
    assert_eq!(activate(&own, &signing).await.unwrap_err().code(), "rejected");
    assert_eq!(activate(&others, &ak).await.unwrap_err().code(), "rejected");
    assert_eq!(activate(&own, &ak).await.unwrap().expose(), &[5; 32], "and goes on");
}

#[tokio::test]
async fn a_whole_life_with_both_authorisations_set() {
    let chip = Swtpm::start();
    chip.tool("tpm2_changeauth", &["-c", "owner", "owner-secret"]);
    chip.tool("tpm2_changeauth", &["-c", "endorsement", "endorsement-secret"]);
    let config = |owner: &str, endorsement: &str| Config {
        owner: AuthValue::new(owner.into()).unwrap(),
        endorsement: AuthValue::new(endorsement.into()).unwrap(),
        ..Config::new(chip.tcti().parse().unwrap())
    };
    for kind in [EkKind::Rsa2048, EkKind::EccP384] {
        let hardware = Hardware::open(config("owner-secret", "endorsement-secret")).unwrap();
        let lane = hardware.lane(0);
        let (keys, _) = whole_life(&lane, Some(kind)).await;
        lane.undefine_counter(&keys).await.unwrap();
        let description = lane.describe().await.unwrap();
        assert!(description.owner_authorisation && description.endorsement_authorisation);
        hardware.close().await;
    }
    for (owner, endorsement, hierarchy) in [
        ("", "endorsement-secret", Hierarchy::Owner),
        ("owner-secret", "wrong", Hierarchy::Endorsement),
    ] {
        let hardware = Hardware::open(config(owner, endorsement)).unwrap();
        let lane = hardware.lane(0);
        let ek = lane.endorsement_key(None).await.unwrap();
        let error = lane.create_keys(&ek).await.unwrap_err();
        assert_eq!(error, Error::Unauthorised { hierarchy, command: "TPM2_CreatePrimary" });
        hardware.close().await;
    }
}

#[tokio::test]
async fn a_locked_out_chip_still_works_for_us() {
    let chip = Swtpm::start();
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("protected").to_string_lossy().into_owned();
    let hardware = open(&chip.tcti());
    let (keys, _) = whole_life(&hardware.lane(0), None).await;
    hardware.close().await;

    let one_try = ["-s", "-n", "1", "-t", "1000", "-l", "1000"];
    chip.tool("tpm2_dictionarylockout", &one_try);
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt";
    let protected = ["-C", "o", "-p", "right", "-a", attributes, "-c", &context];
    chip.tool("tpm2_createprimary", &protected);
    let guess = ["-C", &context, "-P", "wrong", "-u", "/dev/null", "-r", "/dev/null"];
    assert!(!chip.try_tool("tpm2_create", &guess).status.success());

    let lane = open(&chip.tcti()).lane(0);
    let lockout = lane.describe().await.unwrap().lockout;
    assert!(lockout.locked_out, "{lockout:?}");
    assert_eq!((lockout.failures, lockout.failures_allowed), (1, 1));
    sign_and_verify(&lane, &keys.signing, b"locked out").await;
    let (_, point) = peer();
    lane.agree(&keys.decryption, point).await.unwrap();
    lane.agree_serial(&keys, point).await.unwrap();
    lane.certify(&keys, &keys.signing, [2; 32]).await.unwrap();
    lane.increment_counter(&keys).await.unwrap();
    assert_eq!(lane.describe().await.unwrap().lockout.failures, 1, "left alone");
}

#[tokio::test]
async fn a_probe_on_the_bus_sees_no_secret() {
    let chip = Swtpm::start();
    chip.tool("tpm2_changeauth", &["-c", "owner", "owner-secret"]);
    chip.tool("tpm2_changeauth", &["-c", "endorsement", "endorsement-secret"]);
    let tap = Tap::on(&chip);
    let mut config = Config::new(tap.tcti().parse().unwrap());
    config.owner = AuthValue::new(b"owner-secret".to_vec()).unwrap();
    config.endorsement = AuthValue::new(b"endorsement-secret".to_vec()).unwrap();
    let hardware = Hardware::open(config).unwrap();
    let lane = hardware.lane(0);
    let (keys, mut secrets) = whole_life(&lane, None).await;
    secrets.extend([b"owner-secret".to_vec(), b"endorsement-secret".to_vec()]);
    let seen = tap.exchanges();
    assert!(seen.len() > 40, "the tap sees everything: {}", seen.len());
    let decrypted = probe::readable(&seen);
    for (n, secret) in secrets.iter().enumerate() {
        let leaks: Vec<_> = seen.iter().filter(|exchange| holds(exchange, secret)).collect();
        assert!(leaks.is_empty(), "secret {n} in {:x?}", leaks[0].command_code());
        assert!(!probe::holds(&decrypted, secret), "secret {n} in a session that anybody can open");
    }

    // That it can see: signing goes by password, and shows the signing key's authorisation.
    sign_and_verify(&lane, &keys.signing, b"by password").await;
    let seen = tap.exchanges();
    let leaks: Vec<_> = seen.iter().filter(|exchange| holds(exchange, &secrets[6])).collect();
    assert!(!leaks.is_empty());
    assert!(leaks.iter().all(|exchange| exchange.command_code() == SIGN));
}

/// That the probe would see it: the same agreement, its answer encrypted in a session without a
/// salt, as many programs do it.
#[tokio::test]
async fn a_probe_on_the_bus_reads_what_an_unsalted_session_encrypts() {
    let chip = Swtpm::start();
    let lane_chip = open(&chip.tcti());
    let ek = lane_chip.lane(0).endorsement_key(None).await.unwrap();
    let keys = lane_chip.lane(0).create_keys(&ek).await.unwrap();
    let (_, point) = peer();
    let secret = lane_chip.lane(0).agree_serial(&keys, point).await.unwrap();
    lane_chip.close().await;
    let stored = fields(&keys.to_bytes());
    let tap = Tap::on(&chip);
    let mut raw = Raw::through(&tap);
    let serial = raw.primary(ENDORSEMENT, &template(&stored[7], &stored[6]));
    raw.agree_unsalted(serial, &[], &stored[7], &point);
    raw.flush(serial);
    let seen = tap.exchanges();
    assert!(!seen.iter().any(|exchange| holds(exchange, secret.expose())), "it is encrypted");
    assert!(probe::holds(&probe::readable(&seen), secret.expose()), "and the probe reads it");
}

fn holds(exchange: &Exchange, secret: &[u8]) -> bool {
    let within = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    within(&exchange.command) || within(&exchange.response)
}
