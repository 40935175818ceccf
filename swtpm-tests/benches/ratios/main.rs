//! Ratios against the floor, both measured in turns in one run: absolute figures are noise.
//! `scripts/bench` runs it; with `--json` it prints one object a row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, dead_code)]

mod keys;
#[path = "../../../crates/scheme/tests/scheme/parties.rs"]
mod parties;

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use parties::Parties;
use rand_core::OsRng;
use twinseal_hardware::{Config, Hardware};
use twinseal_scheme::message::{Envelope, Outer, open_up, seal_up};
use twinseal_swtpm_tests::Swtpm;

/// One line of the table.
struct Row {
    id: &'static str,
    what: &'static str,
    ratio: f64,
    target: f64,
}

fn main() {
    let rows: Vec<Row> = keys::rows().into_iter().chain(seal_rows()).chain(open_rows()).collect();
    let is_json = std::env::args().any(|argument| argument == "--json");
    for Row { id, what, ratio, target } in &rows {
        let ok = ratio <= target;
        match is_json {
            true => println!(
                "{}",
                serde_json::json!({
                    "id": id, "what": what, "ratio": ratio, "target": target, "ok": ok,
                })
            ),
            false => {
                let verdict = if ok { "ok" } else { "TOO SLOW" };
                println!("{id:4} {ratio:7.3} of at most {target:5.2}  {verdict:8} {what}");
            }
        }
    }
}

/// P3: sealing 1 KiB upward with the chip, against the chip's signature alone.
fn seal_rows() -> Vec<Row> {
    let chip = Swtpm::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let hardware = Hardware::open(Config::new(chip.tcti().parse().unwrap())).unwrap();
    let lane = hardware.lane(0);
    let keys = runtime.block_on(async {
        let ek = lane.endorsement_key(None).await.unwrap();
        lane.create_keys(&ek).await.unwrap()
    });
    let parties = Parties::new([1; 32]);
    let (device, _) = parties.epoch(1);
    let content = [7; 1024];
    let row = |what, outer| {
        let mut seal = || {
            let unsigned = seal_up(&parties.bond, &device, outer, 1, &content, &mut OsRng).unwrap();
            let sign = lane.sign(&keys.signing, unsigned.digest());
            let signature = runtime.block_on(sign).unwrap();
            black_box(unsigned.finish(&signature).unwrap());
        };
        let mut floor = || {
            black_box(runtime.block_on(lane.sign(&keys.signing, [5; 32])).unwrap());
        };
        Row { id: "P3", what, ratio: ratio(&mut seal, &mut floor, 5, 100), target: 1.3 }
    };
    let rows = vec![
        row("seal 1 KiB up, Es(Ea(m)), against one chip signature", Outer::Serial),
        row("seal 1 KiB up, Ea(Es(m)), against one chip signature", Outer::Key),
    ];
    runtime.block_on(hardware.close());
    rows
}

/// P4: opening a 1 KiB message from a device, all layers and parsing, against one bare P-256
/// verification over as many bytes.
fn open_rows() -> Vec<Row> {
    let parties = Parties::new([1; 32]);
    let (device, server) = parties.epoch(1);
    let message = [7; 1024];
    let signature = parties.device_signing.sign(&message).unwrap();
    let key =
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, parties.device_signing.public().point())
            .unwrap();
    let row = |what, outer| {
        let up = parties.up(&device, outer, 1, &message);
        let mut open = || {
            let envelope = Envelope::decode(&up).unwrap();
            black_box(open_up(&parties.bond, &server, &envelope).unwrap());
        };
        let mut floor = || key.verify_sig(&message, &signature).unwrap();
        Row { id: "P4", what, ratio: ratio(&mut open, &mut floor, 20, 300), target: 1.25 }
    };
    vec![
        row("open 1 KiB up, Es(Ea(m)), against one P-256 verification", Outer::Serial),
        row("open 1 KiB up, Ea(Es(m)), against one P-256 verification", Outer::Key),
    ]
}

/// The ratio of the median times of two actions, taken in turns so that both see the same machine.
fn ratio(a: &mut dyn FnMut(), b: &mut dyn FnMut(), batch: u32, rounds: usize) -> f64 {
    let time = |action: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..batch {
            action();
        }
        start.elapsed()
    };
    let (a, b): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (time(a), time(b))).unzip();
    median(a).as_secs_f64() / median(b).as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
