//! Whose keys they are: another chip, another seed, a cleared chip, and what still works there.

use std::path::Path;

use twinseal_hardware::{Change, DeviceKeys, Ek, EkKind, Error, Hardware};
use twinseal_scheme::tpm::Public;
use twinseal_swtpm_tests::{EkAuthority, Swtpm, Tap};

use crate::eyes::{fields, join, open, p256, peer, sign_and_verify};

async fn enrolled(chip: &Swtpm) -> (Hardware, DeviceKeys) {
    let hardware = open(&chip.tcti());
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    lane.define_counter(&keys).await.unwrap();
    (hardware, keys)
}

/// The check above is the agent's own. This one is the chip's: the blob itself does not load.
#[tokio::test]
async fn the_blobs_do_not_load_in_another_chip() {
    let (chip, other) = (Swtpm::start(), Swtpm::start());
    let (hardware, keys) = enrolled(&chip).await;
    hardware.close().await;
    let stored = fields(&keys.signing.to_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        let size = u16::try_from(content.len()).unwrap().to_be_bytes();
        std::fs::write(&path, [&size, content].concat()).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (public, private) = (file("public", &stored[2]), file("private", &stored[3]));
    let parent = folder.path().join("srk").to_string_lossy().into_owned();
    let loaded = folder.path().join("loaded").to_string_lossy().into_owned();
    for (chip, is_true) in [(&chip, true), (&other, false)] {
        let attributes =
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
        let unique = folder.path().join("unique");
        std::fs::write(&unique, tpms_ecc_point(&[0; 32])).unwrap();
        let unique = unique.to_string_lossy().into_owned();
        let srk =
            ["-C", "o", "-G", "ecc256:aes128cfb", "-u", &unique, "-a", attributes, "-c", &parent];
        chip.tool("tpm2_createprimary", &srk);
        let load = ["-C", &parent, "-u", &public, "-r", &private, "-c", &loaded];
        let output = chip.try_tool("tpm2_load", &load);
        assert_eq!(output.status.success(), is_true, "{output:?}");
        if !is_true {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("0x1DF"), "the parent's integrity check: {said}");
        }
    }
}

/// What the whole scheme stands on: the serial key dies with the endorsement seed, although every
/// other key of the true device is there and works.
#[tokio::test]
async fn a_changed_endorsement_seed_keeps_the_signing_key_and_changes_the_secret() {
    let chip = Swtpm::start();
    let (hardware, keys) = enrolled(&chip).await;
    let (private, point) = peer();
    let secret = hardware.lane(0).agree_serial(&keys, point).await.unwrap();
    assert_eq!(secret, private.agree(&p256(keys.serial.public())).unwrap());
    hardware.close().await;

    let impostor = chip.copy();
    impostor.change_endorsement_seed();
    let hardware = open(&impostor.tcti());
    let lane = hardware.lane(0);
    sign_and_verify(&lane, &keys.signing, b"signed with the true key").await;
    let (private, other_point) = peer();
    let shared = lane.agree(&keys.decryption, other_point).await.unwrap();
    assert_eq!(shared, private.agree(&p256(keys.decryption.public())).unwrap());
    let replaced = Error::Changed(Change::Replaced);
    assert_eq!(lane.recognise(&keys).await.unwrap_err(), replaced);
    assert_eq!(lane.agree_serial(&keys, point).await.unwrap_err(), replaced);
    assert_eq!(lane.certify(&keys, &keys.signing, [0; 32]).await.unwrap_err(), replaced);
    hardware.close().await;

    // An agent that does not compare gets as far as the chip lets it.
    let mut stored = fields(&keys.to_bytes());
    assert_eq!(stored[7], keys.serial.public());
    assert_eq!(serial_public(&chip, &stored[6]), stored[7], "how the true chip makes it");
    stored[7] = serial_public(&impostor, &stored[6]);
    let careless = DeviceKeys::from_bytes(&join(&stored)).unwrap();
    let lane = open(&impostor.tcti()).lane(0);
    let wrong = lane.agree_serial(&careless, point).await.unwrap();
    assert_ne!(wrong, secret);
}

#[tokio::test]
async fn a_cleared_chip_is_told_from_another() {
    let chip = Swtpm::start();
    let (hardware, keys) = enrolled(&chip).await;
    let before = hardware.lane(0).counter(&keys).await.unwrap().unwrap();
    hardware.close().await;
    chip.tool("tpm2_clear", &["-c", "p"]);

    let hardware = open(&chip.tcti());
    let lane = hardware.lane(0);
    let cleared = Error::Changed(Change::Cleared);
    assert_eq!(lane.recognise(&keys).await.unwrap_err(), cleared);
    assert_eq!(lane.sign(&keys.signing, [1; 32]).await.unwrap_err(), cleared);
    assert_eq!(lane.counter(&keys).await.unwrap(), None);
    let ek = lane.endorsement_key(None).await.unwrap();
    assert_eq!(ek.public, keys.ek_public, "the same chip can enrol again");
    let again = lane.create_keys(&ek).await.unwrap();
    assert_ne!(again.srk_public, keys.srk_public);
    assert!(lane.define_counter(&again).await.unwrap() > before, "counters never go back");
}

#[tokio::test]
async fn the_ek_is_the_preferred_one_with_a_certificate_unless_it_is_forced() {
    let both = Swtpm::builder().intermediate().start();
    let lane = open(&both.tcti()).lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    assert_eq!(ek.kind, EkKind::EccP384);
    assert_eq!(ek.intermediates, [EkAuthority::shared().issuing_der()]);
    for kind in EkKind::ALL {
        let forced = lane.endorsement_key(Some(kind)).await.unwrap();
        assert_eq!(forced.kind, kind);
        let certified = [EkKind::EccP384, EkKind::Rsa2048].contains(&kind);
        assert_eq!(forced.certificate.is_some(), certified, "{kind:?}");
        assert_accepted(&forced);
    }

    let rsa = Swtpm::builder().only(twinseal_swtpm_tests::EkKind::Rsa2048).start();
    let ek = open(&rsa.tcti()).lane(0).endorsement_key(None).await.unwrap();
    assert_eq!((ek.kind, ek.certificate.is_some()), (EkKind::Rsa2048, true));

    let none = Swtpm::builder().no_certificates().start();
    let ek = open(&none.tcti()).lane(0).endorsement_key(None).await.unwrap();
    assert_eq!((ek.kind, ek.certificate), (EkKind::EccP256, None));
}

/// The choice is for life: what the chip cannot do is passed over, a fault of the moment is not.
#[tokio::test]
async fn a_passing_fault_does_not_choose_another_ek() {
    const TPM_RC_FAILURE: u32 = 0x101;
    const TPM_RC_CURVE: u32 = 0x2e6;
    let chip = Swtpm::builder().no_certificates().start();
    let commands_before_creation = {
        let tap = Tap::on(&chip);
        let hardware = open(&tap.tcti());
        hardware.lane(0).endorsement_key(None).await.unwrap();
        hardware.close().await;
        let seen = tap.exchanges();
        let creation = seen.iter().position(|exchange| exchange.command_code() == 0x131);
        u32::try_from(creation.unwrap()).unwrap()
    };
    let choose = async |fault: u32| {
        let tap = Tap::on(&chip);
        tap.fail_after(commands_before_creation, fault);
        let hardware = open(&tap.tcti());
        let chosen = hardware.lane(0).endorsement_key(None).await;
        hardware.close().await;
        chosen.map(|ek| ek.kind)
    };
    assert_eq!(choose(TPM_RC_CURVE).await, Ok(EkKind::EccP256High));
    assert_eq!(choose(TPM_RC_FAILURE).await.unwrap_err().code(), "failed");
}

/// A persistent object that no EK template made is not taken for the EK.
#[tokio::test]
async fn a_stranger_at_the_ek_handle_is_passed_over() {
    let chip = Swtpm::start();
    let true_ek = {
        let hardware = open(&chip.tcti());
        let ek = hardware.lane(0).endorsement_key(Some(EkKind::EccP384)).await.unwrap();
        hardware.close().await;
        ek
    };
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("stranger").to_string_lossy().into_owned();
    chip.tool("tpm2_evictcontrol", &["-C", "o", "-c", "0x81010016"]);
    chip.tool("tpm2_createprimary", &["-C", "e", "-G", "ecc384", "-c", &context]);
    chip.tool("tpm2_evictcontrol", &["-C", "o", "-c", &context, "0x81010016"]);
    let ek = open(&chip.tcti()).lane(0).endorsement_key(Some(EkKind::EccP384)).await.unwrap();
    assert_eq!(ek, true_ek);
}

fn assert_accepted(ek: &Ek) {
    twinseal_scheme::tpm::EndorsementKey::parse(&ek.public)
        .unwrap_or_else(|reason| panic!("{:?}: {reason}", ek.kind));
    Public::parse(&ek.public).unwrap();
}

/// The serial key's TPMT_PUBLIC as tpm2-tools make it, so without our agent.
fn serial_public(chip: &Swtpm, unique: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("unique"), tpms_ecc_point(unique)).unwrap();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt";
    let (unique, context, public) = (path("unique"), path("context"), path("public"));
    let arguments =
        ["-C", "e", "-G", "ecc256:ecdh-sha256", "-u", &unique, "-a", attributes, "-c", &context];
    chip.tool("tpm2_createprimary", &arguments);
    chip.tool("tpm2_readpublic", &["-c", &context, "-f", "tss", "-o", &public]);
    chip.tool("tpm2_flushcontext", &["-t"]);
    let sized = std::fs::read(Path::new(&public)).unwrap();
    sized[2..].to_vec()
}

/// TPMU_PUBLIC_ID as tpm2-tools read it: the C structure, buffers of 128 bytes and all.
fn tpms_ecc_point(x: &[u8]) -> Vec<u8> {
    let coordinate = |value: &[u8]| {
        let mut buffer = u16::try_from(value.len()).unwrap().to_le_bytes().to_vec();
        buffer.extend(value);
        buffer.resize(130, 0);
        buffer
    };
    [coordinate(x), coordinate(&[0; 32])].concat()
}
