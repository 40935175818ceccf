//! The chip answers with an error, with nonsense, late or not at all, once, at every command.

use std::time::Duration;

use twinseal_swtpm_tests::ChipMishap;

use crate::ground::{DEADLINE_MS, Ground};
use crate::sweep::sweep;

/// Later than the agent waits.
const LATE: Duration = Duration::from_millis(DEADLINE_MS + 500);

/// TPM 2.0 Library Part 2, section 6.6.3: TPM_RC_RETRY, LOCKOUT, FAILURE, OBJECT_MEMORY and
/// SESSION_MEMORY.
const FAULTS: [(&str, ChipMishap); 9] = [
    ("retry", ChipMishap::Code(0x922)),
    ("lockout", ChipMishap::Code(0x921)),
    ("failure", ChipMishap::Code(0x101)),
    ("object memory", ChipMishap::Code(0x902)),
    ("session memory", ChipMishap::Code(0x903)),
    ("truncated", ChipMishap::Truncated),
    ("oversized", ChipMishap::Oversized),
    ("dropped", ChipMishap::Dropped),
    ("late", ChipMishap::Late(LATE)),
];

/// Every fault at every command of `run`. The sample has one for each fault, at different ones.
fn fail_everywhere(ground: &mut Ground, what: &str, mut run: impl FnMut(&mut Ground)) {
    for (sample, (name, fault)) in (3..).step_by(4).zip(FAULTS) {
        let points = sweep(&format!("{what}, chip: {name}"), &[sample], |point| {
            ground.tap.meet(point, fault);
            run(ground);
            let met = !ground.tap.take_fault();
            ground.assert_no_panic();
            met
        });
        assert!(points > 0, "{what} uses the chip");
    }
}

#[test]
fn a_start_and_a_trade_survive_every_fault_of_the_chip() {
    let mut ground = Ground::enrolled();
    let mut number = 0;
    fail_everywhere(&mut ground, "start and trade", |ground| {
        number += 1;
        ground.device.restart_agent();
        ground.trade(number);
    });
}

#[test]
fn an_enrolment_survives_every_fault_of_the_chip() {
    let mut ground = Ground::enrolled();
    fail_everywhere(&mut ground, "enrolment", Ground::enrol_again);
}
