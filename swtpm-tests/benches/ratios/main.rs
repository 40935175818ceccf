//! Ratios against the floor, both measured in turns in one run: absolute figures are noise.
//! `scripts/bench` runs it; with `--json` it prints one object a row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, dead_code)]

mod crowd;
mod keys;
#[path = "../../../crates/scheme/tests/scheme/parties.rs"]
mod parties;
mod peer;
mod signer;

use std::hint::black_box;
use std::time::Instant;

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
    /// The most that is allowed; `None` for what is shown to compare.
    target: Option<f64>,
}

impl Row {
    fn held(id: &'static str, what: &'static str, ratio: f64, target: f64) -> Self {
        Self { id, what, ratio, target: Some(target) }
    }

    fn shown(id: &'static str, what: &'static str, ratio: f64) -> Self {
        Self { id, what, ratio, target: None }
    }
}

fn main() {
    if signer::play() {
        return;
    }
    let rows: Vec<Row> = keys::rows().into_iter().chain(seal_rows()).chain(open_rows()).collect();
    let is_json = std::env::args().any(|argument| argument == "--json");
    for Row { id, what, ratio, target } in &rows {
        let ok = target.map(|target| *ratio <= target);
        if is_json {
            let row = serde_json::json!({
                "id": id, "what": what, "ratio": ratio, "target": target, "ok": ok,
            });
            println!("{row}");
            continue;
        }
        let limit = target.map_or(String::new(), |target| format!("of at most {target:5.2}"));
        let verdict = match ok {
            Some(true) => "ok",
            Some(false) => "TOO SLOW",
            None => "",
        };
        println!("{id:4} {ratio:7.3} {limit:16}  {verdict:8}  {what}");
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
        Row::held("P3", what, ratio(&mut seal, &mut floor, 5, 100), 1.3)
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
        Row::held("P4", what, ratio(&mut open, &mut floor, 20, 300), 1.25)
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
        start.elapsed().as_secs_f64()
    };
    let (a, b): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (time(a), time(b))).unzip();
    median(a) / median(b)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
