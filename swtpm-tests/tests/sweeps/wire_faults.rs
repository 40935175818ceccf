//! A request or its reply is lost, doubled or replaced, once, at every request.

use twinseal_swtpm_tests::WireMishap;

use crate::ground::Ground;
use crate::sweep::sweep;

const FAULTS: [(&str, WireMishap); 6] = [
    ("lost request", WireMishap::LostRequest),
    ("lost reply", WireMishap::LostReply),
    ("duplicate", WireMishap::Duplicate),
    ("500", WireMishap::Status(500)),
    ("503", WireMishap::Status(503)),
    ("garbage", WireMishap::Garbage),
];

#[test]
fn an_enrolment_and_a_trade_survive_every_fault_of_the_wire() {
    let mut ground = Ground::enrolled();
    let mut number = 0;
    for (name, fault) in FAULTS {
        // The sample: the claim, and something of the trade.
        let sample = [2, 9];
        let points = sweep(&format!("enrolment and trade, wire: {name}"), &sample, |point| {
            number += 1;
            ground.relay.meet(point, fault);
            ground.enrol_again();
            ground.trade(number);
            let met = !ground.relay.take_mishap();
            ground.assert_no_panic();
            met
        });
        assert!(points > 0);
    }
}
