//! A database cannot write: once, with an error, or for a while, because the disk is full.

use twinseal_swtpm_tests::{Disk, DiskMishap};

use crate::ground::Ground;
use crate::sweep::sweep;

/// An enrolment and a trade, and at every point of them the disk fails.
fn fail_everywhere(whose: &str, disk: impl Fn(&Ground) -> &Disk) {
    let (mut ground, mut number) = (Ground::enrolled(), 0);
    for (name, mishap) in [("error", DiskMishap::Error), ("full", DiskMishap::Full)] {
        let points =
            sweep(&format!("enrolment and trade, {whose} disk: {name}"), &[9, 21], |point| {
                number += 1;
                disk(&ground).meet(point, mishap);
                ground.enrol_again();
                ground.trade(number);
                let met = !disk(&ground).mend();
                ground.assert_no_panic();
                met
            });
        assert!(points > 0);
    }
}

#[test]
fn an_enrolment_and_a_trade_survive_every_fault_of_the_agents_disk() {
    fail_everywhere("agent's", |ground| &ground.agents_disk);
}

#[test]
fn an_enrolment_and_a_trade_survive_every_fault_of_the_servers_disk() {
    fail_everywhere("server's", |ground| &ground.servers_disk);
}
