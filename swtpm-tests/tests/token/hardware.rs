//! The hardware crate on SoftHSM. A module and the tokens that it finds belong to a whole
//! process, so each test runs in a child.

use std::process::Command;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_hardware::{
    AuthValue, ChipKeys, Error, Hardware, Kind, Lane, Limits, TokenConfig, TokenFault,
};
use twinseal_scheme::keys::{P256Private, SigningPublic};
use twinseal_swtpm_tests::module::{own_logins, set_own};
use twinseal_swtpm_tests::{Module, ModuleMishap, Token, is_child, rerun};

/// In a child, with a token whose module may misbehave.
fn on_token(test: &str, work: impl AsyncFnOnce(Hardware)) {
    on_token_with(test, None, work);
}

/// As [`on_token`], with another PIN than the right one.
fn on_token_with(test: &str, pin: Option<&str>, work: impl AsyncFnOnce(Hardware)) {
    if !is_child() {
        let token = Token::start();
        let module = Module::before(&token);
        return rerun(test, |program| {
            let mut child = Command::new(program);
            child.envs(token.environment()).envs(module.environment());
            child.env("TOKEN", token.uri_by(&module.path())).env("PIN", token.pin());
            child
        });
    }
    let of = |name: &str| std::env::var(name).expect("a variable of the parent");
    let pin = pin.map_or_else(|| of("PIN"), str::to_owned);
    let config = TokenConfig {
        address: of("TOKEN").parse().expect("an address"),
        pin: AuthValue::new(pin.into_bytes()).expect("a PIN"),
        limits: Limits { deadline: Duration::from_secs(5), ..Limits::default() },
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hardware = Hardware::open_token(config).expect("a thread");
    runtime.block_on(work(hardware));
}

async fn signs(lane: &Lane, keys: &ChipKeys) {
    let mut message = [0; 40];
    OsRng.fill_bytes(&mut message);
    let ChipKeys::Token(of_token) = keys else { panic!("keys of a token") };
    let digest = Sha256::digest(message).into();
    let signature = lane.sign(keys.signing(), digest).await.expect("a signature");
    let public = SigningPublic::Es256(of_token.signing.public().clone());
    assert!(public.has_signed(&message, &signature));
}

#[test]
fn keys_sign_and_agree_and_stay_when_the_session_ends() {
    let test = "hardware::keys_sign_and_agree_and_stay_when_the_session_ends";
    on_token(test, async |hardware| {
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
    });
}

#[test]
fn each_key_does_one_thing() {
    on_token("hardware::each_key_does_one_thing", async |hardware| {
        let lane = hardware.lane(0);
        let keys = lane.create_token_keys().await.expect("keys");
        let point = *P256Private::generate(&mut OsRng).public().point();
        assert_eq!(lane.agree(&keys.signing, point).await.unwrap_err().code(), "failed");
        assert_eq!(lane.sign(&keys.decryption, [1; 32]).await.unwrap_err().code(), "failed");
        assert_eq!(lane.sign(&keys.serial, [1; 32]).await.unwrap_err().code(), "failed");
        // What belongs to TPMs is refused before the token is asked.
        assert_eq!(lane.endorsement_key(None).await.unwrap_err().code(), "incapable");
        assert!(lane.sign(&keys.signing, [1; 32]).await.is_ok());
    });
}

#[test]
fn another_token_and_lost_keys_are_told_apart() {
    on_token("hardware::another_token_and_lost_keys_are_told_apart", async |hardware| {
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
    });
}

#[test]
fn a_token_that_computes_something_else_is_found_out() {
    on_token("hardware::a_token_that_computes_something_else_is_found_out", async |hardware| {
        let lane = hardware.lane(0);
        let keys = lane.create_token_keys().await.expect("keys");
        set_own(ModuleMishap::Strange);
        assert_eq!(lane.recognise(&keys).await.unwrap_err().code(), "incapable");
        assert_eq!(lane.create_token_keys().await.unwrap_err().code(), "incapable");
        set_own(ModuleMishap::None);
        lane.recognise(&keys).await.expect("itself again");
    });
}

#[test]
fn points_may_go_and_come_in_either_form() {
    on_token("hardware::points_may_go_and_come_in_either_form", async |hardware| {
        let lane = hardware.lane(0);
        set_own(ModuleMishap::Octets);
        let keys = ChipKeys::from(&lane.create_token_keys().await.expect("keys"));
        signs(&lane, &keys).await;
        lane.recognise(&keys).await.expect("the same token");
        set_own(ModuleMishap::None);
        lane.recognise(&keys).await.expect("the same token");
    });
}

#[test]
fn a_token_that_cannot_or_is_full_says_so_and_keeps_nothing() {
    let test = "hardware::a_token_that_cannot_or_is_full_says_so_and_keeps_nothing";
    on_token(test, async |hardware| {
        let lane = hardware.lane(0);
        set_own(ModuleMishap::Unknown);
        let error = lane.create_token_keys().await.unwrap_err();
        assert_eq!(error, Error::Token(TokenFault::Incapable("ECDH on P-256")));
        set_own(ModuleMishap::Full);
        let error = lane.create_token_keys().await.unwrap_err();
        assert_eq!(error, Error::Token(TokenFault::Full));
        set_own(ModuleMishap::None);
        lane.create_token_keys().await.expect("room again");
    });
}

#[test]
fn a_token_that_is_taken_out_and_put_back_goes_on() {
    on_token("hardware::a_token_that_is_taken_out_and_put_back_goes_on", async |hardware| {
        let lane = hardware.lane(0);
        let keys = ChipKeys::from(&lane.create_token_keys().await.expect("keys"));
        set_own(ModuleMishap::Removed);
        let error = lane.sign(keys.signing(), [1; 32]).await.unwrap_err();
        assert_eq!(error, Error::Token(TokenFault::Absent));
        assert!(error.to_string().contains("plug it in"), "{error}");
        set_own(ModuleMishap::None);
        signs(&lane, &keys).await;
    });
}

#[test]
fn a_module_that_hangs_holds_up_nobody_but_its_own_thread() {
    let test = "hardware::a_module_that_hangs_holds_up_nobody_but_its_own_thread";
    on_token(test, async |hardware| {
        let lane = hardware.lane(0).within(Duration::from_millis(300));
        let keys = ChipKeys::from(&hardware.lane(0).create_token_keys().await.expect("keys"));
        set_own(ModuleMishap::Hang);
        let hanging = lane.sign(keys.signing(), [1; 32]).await;
        assert_eq!(hanging, Err(Error::Deadline));
        let waiting = hardware.lane(7).within(Duration::from_millis(100)).lockout().await;
        assert_eq!(waiting, Err(Error::Deadline));
        set_own(ModuleMishap::None);
        signs(&hardware.lane(7), &keys).await;
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    on_token_with("hardware::a_wrong_pin_is_tried_once", Some("wrong"), async |hardware| {
        let lane = hardware.lane(0);
        set_own(ModuleMishap::None);
        for _ in 0..3 {
            let error = lane.lockout().await.unwrap_err();
            assert_eq!(error, Error::Token(TokenFault::PinWrong));
            assert!(error.to_string().contains("hardware.pin_file"), "{error}");
        }
        assert_eq!(own_logins(), 1);
    });
}

#[test]
fn no_such_token_and_no_such_module_are_told_apart() {
    on_token("hardware::no_such_token_and_no_such_module_are_told_apart", async |hardware| {
        assert!(hardware.lane(0).lockout().await.is_ok());
        let module = std::env::var("TOKEN").expect("a variable of the parent");
        let module = module.split("module-path=").nth(1).expect("a module").to_owned();
        for (address, what) in [
            (format!("pkcs11:token=other?module-path={module}"), "plug it in"),
            ("pkcs11:token=t?module-path=/nowhere.so".to_owned(), "module-path"),
        ] {
            let config = TokenConfig {
                address: address.parse().expect("an address"),
                pin: AuthValue::default(),
                limits: Limits::default(),
            };
            let error = Hardware::open_token(config).expect("a thread").lane(0).lockout().await;
            let error = error.unwrap_err();
            assert_eq!(error.code(), "absent");
            assert!(error.to_string().contains(what), "{error}");
        }
    });
}
