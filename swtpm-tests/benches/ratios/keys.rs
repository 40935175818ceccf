//! P1 and P2: signatures with an application's key, against the chip's own; and the same of other
//! software, to compare.
//!
//! The floor is measured on a twin of the device's chip, which begins with all that it has in its
//! memory: so floor and agent take turns of milliseconds, and see the same machine. Agent and
//! peer have the one chip after one another, since it serves one connection at a time.

use std::process::Command;
use std::time::{Duration, Instant};

use twinseal_swtpm_tests::{Abrmd, Device, Swtpm, User, program};

use super::peer::Peer;
use super::signer::{Signer, Way};
use super::{Row, crowd, median};

/// Of all ways after one another. They are many and short, so that all see the same machine, and
/// what a neighbour of a virtual machine does for some seconds decides nothing.
const TURNS: usize = 200;
/// With other software, which takes longer and is not judged.
const TURNS_OF_OTHERS: usize = 25;
/// Of each way in each turn.
const SIGNATURES: u32 = 16;
/// Before they are counted, in each turn: what others did meanwhile has left its traces in the
/// processor's caches.
const WARMING_UP: u32 = 4;
/// Where they are several at once.
const SEVERAL: u32 = 8;

/// P1, P2 and, of the same device, P10.
pub fn rows() -> Vec<Row> {
    let mut device = Device::start();
    let made = device.call(User::Root, "", "CreateKey", &["bench", "ecc-p256", "{}"]).unwrap();
    let key = made.split('\'').nth(1).expect("a path").to_owned();
    let twin = device.tpm().copy();
    let tcti = twin.tcti();
    let mut floor = Signer::start(Way::Chip(&tcti), |this| Command::new(this));
    let [bus, module, modules] = ours(&device, &key, &mut floor);
    let crowd = crowd::rows(&device, &key);
    without_agent(&mut device);
    let [peer, peers] = others(device.tpm(), &mut floor);
    let rows = [
        Row::held("P1", "sign over the bus, against the chip alone", bus, 1.5),
        Row::held("P2", "sign through the PKCS#11 module", module, 1.7),
        Row::shown("P2", "the same, 8 programs at once", modules),
        Row::shown("P2", "sign through tpm2-pkcs11 and tpm2-abrmd", peer),
        Row::shown("P2", "the same, 8 programs at once", peers),
    ];
    rows.into_iter().chain(crowd).collect()
}

/// Over the bus, through the module, and through eight of them.
fn ours(device: &Device, key: &str, floor: &mut Signer) -> [f64; 3] {
    let as_root = |way| Signer::start(way, |this| device.bus().command(User::Root, this));
    let mut bus = as_root(Way::Bus(key));
    let module = program("libtwinseal_pkcs11.so");
    let mut modules: Vec<_> = (0..SEVERAL).map(|_| as_root(Way::Module(&module, ""))).collect();
    let turn = || [alone(floor), alone(&mut bus), alone(&mut modules[0]), together(&mut modules)];
    let [_, bus, module, modules] = ratios(TURNS, turn);
    [bus, module, modules]
}

/// Through the peer's module, and through eight of them.
fn others(chip: &Swtpm, floor: &mut Signer) -> [f64; 2] {
    let peer = Peer::provision(chip);
    let abrmd = Abrmd::start(chip);
    let mut modules: Vec<_> = (0..SEVERAL).map(|_| peer.signer(&abrmd)).collect();
    let turn = || [alone(floor), alone(&mut modules[0]), together(&mut modules)];
    let [_, peer, peers] = ratios(TURNS_OF_OTHERS, turn);
    [peer, peers]
}

/// Ends the agent, and leaves the chip as it is after it was switched on. It is switched off in
/// order, since it takes a power cut for an attempt to guess when others use keys that it
/// protects against guessing.
fn without_agent(device: &mut Device) {
    device.kill_agent();
    device.tpm().tool("tpm2_shutdown", &["--clear"]);
    device.tpm_mut().restart();
}

/// How many times longer each way took than the first, which is the floor: the median of all turns.
fn ratios<const WAYS: usize>(
    turns: usize,
    mut turn: impl FnMut() -> [Duration; WAYS],
) -> [f64; WAYS] {
    let turns: Vec<_> = (0..turns).map(|_| turn().map(|took| took.as_secs_f64())).collect();
    std::array::from_fn(|way| median(turns.iter().map(|turn| turn[way] / turn[0]).collect()))
}

/// What one signature takes, of one program by the median.
fn alone(signer: &mut Signer) -> Duration {
    signer.sign(WARMING_UP);
    signer.sign(SIGNATURES)
}

/// The same of several at once, on average.
fn together(signers: &mut [Signer]) -> Duration {
    let mut sign = |count| {
        let began = Instant::now();
        signers.iter_mut().for_each(|signer| signer.begin(count / SEVERAL));
        for signer in &mut *signers {
            signer.answer();
        }
        began.elapsed() / count
    };
    sign(SEVERAL * WARMING_UP);
    sign(SEVERAL * SIGNATURES)
}
