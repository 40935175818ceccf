//! What the agent says of its chip, at its start and while it runs.

use twinseal_swtpm_tests::till::Till;
use twinseal_swtpm_tests::{Swtpm, User, World};

/// What people read, and with which code `twinseal` fails, while the chip is in the way.
fn says(till: &Till, state: &str, sentence: &str) {
    let message = till.wait_for(state);
    assert!(message.contains(sentence), "{state}: {message}");
    let refused = till.try_app(User::App(2001), &["trade", "open", "com.example.till"], "");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains(state), "{said}");
    let status = till.app(&["status"], "");
    assert_eq!(status["state"], state);
}

#[test]
fn an_agent_without_its_chip_starts_waits_and_goes_on_with_it() {
    let world = World::start();
    let mut till = Till::enrol(&world, "absent");
    till.trades("before");
    till.device.tpm_mut().kill();
    // While it runs: the agent looks by itself.
    says(&till, "ChipAbsent", "no chip answers");
    till.device.restart_agent();
    says(&till, "ChipAbsent", "check that it is there");
    till.device.tpm_mut().restart();
    till.wait_for("Active");
    till.trades("after");
}

#[test]
fn a_chip_that_is_killed_and_comes_back_costs_an_epoch_nothing() {
    let world = World::start();
    let mut till = Till::enrol(&world, "killed");
    let trade = till.open("serial");
    // More often than the chip allows failures: the agent's keys are exempt from all that.
    let allowed = till.device.tpm_mut().on_the_bench(|chip| chip.variable("TPM2_PT_MAX_AUTH_FAIL"));
    let kills = allowed + 2;
    for round in 0..kills {
        till.send(&trade, &format!("round {round}"));
        till.device.tpm_mut().restart();
    }
    let sent = format!("round {}", kills - 1);
    assert_eq!(till.backend_receive(&trade, kills).last(), Some(&sent));
    let (failures, locked) = till.device.tpm_mut().on_the_bench(|chip| {
        (chip.variable("TPM2_PT_LOCKOUT_COUNTER"), chip.variable("inLockout"))
    });
    assert_eq!((failures, locked), (0, 0));
    till.trades("after");
}

#[test]
fn a_cleared_chip_is_seen_while_the_agent_runs_and_at_its_start() {
    let world = World::start();
    let mut till = Till::enrol(&world, "cleared");
    till.device.tpm_mut().on_the_bench(Swtpm::clear);
    says(&till, "ChipCleared", "twinseal recover");
    till.device.restart_agent();
    says(&till, "ChipCleared", "readmit");
}

#[test]
fn another_chip_is_not_used_and_the_true_one_is_taken_back() {
    let world = World::start();
    let mut till = Till::enrol(&world, "replaced");
    let mut other = Swtpm::start();
    till.device.tpm_mut().trade_places(&mut other);
    says(&till, "ChipReplaced", "put that one back");
    till.device.restart_agent();
    says(&till, "ChipReplaced", "twinseal recover LINK");
    till.device.tpm_mut().trade_places(&mut other);
    till.wait_for("Active");
    till.trades("the true one");
}

#[test]
fn a_chip_whose_memory_was_put_back_is_seen_while_the_agent_runs_and_at_its_start() {
    let world = World::start();
    let mut till = Till::enrol(&world, "rolled");
    let before = till.device.tpm().snapshot();
    till.device.restart_agent();
    till.wait_for("Active");
    let now = till.device.tpm().snapshot();
    till.device.tpm_mut().roll_back(&before);
    says(&till, "ChipRolledBack", "earlier state");
    till.device.restart_agent();
    says(&till, "ChipRolledBack", "nothing is sealed");
    // It was a mistake, and somebody has put the right memory back.
    till.device.tpm_mut().roll_back(&now);
    till.wait_for("Active");
    till.trades("forward again");
}

#[test]
fn authorisations_that_somebody_sets_are_asked_for_by_name() {
    let world = World::start();
    let mut till = Till::enrol(&world, "authorised");
    for hierarchy in ["owner", "endorsement"] {
        till.device.tpm_mut().on_the_bench(|chip| chip.set_authorisation(hierarchy, "secret"));
        if hierarchy == "owner" {
            says(&till, "ChipUnauthorised", "hardware.owner_auth_file");
        } else {
            // The keys of an open epoch do without this one: only a start needs it.
            till.trades("still in the epoch");
        }
        till.device.restart_agent();
        says(&till, "ChipUnauthorised", &format!("the chip's {hierarchy} authorisation"));
        till.device.authorise(hierarchy, "wrong");
        says(&till, "ChipUnauthorised", &format!("the chip's {hierarchy} authorisation"));
        till.device.authorise(hierarchy, "secret");
        till.wait_for("Active");
        till.trades(hierarchy);
    }
}

#[test]
fn a_locked_out_chip_stops_others_and_not_the_agent() {
    let world = World::start();
    let mut till = Till::enrol(&world, "locked");
    till.device.tpm_mut().on_the_bench(|chip| {
        assert!(chip.guess("right"));
        while chip.variable("inLockout") == 0 {
            assert!(!chip.guess("wrong"));
        }
        assert!(!chip.guess("right"), "it is locked");
    });
    let message = till.wait_for("Active");
    till.trades("locked out");
    till.device.restart_agent();
    let message = format!("{message}{}", till.wait_for("Active"));
    assert!(message.contains("locked out"), "{message}");
    till.trades("and after a start");
    let hardware = till.app(&["hardware"], "");
    assert_eq!(hardware["lockout_failures"], hardware["lockout_allowed"]);
}

#[test]
fn unclean_ends_lock_what_is_protected_and_not_the_agent() {
    let world = World::start();
    let mut till = Till::enrol(&world, "unclean");
    // Each end of the power after a use of a protected key counts as a guess.
    let mut ends = 0;
    loop {
        let used = till.device.tpm_mut().on_the_bench(|chip| chip.guess("right"));
        if !used {
            break;
        }
        ends += 1;
        assert!(ends < 100, "it never locks");
    }
    assert!(ends > 0);
    till.wait_for("Active");
    till.trades("locked by the power");
    till.device.restart_agent();
    till.wait_for("Active");
    till.trades("and after a start");
}
