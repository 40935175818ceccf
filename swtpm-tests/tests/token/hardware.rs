//! The hardware crate on a token: what is not the same on every chip (`tests/conformance`).

use twinseal_hardware::{
    AuthValue, ChipKeys, Config, Error, Hardware, TokenConfig, TokenFault, draw_token_ids,
};
use twinseal_swtpm_tests::{ModuleMishap, Swtpm};

use crate::rig::{Rig, signs};

#[tokio::test]
async fn keys_are_taken_out_of_the_token_that_they_name() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys(draw_token_ids()).await.expect("keys");
    assert_eq!(keys.identity, lane.token_identity().await.expect("a name"));
    assert!(keys.identity.serial().is_ok());
    assert_eq!(rig.token.public_keys().len(), 3);
    lane.destroy_in_token(keys.ids().to_vec()).await.expect("room again");
    assert!(rig.token.public_keys().is_empty());
    lane.destroy_in_token(keys.ids().to_vec()).await.expect("nothing to do");
}

#[tokio::test]
async fn a_token_that_computes_something_else_is_found_out() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = lane.create_token_keys(draw_token_ids()).await.expect("keys");
    rig.module.set(ModuleMishap::Strange);
    assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "incapable");
    assert_eq!(lane.create_token_keys(draw_token_ids()).await.unwrap_err().code(), "incapable");
    rig.module.set(ModuleMishap::None);
    lane.recognise(&keys).await.expect("itself again");
}

#[tokio::test]
async fn points_may_go_and_come_in_either_form() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    rig.module.set(ModuleMishap::Octets);
    let keys = ChipKeys::from(&lane.create_token_keys(draw_token_ids()).await.expect("keys"));
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
    let error = lane.create_token_keys(draw_token_ids()).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Incapable("ECDH on P-256, nor RSA-OAEP".into())));
    rig.module.set(ModuleMishap::Full);
    let error = lane.create_token_keys(draw_token_ids()).await.unwrap_err();
    assert_eq!(error, Error::Token(TokenFault::Full));
    rig.module.set(ModuleMishap::None);
    lane.create_token_keys(draw_token_ids()).await.expect("room again");
}

#[tokio::test]
async fn a_token_that_is_taken_out_and_put_back_goes_on() {
    let rig = Rig::new();
    let hardware = rig.open();
    let lane = hardware.lane(0);
    let keys = ChipKeys::from(&lane.create_token_keys(draw_token_ids()).await.expect("keys"));
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
async fn a_pin_that_is_asked_for_is_tried_once_and_kept() {
    let rig = Rig::new();
    let config = TokenConfig { pin: None, ..rig.config() };
    let lane = Hardware::open_token(config).expect("a thread").lane(0);
    let give = async |pin: &str| {
        lane.log_in(AuthValue::new(pin.as_bytes().to_vec()).expect("a PIN")).await
    };
    assert_eq!(lane.lockout().await, Err(Error::Token(TokenFault::PinWanted)));
    assert_eq!(rig.module.logins(), 0);
    for wrong in 1..=2 {
        assert_eq!(give("wrong").await, Err(Error::Token(TokenFault::PinWrong)));
        assert_eq!(lane.lockout().await, Err(Error::Token(TokenFault::PinWrong)));
        assert_eq!(rig.module.logins(), wrong);
    }
    assert_eq!(give(rig.token.pin()).await, Ok(()));
    assert!(lane.lockout().await.is_ok());
    assert_eq!(give("wrong").await, Err(Error::Token(TokenFault::PinUnwanted)));
    assert_eq!(rig.module.logins(), 3);

    rig.module.set(ModuleMishap::Removed);
    assert_eq!(lane.lockout().await, Err(Error::Token(TokenFault::Absent)));
    rig.module.set(ModuleMishap::None);
    assert!(lane.lockout().await.is_ok(), "nobody is asked again");
}

#[tokio::test]
async fn a_tpm_takes_no_pin() {
    let chip = Swtpm::start();
    let config = Config::new(chip.tcti().parse().expect("an address"));
    let lane = Hardware::open(config).expect("a thread").lane(0);
    let given = lane.log_in(AuthValue::default()).await;
    assert!(matches!(given, Err(Error::Misuse(_))), "{given:?}");
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

/// An operator's tool, or another agent, may be at the same token.
#[tokio::test]
async fn two_processes_at_one_token_see_what_the_other_does() {
    let rig = Rig::new();
    let (one, two) = (rig.open(), rig.open());
    let (one, two) = (one.lane(0), two.lane(0));
    two.lockout().await.expect("a session");
    let keys = one.create_token_keys(draw_token_ids()).await.expect("keys");
    let others = two.create_token_keys(draw_token_ids()).await.expect("keys");
    signs(&two, &ChipKeys::from(&keys)).await;
    signs(&one, &ChipKeys::from(&others)).await;
    one.destroy_in_token(keys.ids().to_vec()).await.expect("room again");
    assert_eq!(two.recognise(&keys).await.unwrap_err().code(), "cleared");
    assert_eq!(two.sign(&keys.signing, [1; 32]).await.unwrap_err().code(), "cleared");
    signs(&one, &ChipKeys::from(&others)).await;
    two.recognise(&others).await.expect("the same token");
}
