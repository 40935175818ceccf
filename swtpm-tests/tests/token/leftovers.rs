//! The agent is killed when a token has made keys and nobody knows them yet.

use twinseal_swtpm_tests::till::{Till, until};
use twinseal_swtpm_tests::{Desk, Device, Module, ModuleMishap, Token, User, World, enrol};

const ONE: User = User::App(2001);

fn device(world: &World) -> (Device, Module) {
    let token = Token::start();
    let module = Module::before(&token);
    (world.device(Device::builder().chip(token).module(&module)), module)
}

#[test]
fn an_enrolment_that_was_cut_short_leaves_no_keys() {
    let world = World::start();
    let (mut device, module) = device(&world);
    let link = world.link(&device);
    module.set(ModuleMishap::Orphan);
    assert!(enrol(&device, &link, &[]).is_err());
    assert_eq!(device.token().public_keys().len(), 1, "one was made");
    module.set(ModuleMishap::None);
    device.restart_agent();
    until("no keys", || device.token().public_keys().is_empty().then_some(()));
    assert_eq!(enrol(&device, &link, &[]), Ok(()));
    assert_eq!(device.token().public_keys().len(), 3);
}

#[test]
fn a_key_of_an_application_that_was_cut_short_is_gone_and_no_other() {
    let world = World::start();
    let token = Token::start();
    let module = Module::before(&token);
    let mut till = Till::of_device(&world, "cut", Device::builder().chip(token).module(&module));
    let kept = Desk::of(&till.device, ONE).create(&["kept"]);
    let before = till.device.token().objects();
    for algorithm in ["ecc-p256", "rsa-2048", "hmac-sha256"] {
        module.set(ModuleMishap::Orphan);
        let desk = Desk::of(&till.device, ONE);
        let (code, _) = desk.try_key(&["create", "lost", "--algorithm", algorithm]);
        assert_ne!(code, 0);
        assert!(till.device.token().objects().len() > before.len(), "{algorithm}");
        module.set(ModuleMishap::None);
        till.device.restart_agent();
        until("no leftovers", || (till.device.token().objects() == before).then_some(()));
    }
    let desk = Desk::of(&till.device, ONE);
    let digest = desk.put("digest", &[7; 32]);
    desk.key(&["sign", &kept, &digest, "--scheme", "ecdsa"]);
    assert_eq!(desk.key(&["list"])["keys"].as_array().expect("keys").len(), 1);
    till.wait_for("Active");
    till.trades("with the keys that it had");
}

#[test]
fn a_key_that_is_deleted_while_the_token_is_away_is_gone_when_it_is_back() {
    let world = World::start();
    let (device, module) = device(&world);
    let desk = Desk::of(&device, ONE);
    let [kept, lost] = [desk.create(&["kept"]), desk.create(&["lost"])];
    let both = device.token().objects().len();
    module.set(ModuleMishap::Removed);
    desk.key(&["delete", &lost]);
    assert_eq!(desk.key(&["list"])["keys"].as_array().expect("keys").len(), 1);
    assert_eq!(device.token().objects().len(), both);
    module.set(ModuleMishap::None);
    until("no leftovers", || (device.token().objects().len() == both - 2).then_some(()));
    // One that has no room says so, and keeps nothing.
    module.set(ModuleMishap::Full);
    let (_, refused) = desk.try_key(&["create", "more"]);
    assert_eq!(refused["error"]["kind"], "Rejected");
    assert!(refused["error"]["message"].as_str().expect("a sentence").contains("no room"));
    module.set(ModuleMishap::None);
    let digest = desk.put("digest", &[7; 32]);
    desk.key(&["sign", &kept, &digest, "--scheme", "ecdsa"]);
    assert_eq!(device.token().objects().len(), both - 2);
}
