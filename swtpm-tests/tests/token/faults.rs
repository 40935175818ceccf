//! What an agent says of a token that is not as it should be.

use twinseal_swtpm_tests::till::{APP, SERVICE, Till};
use twinseal_swtpm_tests::{Device, Module, ModuleMishap, Token, World};

#[test]
fn a_wrong_pin_is_said_and_tried_once_and_printed_nowhere() {
    let world = World::start();
    let mut till = Till::with_chip(&world, "pin", Token::start());
    till.device.token().set_pin("not the secret word");
    till.device.restart_agent();
    let message = till.wait_for("ChipUnauthorised");
    assert!(message.contains("hardware.pin_file"), "{message}");
    let right = till.device.token().pin();
    till.device.token().set_pin(right);
    till.device.restart_agent();
    till.wait_for("Active");
    till.trades("with the right one");
    for word in ["not the secret word", right] {
        assert!(!till.device.agent_log().contains(word));
    }
}

#[test]
fn a_token_taken_out_is_missed_and_welcome_back() {
    let world = World::start();
    let token = Token::start();
    let module = Module::before(&token);
    let builder = Device::builder().chip(token).module(&module);
    let till = Till::of_device(&world, "removed", builder);
    module.set(ModuleMishap::Removed);
    let refused = till.try_app(APP, &["trade", "open", SERVICE], "");
    assert!(!refused.status.success());
    let message = till.wait_for("ChipAbsent");
    assert!(message.contains("plug it in"), "{message}");
    module.set(ModuleMishap::None);
    till.wait_for("Active");
    till.trades("back again");
}

#[test]
fn a_module_that_hangs_leaves_the_agent_up() {
    let world = World::start();
    let token = Token::start();
    let module = Module::before(&token);
    let builder = Device::builder().chip(token).module(&module).hardware("deadline_ms = 1000");
    let till = Till::of_device(&world, "hangs", builder);
    module.set(ModuleMishap::Hang);
    let refused = till.try_app(APP, &["trade", "open", SERVICE], "");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stdout).into_owned()
        + &String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("hangs"), "{said}");
    // Whoever does not need the token is served.
    assert!(till.app(&["trade", "list"], "")["trades"].is_array());
    module.set(ModuleMishap::None);
    till.wait_for("Active");
    till.trades("it has come back");
}

#[test]
fn another_token_is_not_the_device() {
    let world = World::start();
    let mut till = Till::with_chip(&world, "one", Token::start());
    till.device.kill_agent();
    let other = Device::builder().chip(Token::start()).state_of(&till.device).start();
    twinseal_swtpm_tests::till::until("another token", || {
        (other.state() == "ChipReplaced").then_some(())
    });
    till.device.restart_agent();
    till.wait_for("Active");
    till.trades("the true one");
}
