//! The chip's whole part of an enrolment, of a start after a kill, and of messages.

use std::process::Command;

use rand_core::OsRng;
use twinseal_hardware::{Certification, DeviceKeys, EkKind, Hardware, Key, Lane};
use twinseal_scheme::tpm::{
    Attest, EndorsementKey, Hierarchy, Public, QualifiedName, Signature, make_credential,
};
use twinseal_swtpm_tests::{Abrmd, Swtpm, is_child, rerun, rerun_command};

use crate::eyes::{open, p256, peer, sign_and_verify};

const TCTI: &str = "TEST_TCTI";
const STATE: &str = "TEST_STATE";
const EK: &str = "TEST_EK";

#[test]
fn rsa_2048_on_a_bare_chip() {
    bare("rsa-2048", "enrolment::rsa_2048_on_a_bare_chip");
}

#[test]
fn p_384_on_a_bare_chip() {
    bare("ecc-p384", "enrolment::p_384_on_a_bare_chip");
}

#[test]
fn rsa_2048_through_a_resource_manager() {
    managed("rsa-2048", "enrolment::rsa_2048_through_a_resource_manager");
}

#[test]
fn p_384_through_a_resource_manager() {
    managed("ecc-p384", "enrolment::p_384_through_a_resource_manager");
}

fn bare(ek: &str, test: &str) {
    if is_child() {
        return device();
    }
    let chip = Swtpm::builder().intermediate().start();
    let state = tempfile::tempdir().unwrap();
    let child = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command.env(TCTI, chip.tcti()).env(STATE, state.path()).env(EK, ek);
        command
    };
    let killed = rerun_command(test, child).output().unwrap();
    assert!(!killed.status.success() && state.path().join("keys").exists(), "{killed:?}");
    let left = chip.tool("tpm2_getcap", &["handles-transient"]);
    assert_eq!(left.lines().count(), 2, "what a killed owner leaves: {left}");
    let left = chip.tool("tpm2_getcap", &["handles-loaded-session"]);
    assert_eq!(left.lines().count(), 1, "what a killed owner leaves: {left}");
    rerun(test, child);
    for handles in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
        assert_eq!(chip.tool("tpm2_getcap", &[handles]), "", "{handles} after an orderly end");
    }
}

fn managed(ek: &str, test: &str) {
    if is_child() {
        return device();
    }
    let chip = Swtpm::builder().intermediate().start();
    let abrmd = Abrmd::start(&chip);
    let state = tempfile::tempdir().unwrap();
    let child = |program: &std::path::Path| {
        let mut command = abrmd.command(program);
        command.env(TCTI, Abrmd::TCTI).env(STATE, state.path()).env(EK, ek);
        command
    };
    let killed = rerun_command(test, child).output().unwrap();
    assert!(!killed.status.success() && state.path().join("keys").exists(), "{killed:?}");
    rerun(test, child);
}

/// A device's process: the first enrols and is killed, the second starts from the stored keys.
#[tokio::main(flavor = "current_thread")]
async fn device() {
    let hardware = open(&std::env::var(TCTI).unwrap());
    let stored = std::path::PathBuf::from(std::env::var(STATE).unwrap()).join("keys");
    match std::fs::read(&stored) {
        Ok(bytes) => start(&hardware, &DeviceKeys::from_bytes(&bytes).unwrap()).await,
        Err(_) => {
            let kind = serde_json::from_value(std::env::var(EK).unwrap().into()).unwrap();
            let keys = enrol(&hardware.lane(0), kind).await;
            std::fs::write(&stored, keys.to_bytes()).unwrap();
            work(&hardware.lane(0), &keys).await;
            std::process::abort();
        }
    }
}

async fn enrol(lane: &Lane, kind: EkKind) -> DeviceKeys {
    let preferred = lane.endorsement_key(None).await.unwrap();
    assert_eq!(preferred.kind, EkKind::EccP384, "the fixture's chips have RSA-2048 and P-384");
    let ek = lane.endorsement_key(Some(kind)).await.unwrap();
    let public = EndorsementKey::parse(&ek.public).unwrap();
    let certificate = ek.certificate.clone().unwrap();
    assert!(contains(&certificate, &public.key().spki_der()), "the certificate is of this EK");
    assert_eq!(ek.intermediates.len(), 1);

    let keys = lane.create_keys(&ek).await.unwrap();
    let mut names = vec![Public::parse(&keys.srk_public).unwrap().name().clone()];
    for key in [keys.attestation.public(), keys.serial.public()] {
        names.push(Public::parse(key).unwrap().name().clone());
    }
    for key in [&keys.signing, &keys.decryption] {
        let name = Public::parse(key.public()).unwrap().name().clone();
        let attest = certify_and_verify(lane, &keys, key.into(), key.public(), [7; 32]).await;
        let srk = QualifiedName::primary(Hierarchy::Owner, &names[0]);
        assert_eq!(attest.qualified_name, srk.child(&name).as_bytes());
        names.push(name);
    }
    let serial = Key::from(&keys.serial);
    let attest = certify_and_verify(lane, &keys, serial, keys.serial.public(), [8; 32]).await;
    let expected = QualifiedName::primary(Hierarchy::Endorsement, &names[2]);
    assert_eq!(attest.qualified_name, expected.as_bytes());
    let different: std::collections::HashSet<_> =
        names.iter().map(|name| name.as_bytes().to_vec()).collect();
    assert_eq!(different.len(), 5, "five keys, five Names");
    let firmware = lane.describe().await.unwrap().firmware_version;
    assert_eq!(attest.firmware_version, firmware, "not obfuscated");

    let credential = make_credential(&public, &names[1], &[42; 32], &mut OsRng).unwrap();
    let secret = lane
        .activate(&keys, credential.credential_blob, credential.encrypted_secret)
        .await
        .unwrap();
    assert_eq!(secret.expose(), &[42; 32]);
    let first = lane.define_counter(&keys).await.unwrap();
    assert_eq!(lane.define_counter(&keys).await.unwrap(), first, "defining again changes nothing");
    keys
}

async fn start(hardware: &Hardware, keys: &DeviceKeys) {
    let lane = hardware.lane(0);
    lane.recognise(keys).await.unwrap();
    let (peer, point) = peer();
    let shared = lane.agree_serial(keys, point).await.unwrap();
    assert_eq!(shared, peer.agree(&p256(keys.serial.public())).unwrap());
    let before = lane.counter(keys).await.unwrap().unwrap();
    assert_eq!(lane.increment_counter(keys).await.unwrap(), before + 1);
    let key = Key::from(&keys.signing);
    certify_and_verify(&lane, keys, key, keys.signing.public(), [9; 32]).await;
    work(&lane, keys).await;
    let capacity = lane.describe().await.unwrap().capacity;
    assert!(capacity.objects_loaded <= 2, "{capacity:?}");
    hardware.close().await;
}

async fn work(lane: &Lane, keys: &DeviceKeys) {
    for message in [b"one".as_slice(), b"two", b"three"] {
        sign_and_verify(lane, &keys.signing, message).await;
        let (peer, point) = peer();
        let shared = lane.agree(&keys.decryption, point).await.unwrap();
        assert_eq!(shared, peer.agree(&p256(keys.decryption.public())).unwrap());
    }
}

/// Certifies, and checks all that a server checks: returns the attest.
async fn certify_and_verify(
    lane: &Lane,
    keys: &DeviceKeys,
    key: Key,
    public: &[u8],
    extra_data: [u8; 32],
) -> Attest {
    let Certification { attest, signature } = lane.certify(keys, key, extra_data).await.unwrap();
    let attestation = Public::parse(keys.attestation.public()).unwrap();
    Signature::parse(&signature).unwrap().verify(&attestation, &attest).unwrap();
    let attest = Attest::parse(&attest).unwrap();
    assert_eq!(attest.extra_data, extra_data);
    assert_eq!(attest.name, Public::parse(public).unwrap().name().as_bytes());
    let signer = QualifiedName::primary(Hierarchy::Endorsement, attestation.name());
    assert_eq!(attest.qualified_signer, signer.as_bytes());
    attest
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
