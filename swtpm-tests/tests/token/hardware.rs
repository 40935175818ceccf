//! The hardware crate on a token.

use rand_core::OsRng;
use twinseal_hardware::{ChipKeys, Error, Hardware, Kind, TokenFault};
use twinseal_scheme::keys::P256Private;
use twinseal_swtpm_tests::ModuleMishap;

use crate::rig::{Rig, signs};

#[tokio::test]
async fn keys_sign_and_agree_and_stay_when_the_session_ends() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    assert_eq!(lane.describe().await.expect("a description").kind, Kind::Token);
    let keys = lane.create_token_keys().await.expect("keys");
    assert_eq!(keys.identity, lane.token_identity().await.expect("a name"));
    assert!(keys.identity.serial().is_ok());
    let stored = ChipKeys::from(&keys).to_bytes();
    let stored = ChipKeys::from_bytes(&stored).expect("stored keys");
    // Of 300 agreements one or two begin with a zero.
    for _ in 0..300 {
        let other = P256Private::generate(&mut OsRng);
        let point = *other.public().point();
        let z = lane.agree(stored.decryption(), point).await.expect("an agreement");
        assert_eq!(z, other.agree(keys.decryption.public()).expect("a checked key"));
    }
    let other = P256Private::generate(&mut OsRng);
    let z = lane.agree_serial(&stored, *other.public().point()).await.expect("an agreement");
    assert_eq!(z, other.agree(keys.serial.public()).expect("a checked key"));
    // A new session, and the keys are found again.
    lane.recognise(&stored).await.expect("the same token");
    signs(&lane, &stored).await;
    hardware.close().await;
}

#[tokio::test]
async fn each_key_does_one_thing() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys().await.expect("keys");
    let point = *P256Private::generate(&mut OsRng).public().point();
    assert_eq!(lane.agree(&keys.signing, point).await.unwrap_err().code(), "failed");
    assert_eq!(lane.sign(&keys.decryption, [1; 32]).await.unwrap_err().code(), "failed");
    assert_eq!(lane.sign(&keys.serial, [1; 32]).await.unwrap_err().code(), "failed");
    // What belongs to TPMs is refused before the token is asked.
    assert_eq!(lane.endorsement_key(None).await.unwrap_err().code(), "incapable");
    assert!(lane.sign(&keys.signing, [1; 32]).await.is_ok());
}

#[tokio::test]
async fn another_token_and_lost_keys_are_told_apart() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys().await.expect("keys");
    let mut elsewhere = keys.clone();
    elsewhere.identity.number.push('0');
    assert_eq!(lane.recognise(&elsewhere).await.unwrap_err().code(), "replaced");
    lane.recognise(&keys).await.expect("the same token");
    lane.destroy_token_keys(&keys).await.expect("room again");
    lane.destroy_token_keys(&keys).await.expect("nothing to do");
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "cleared");
    assert_eq!(lane.sign(&keys.signing, [1; 32]).await.unwrap_err().code(), "cleared");
}

#[tokio::test]
async fn a_token_that_computes_something_else_is_found_out() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys().await.expect("keys");
    rig.module.set(ModuleMishap::Strange);
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "incapable");
    assert_eq!(lane.create_token_keys().await.unwrap_err().code(), "incapable");
    rig.module.set(ModuleMishap::None);
    lane.recognise(&keys).await.expect("itself again");
}

#[tokio::test]
async fn points_may_go_and_come_in_either_form() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    rig.module.set(ModuleMishap::Octets);
    let keys = ChipKeys::from(&lane.create_token_keys().await.expect("keys"));
    signs(&lane, &keys).await;
    lane.recognise(&keys).await.expect("the same token");
    rig.module.set(ModuleMishap::None);
    lane.recognise(&keys).await.expect("the same token");
}

#[tokio::test]
async fn a_token_that_cannot_or_is_full_says_so_and_keeps_nothing() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    rig.module.set(ModuleMishap::Unknown);
    let error = lane.create_token_keys().await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Incapable("ECDH on P-256".into())));
    rig.module.set(ModuleMishap::Full);
    let error = lane.create_token_keys().await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Full));
    rig.module.set(ModuleMishap::None);
    lane.create_token_keys().await.expect("room again");
}

#[tokio::test]
async fn a_token_that_is_taken_out_and_put_back_goes_on() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = ChipKeys::from(&lane.create_token_keys().await.expect("keys"));
    rig.module.set(ModuleMishap::Removed);
    let error = lane.sign(keys.signing(), [1; 32]).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Absent));
    assert!(error.to_string().contains("plug it in"), "{error}");
    rig.module.set(ModuleMishap::None);
    signs(&lane, &keys).await;
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once() {
    let rig = Rig::new();
    let config = rig.config_of(&rig.token.uri_by(&rig.module.path()), "wrong");
    let lane = Hardware::open_token(config).expect("a thread").lane(0);
    for _ in 0..3 {
        let error = lane.lockout().await.unwrap_err();
        assert_eq!(error, Error::Token(TokenFault::PinWrong));
        assert!(error.to_string().contains("hardware.pin_file"), "{error}");
    }
    assert_eq!(rig.module.logins(), 1);
}

#[tokio::test]
async fn no_such_token_no_such_module_and_no_program_for_it_are_told_apart() {
    let rig = Rig::new();
    assert!(rig.open().lane(0).lockout().await.is_ok());
    let module = rig.module.path();
    let elsewhere = format!("pkcs11:token=other?module-path={}", module.display());
    let mut nobody = rig.config();
    nobody.program = "/nowhere".into();
    for (config, what) in [
        (rig.config_of(&elsewhere, rig.token.pin()), "plug it in"),
        (rig.config_of("pkcs11:token=t?module-path=/nowhere.so", ""), "module-path"),
        (nobody, "cannot be started"),
    ] {
        let error = Hardware::open_token(config).expect("a thread").lane(0).lockout().await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), "absent");
        assert!(error.to_string().contains(what), "{error}");
    }
}
