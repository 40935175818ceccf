//! Agent, courier and server are killed at every place where they may have done half of
//! something. They are started again, and nothing else is done about it.

use twinseal_swtpm_tests::{ChipMishap, DiskMishap, WireMishap};

use crate::ground::Ground;
use crate::sweep::{is_whole, say, sweep};

/// Who is killed, and what is counted until then.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The agent, when the chip has done a command and the response has not come back.
    AgentAtChip,
    /// The agent, at a call to it or an answer of it.
    AgentAtBus,
    /// The agent, before a commit or before what it has written is durable.
    AgentAtDisk,
    /// The courier, at a call to the agent or its answer.
    CourierAtBus,
    /// The courier, before a request has reached the server, or before its reply came back.
    CourierAtWire,
    /// The server, before a request or before its reply.
    ServerAtWire,
    /// The server, before a commit or before what it has written is durable.
    ServerAtDisk,
}

const PLACES: [Place; 7] = [
    Place::AgentAtChip,
    Place::AgentAtBus,
    Place::AgentAtDisk,
    Place::CourierAtBus,
    Place::CourierAtWire,
    Place::ServerAtWire,
    Place::ServerAtDisk,
];

impl Place {
    fn arm(self, ground: &Ground, point: u32) {
        let (agent, courier) = (ground.device.agent_pid(), ground.device.courier_pid());
        // A request goes and its reply comes back: two points.
        let wire = |pid| match point.is_multiple_of(2) {
            false => WireMishap::KillBefore(pid),
            true => WireMishap::KillAfter(pid),
        };
        let nth = point.div_ceil(2);
        match self {
            Self::AgentAtChip => ground.tap.meet(point, ChipMishap::Kill(agent)),
            Self::AgentAtBus => ground.monitor.kill_at(point, agent),
            Self::AgentAtDisk => ground.agents_disk.meet(point, DiskMishap::Kill),
            Self::CourierAtBus => ground.monitor.kill_at(point, courier),
            Self::CourierAtWire => ground.relay.meet(nth, wire(courier)),
            Self::ServerAtWire => ground.relay.meet(nth, wire(ground.server.pid())),
            Self::ServerAtDisk => ground.servers_disk.meet(point, DiskMishap::Kill),
        }
    }

    /// Whether the point came.
    fn disarm(self, ground: &Ground) -> bool {
        let is_to_come = match self {
            Self::AgentAtChip => ground.tap.take_fault(),
            Self::AgentAtBus | Self::CourierAtBus => ground.monitor.take_mishap(),
            Self::AgentAtDisk => ground.agents_disk.mend(),
            Self::CourierAtWire | Self::ServerAtWire => ground.relay.take_mishap(),
            Self::ServerAtDisk => ground.servers_disk.mend(),
        };
        !is_to_come
    }
}

/// Each place has so many at least, in an enrolment and in a trade.
const SAMPLE: [u32; 2] = [3, 8];

/// Kills at every point of `run`, at all places.
fn kill_everywhere(
    ground: &mut Ground,
    what: &str,
    mut run: impl FnMut(&mut Ground, &mut dyn FnMut(&Ground)),
) {
    let mut points = 0;
    for place in PLACES {
        points += sweep(&format!("{what}, {place:?}"), &SAMPLE, |point| {
            run(ground, &mut |ground| place.arm(ground, point));
            let met = place.disarm(ground);
            ground.revive();
            ground.assert_no_panic();
            met
        });
    }
    say(&format!("{what}: {points} points in all"));
    assert!(points >= if is_whole() { 40 } else { PLACES.len() }, "{points}");
}

#[test]
fn an_enrolment_goes_on_whoever_is_killed_wherever() {
    let mut ground = Ground::prepare();
    let before = ground.keep();
    kill_everywhere(&mut ground, "enrolment", |ground, arm| {
        let link = ground.go_back(&before).to_owned();
        arm(ground);
        ground.enrol(&link);
    });
}

#[test]
fn a_trade_goes_on_whoever_is_killed_wherever() {
    let mut ground = Ground::enrolled();
    let mut number = 0;
    kill_everywhere(&mut ground, "trade", |ground, arm| {
        number += 1;
        arm(ground);
        ground.trade(number);
    });
}
