//! A past that comes again: the same bytes, a closed epoch, a copy of the chip, a chip or a disk
//! that was put back. Each is told from the others (docs/threat-model.md).

use twinseal_swtpm_tests::till::{APP, SERVICE, Till, until};
use twinseal_swtpm_tests::{Api, Device, Reply, SavedDisk, Snapshot, User, World, bytes};

use crate::recover::{recovers, refused};

/// A message that the application carries itself.
fn sealed(till: &Till, trade: &str, message: &str) -> Vec<u8> {
    let path = format!("/u{}/trade/{trade}", APP.uid());
    let payload = bytes(message.as_bytes());
    let answer = till.device.call(APP, &path, "Trade.Seal", &[&payload, "@a{sv} {}"]).unwrap();
    let numbers = answer.split("0x").skip(1);
    numbers.map(|number| u8::from_str_radix(&number[..2], 16).unwrap()).collect()
}

/// Somebody brings an envelope to the server.
pub fn carried(world: &World, envelope: &[u8]) -> Reply {
    let anybody = Api::new(world.server().device_address(), "");
    anybody.send("POST", "/device/v1/message", envelope, "application/cose")
}

/// Until nothing waits: the server has the epoch.
fn settled(till: &Till) {
    till.wait_for("Active");
    till.device.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]).unwrap();
    let pending = || till.device.property(User::Root, "", "", "Pending").unwrap();
    until("an empty outbox", || {
        pending().ends_with(" 0").then_some(()).or_else(|| (pending() == "0").then_some(()))
    });
}

/// Chip and disk at one moment, the agent stopped.
fn snapshot(till: &mut Till) -> (Snapshot, SavedDisk) {
    till.device.kill_agent();
    (till.device.tpm().snapshot(), till.device.save_disk())
}

fn put_back(till: &mut Till, (chip, disk): &(Snapshot, SavedDisk)) {
    till.device.put_back_disk(disk);
    till.device.tpm_mut().roll_back(chip);
}

/// Resets of the chip, each of which counts in its clock once it has started up.
fn reset(till: &mut Till, times: u32) {
    for _ in 0..times {
        till.device.tpm_mut().restart();
        till.device.tpm().tool("tpm2_readclock", &[]);
    }
}

fn stands(world: &World, till: &Till, state: &str, alarm: &str) {
    let shown = till.shown(world);
    assert_eq!((&shown["state"], &shown["alarm"]), (&state.into(), &alarm.into()));
}

#[test]
fn the_same_bytes_are_answered_alike_and_count_once_also_after_their_epoch() {
    let world = World::start();
    let mut till = Till::enrol(&world, "again");
    let trade = till.open("serial");
    let (first, second) = (sealed(&till, &trade, "first"), sealed(&till, &trade, "second"));
    settled(&till);
    let answer = carried(&world, &first);
    assert_eq!(answer.status, 200);
    assert_eq!(carried(&world, &first), answer);
    till.device.restart_agent();
    settled(&till);
    assert_eq!(carried(&world, &first), answer, "of a closed epoch, too");
    // One that comes late is still taken.
    assert_eq!(carried(&world, &second).status, 200);
    assert_eq!(till.backend_receive(&trade, 0), ["first", "second"]);
    assert_eq!(till.shown(&world)["alarm"], serde_json::Value::Null);
}

#[test]
fn an_envelope_of_an_epoch_long_over_is_refused_and_alarms_nobody() {
    let world = World::start();
    let mut till = Till::enrol(&world, "stale");
    let trade = till.open("serial");
    let late = sealed(&till, &trade, "late");
    settled(&till);
    for _ in 0..=16 {
        assert_eq!(till.shown(&world)["state"], "active");
        till.device.restart_agent();
        settled(&till);
    }
    let answer = carried(&world, &late);
    // A stranger could have sent it: the outside is told nothing, the log the reason.
    assert_eq!((answer.status, answer.body.as_slice()), (403, &b"rejected"[..]));
    assert!(world.server().log().contains("reason=\"epoch-closed\""));
    assert_eq!(till.shown(&world)["alarm"], serde_json::Value::Null);
    till.trades("in time");
}

#[test]
fn a_copied_chip_that_runs_beside_the_true_one_is_a_clone() {
    let world = World::start();
    let mut till = Till::enrol(&world, "cloned");
    let (_, disk) = snapshot(&mut till);
    let thief = Device::builder().chip(till.device.tpm().copy()).service(SERVICE, &[APP]);
    let thief = thief.disk(&disk);
    till.device.restart_agent();
    settled(&till);
    let thief = world.device(thief);
    until("quarantine", || (thief.state() == "Suspended").then_some(()));
    stands(&world, &till, "quarantined", "epoch-clone");
    till.device.restart_agent();
    till.wait_for("Suspended");

    // Only the operator ends it, by a code for the true one; the copy's past is then over.
    refused(&world, &till, &[], "device-quarantined");
    recovers(&till, &[&world.link(&till.device)]);
    assert_eq!(till.shown(&world)["generation"], 2);
    till.trades("the true one");
    let before = world.server().log().len();
    let recover = thief.run(User::Operator, "twinseal", &["recover", &world.link(&thief)]);
    assert_eq!(recover.status.code(), Some(9), "{recover:?}");
    assert!(world.server().log()[before..].contains("serial-live"));
}

#[test]
fn a_device_that_was_put_back_whole_repeats_an_epoch_with_an_earlier_clock() {
    let world = World::start();
    let mut till = Till::enrol(&world, "back");
    let then = snapshot(&mut till);
    // So its clock has certainly gone further than one start.
    reset(&mut till, 2);
    till.device.restart_agent();
    settled(&till);
    put_back(&mut till, &then);
    till.device.restart_agent();
    till.wait_for("Suspended");
    stands(&world, &till, "quarantined", "epoch-rollback");
    recovers(&till, &[&world.link(&till.device)]);
    till.trades("after");
}

#[test]
fn a_later_epoch_with_an_earlier_clock_is_refused_until_the_clock_is_right() {
    let world = World::start();
    let mut till = Till::enrol(&world, "clock");
    let then = snapshot(&mut till);
    reset(&mut till, 4);
    till.device.restart_agent();
    settled(&till);
    put_back(&mut till, &then);
    till.device.wire().cut();
    till.device.restart_agent();
    till.device.restart_agent();
    till.device.wire().mend();
    until("an alarm", || (till.shown(&world)["alarm"] == "epoch-clock").then_some(()));
    stands(&world, &till, "active", "epoch-clock");
    // Nobody is accused: with a later clock the same device goes on.
    till.device.kill_agent();
    reset(&mut till, 4);
    till.device.restart_agent();
    settled(&till);
    till.trades("a right clock");
}

#[test]
fn a_disk_that_was_put_back_is_reported_and_may_repeat_but_not_change_what_it_said() {
    let world = World::start();
    let mut till = Till::enrol(&world, "disk");
    let trade = till.open("serial");
    till.send(&trade, "first");
    assert_eq!(till.backend_receive(&trade, 0), ["first"]);
    till.device.kill_agent();
    let then = till.device.save_disk();
    till.device.restart_agent();
    till.wait_for("Active");
    till.send(&trade, "second");
    assert_eq!(till.backend_receive(&trade, 2), ["second"]);

    till.device.restore_disk(&then);
    let message = till.wait_for("Active");
    assert!(message.contains("restored from a backup"), "{message}");
    till.send(&trade, "second");
    till.send(&trade, "third");
    let both = ["second", "third"];
    until("the third", || (till.backend_receive(&trade, 2).len() > 1).then_some(()));
    assert_eq!(till.backend_receive(&trade, 2), both, "once each");
    assert_eq!(till.shown(&world)["alarm"], serde_json::Value::Null);

    till.device.restore_disk(&then);
    till.wait_for("Active");
    till.send(&trade, "something else");
    until("an alarm", || (till.shown(&world)["alarm"] == "disk-rollback").then_some(()));
    until("the end of the trade", || {
        let listed = till.app(&["trade", "list"], "");
        (listed["trades"][0]["state"] == "Refused").then_some(())
    });
    assert_eq!(till.backend_receive(&trade, 2), both);
    stands(&world, &till, "active", "disk-rollback");
    till.trades("another");
}
