//! What an agent says of a token that is not as it should be.

use std::os::unix::fs::MetadataExt;

use twinseal_swtpm_tests::till::{APP, SERVICE, Till, until};
use twinseal_swtpm_tests::{Device, Module, ModuleMishap, Token, World};

use crate::rig::loaded_by;

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
    assert!(refused(&till).contains("hangs"));
    // Whoever does not need the token is served.
    assert!(till.app(&["trade", "list"], "")["trades"].is_array());
    module.set(ModuleMishap::None);
    till.wait_for("Active");
    till.trades("it was ended and started again");
}

#[test]
fn a_module_that_crashes_leaves_the_agent_up() {
    let world = World::start();
    let token = Token::start();
    let module = Module::before(&token);
    let builder = Device::builder().chip(token).module(&module);
    let till = Till::of_device(&world, "crashes", builder);
    module.set(ModuleMishap::Crash);
    assert!(refused(&till).contains("crashed"));
    let message = till.wait_for("ChipAbsent");
    assert!(message.contains("update the module"), "{message}");
    assert!(till.app(&["trade", "list"], "")["trades"].is_array());
    assert!(till.device.agent_log().contains("SIGSEGV"), "{}", till.device.agent_log());
    module.set(ModuleMishap::None);
    till.wait_for("Active");
    till.trades("started again");
}

/// What an application hears that wants something of the token.
fn refused(till: &Till) -> String {
    let refused = till.try_app(APP, &["trade", "open", SERVICE], "");
    assert!(!refused.status.success());
    String::from_utf8_lossy(&refused.stdout).into_owned()
        + &String::from_utf8_lossy(&refused.stderr)
}

#[test]
fn the_module_is_in_a_process_of_its_own_that_ends_with_the_agent() {
    let world = World::start();
    let token = Token::start();
    let (module, pin) = (Module::before(&token), token.pin());
    let builder = Device::builder().chip(token).module(&module);
    let mut till = Till::of_device(&world, "apart", builder);
    let agent = till.device.agent_pid();
    let [process] = loaded_by(&module)[..] else { panic!("{:?}", loaded_by(&module)) };
    assert_ne!(process, agent);
    let of = |pid: u32, file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).expect("a process");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for pid in [agent, process] {
        assert!(of(pid, "environ").contains("TWINSEAL_MODULE"), "the right process");
        assert!(!(of(pid, "cmdline") + &of(pid, "environ")).contains(pin));
        assert!(of(pid, "limits").lines().any(no_core_dumps), "{}", of(pid, "limits"));
        // Of one that is not dumpable the files are root's, whoever runs it.
        let owner = std::fs::metadata(format!("/proc/{pid}/environ")).expect("a process").uid();
        assert_eq!(owner, 0);
    }
    assert!(of(process, "status").contains(&format!("PPid:\t{agent}\n")));
    for mishap in [ModuleMishap::None, ModuleMishap::Hang] {
        module.set(mishap);
        if mishap == ModuleMishap::Hang {
            // In a call nobody would see that the agent is gone.
            let mut asks = till.device.command(APP, "twinseal");
            let mut asks = asks.args(["trade", "open", SERVICE]).spawn().expect("a program");
            until("a call that hangs", || (module.hangs() == 1).then_some(()));
            asks.kill().expect("our own program");
            asks.wait().expect("our own program");
        }
        assert_eq!(loaded_by(&module).len(), 1);
        till.device.kill_agent();
        until("the end of its process", || loaded_by(&module).is_empty().then_some(()));
        module.set(ModuleMishap::None);
        till.device.restart_agent();
        till.wait_for("Active");
    }
}

fn no_core_dumps(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.starts_with(&["Max", "core", "file", "size", "0"])
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
