//! `twinseal recover`: the same chip goes on as the device that it was, another becomes another.

use rusqlite::Connection;
use twinseal_swtpm_tests::till::{Till, text};
use twinseal_swtpm_tests::{Swtpm, User, World, enrol};

/// What the device's operator types; the exit code, and what was said.
pub fn recover(till: &Till, arguments: &[&str]) -> (Option<i32>, String) {
    let output = till.try_app(User::Operator, &[&["recover"], arguments].concat(), "");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

pub fn recovers(till: &Till, arguments: &[&str]) {
    let (code, said) = recover(till, arguments);
    assert_eq!(code, Some(0), "{said}\n{}", till.device.agent_log());
    till.wait_for("Active");
}

/// It is refused, and the server's log says why.
pub fn refused(world: &World, till: &Till, arguments: &[&str], code: &str) -> String {
    let before = world.server().log().len();
    let (exit, said) = recover(till, arguments);
    assert_eq!(exit, Some(9), "{said}");
    let log = world.server().log()[before..].to_owned();
    assert!(log.contains(&format!("reason=\"{code}\"")), "{log}");
    said
}

#[test]
fn a_device_proves_itself_by_its_old_key_and_goes_on_as_the_next_generation() {
    let world = World::start();
    let mut till = Till::enrol(&world, "proven");
    let trade = till.open("serial");
    till.send(&trade, "first");
    assert_eq!(till.backend_receive(&trade, 0), ["first"]);
    till.device.kill_agent();
    let before = till.device.save_disk();
    till.device.restart_agent();
    till.wait_for("Active");

    recovers(&till, &[]);
    let shown = till.shown(&world);
    assert_eq!((&shown["generation"], &shown["state"]), (&2.into(), &"active".into()));
    assert_eq!(shown["user_info"]["till"], "proven");
    till.send(&trade, "second");
    assert_eq!(till.backend_receive(&trade, 2), ["second"], "the trade goes on");

    // A copy of the disk of before names a generation that is over, also with a good code.
    till.device.restore_disk(&before);
    till.wait_for("ChipCleared");
    refused(&world, &till, &[], "serial-live");
    refused(&world, &till, &[&world.link(&till.device)], "serial-live");
    // And the key of before does not sign for the present generation.
    till.device.put_back_disk(&before);
    let state = till.device.state_dir().join("state.sqlite");
    let database = Connection::open(state).unwrap();
    assert_eq!(database.execute("UPDATE device SET generation = 2", []).unwrap(), 1);
    drop(database);
    till.device.restart_agent();
    till.wait_for("ChipCleared");
    refused(&world, &till, &[], "bad-re-enrolment");
    assert_eq!(till.shown(&world)["generation"], 2);
}

#[test]
fn an_agent_without_its_state_needs_the_operator() {
    let world = World::start();
    let till = Till::enrol(&world, "forgot");
    let copy = till.device.tpm().copy();
    let fresh = world.device(twinseal_swtpm_tests::Device::builder().chip(copy));
    let before = world.server().log().len();
    let refusal = enrol(&fresh, &world.link(&fresh), &[]).unwrap_err();
    assert!(refusal.contains("Rejected"), "{refusal}");
    assert!(world.server().log()[before..].contains("serial-live"));
    world.server().run(&["device", "readmit", &till.id]);
    let link = world.link(&fresh).split("&code=").next().unwrap().to_owned();
    enrol(&fresh, &link, &[("till", "forgot")]).unwrap();
    assert_eq!(till.shown(&world)["generation"], 2);
    // Once.
    let again =
        world.device(twinseal_swtpm_tests::Device::builder().chip(till.device.tpm().copy()));
    assert!(enrol(&again, &link, &[]).is_err());
}

#[test]
fn a_cleared_chip_keeps_what_it_owes_and_comes_back_with_the_operators_word() {
    let world = World::start();
    let mut till = Till::enrol(&world, "cleared");
    let trade = till.open("key");
    till.send(&trade, "first");
    assert_eq!(till.backend_receive(&trade, 0), ["first"]);
    till.device.wire().cut();
    till.send(&trade, "sealed before");
    till.device.tpm_mut().on_the_bench(Swtpm::clear);
    till.wait_for("ChipCleared");
    // What is finished travels without the chip.
    till.device.wire().mend();
    assert_eq!(till.backend_receive(&trade, 2), ["sealed before"]);

    let said = refused(&world, &till, &[], "serial-live");
    assert!(said.contains("device readmit"), "{said}");
    till.wait_for("ChipCleared");
    world.server().run(&["device", "readmit", &till.id]);
    recovers(&till, &[]);
    let shown = till.shown(&world);
    assert_eq!((&shown["generation"], &shown["state"]), (&2.into(), &"active".into()));
    till.send(&trade, "after");
    assert_eq!(till.backend_receive(&trade, 3), ["after"]);
    till.backend_send(&trade, "and back");
    assert_eq!(till.receive(&trade, 0), ["and back"]);
    assert_eq!(till.close(&world, &trade)["verified"], true);
    // The registration was good for once.
    till.device.tpm_mut().on_the_bench(Swtpm::clear);
    till.wait_for("ChipCleared");
    refused(&world, &till, &[], "serial-live");
}

#[test]
fn another_chip_becomes_another_device_and_what_the_old_one_owed_is_given_up_openly() {
    let world = World::start();
    let mut till = Till::enrol(&world, "replaced");
    let trade = till.open("serial");
    till.send(&trade, "first");
    assert_eq!(till.backend_receive(&trade, 0), ["first"]);
    till.device.wire().cut();
    till.send(&trade, "never sealed again");
    till.device.tpm_mut().trade_places(&mut Swtpm::start());
    till.wait_for("ChipReplaced");
    let link = world.link(&till.device);
    let (code, said) = recover(&till, &[&link]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("1 sealed messages"), "{said}");
    till.device.wire().mend();
    assert_eq!(till.backend_receive(&trade, 2), ["never sealed again"], "it needed no chip");

    let said = refused(&world, &till, &[], "not-admitted");
    assert!(said.contains("link with a code"), "{said}");
    recovers(&till, &[&link]);
    let of_both = world.server().run(&["device", "list", "--find", "till=replaced"]);
    let of_both = of_both["devices"].as_array().unwrap();
    let new = of_both.iter().map(|device| text(&device["device"])).find(|id| *id != till.id);
    assert_eq!(of_both.len(), 2);
    let trades = till.app(&["trade", "list"], "");
    assert_eq!(trades["trades"][0]["state"], "Refused");
    till.id = new.unwrap();
    till.trades("by the other chip");
}
