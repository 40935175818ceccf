//! A server whose database comes from a backup: it notices, and says openly what is over.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use twinseal_swtpm_tests::World;
use twinseal_swtpm_tests::till::{Till, api, text, until};

use crate::history::carried;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn mark(world: &World) -> i64 {
    let file = world.server().secrets_dir().join("high-water");
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn audit(world: &World) -> Value {
    world.server().run(&["audit", "--limit", "1000000"])
}

/// The envelopes that went up.
fn envelopes(till: &Till) -> Vec<Vec<u8>> {
    let calls = till.device.wire().calls().into_iter();
    calls.filter(|call| call.kind == "message").map(|call| call.request).collect()
}

/// Puts the database of before in the place of the present one. The server notices.
fn restore(world: &mut World, backup: &Path) {
    world.server_mut().kill();
    let data = world.server().data_dir();
    std::fs::remove_dir_all(&data).unwrap();
    copy(backup, &data);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--backend-listen", "127.0.0.1:0"];
    let refused = world.server().try_run(&serve);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("\"code\":\"restored\""), "{said}");
}

#[test]
fn what_a_restored_server_has_forgotten_ends_openly_and_old_messages_die() {
    let mut world = World::start();
    let mut till = Till::enrol(&world, "restored");
    let revoked = Till::enrol(&world, "revoked");
    let code = text(&world.server().run(&["code", "create"])["id"]);
    let trade = till.open("serial");
    till.send(&trade, "before");
    assert_eq!(till.backend_receive(&trade, 0), ["before"]);

    let backup = tempfile::tempdir().unwrap();
    world.server_mut().kill();
    copy(&world.server().data_dir(), backup.path());
    world.restart_server();
    till.use_api(api(&world));
    let before = envelopes(&till);
    till.device.restart_agent();
    till.wait_for("Active");
    till.send(&trade, "forgotten");
    assert_eq!(till.backend_receive(&trade, 2), ["forgotten"]);
    let forgotten = envelopes(&till).into_iter().filter(|envelope| !before.contains(envelope));
    let forgotten: Vec<Vec<u8>> = forgotten.collect();
    assert!(forgotten.len() >= 2, "an epoch-open and a message");
    world.server().run(&["device", "revoke", &revoked.id]);
    let audit = audit(&world);
    let last = audit["audit"].as_array().unwrap().last().unwrap()["id"].as_i64().unwrap();
    until("the mark", || (mark(&world) >= last).then_some(()));
    let exported = backup.path().join("audit.json");
    std::fs::write(&exported, audit.to_string()).unwrap();

    // This trade the server has never heard of.
    till.device.wire().cut();
    let unheard = till.open("key");
    till.send(&unheard, "kept");
    restore(&mut world, &backup.path().join("data"));
    let done = world.server().run(&["recover", "--audit", &exported.to_string_lossy()]);
    assert_eq!((&done["trades_ended"], &done["decisions"]), (&1.into(), &1.into()));
    let codes = world.server().run(&["code", "list"]);
    let codes = codes["codes"].as_array().unwrap();
    assert!(codes.iter().all(|code| code["state"] != "good"), "{code}: {codes:?}");
    world.restart_server();
    till.use_api(api(&world));
    // Somebody who has recorded what the server has forgotten brings it again.
    for envelope in &forgotten {
        let answer = carried(&world, envelope);
        assert!([200, 403].contains(&answer.status), "{answer:?}");
    }
    till.device.wire().mend();
    assert_eq!(till.backend_receive(&unheard, 0), ["kept"]);
    assert_eq!(till.backend_trade(&trade)["stage"], "refused");
    until("the end of the trade", || {
        let listed = till.app(&["trade", "list"], "");
        let listed = listed["trades"].as_array().unwrap().clone();
        let of = |id: &str| listed.iter().find(|t| t["trade"] == id).unwrap()["state"].clone();
        (of(&trade) == "Refused" && of(&unheard) == "Open").then_some(())
    });
    assert_eq!(till.backend_receive(&trade, 0), ["before"], "and nothing came back");
    till.trades("after");
    assert_eq!(revoked.shown(&world)["state"], "revoked");
}

#[test]
fn a_server_that_was_not_restored_starts_and_recover_wants_a_word_about_the_audit_record() {
    let mut world = World::start();
    let till = Till::enrol(&world, "kept");
    until("a mark", || (mark(&world) > 0).then_some(()));
    world.restart_server();
    let mut till = till;
    till.use_api(api(&world));
    till.trades("still here");
    let recover = world.server().try_run(&["recover"]);
    let said = String::from_utf8_lossy(&recover.stderr).into_owned();
    assert!(!recover.status.success() && said.contains("--without-audit"), "{said}");
}
