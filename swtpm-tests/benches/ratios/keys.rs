//! P1 and P2: signatures with an application's key, against the chip's own; and the same of other
//! software, to compare.
//!
//! All are in one chip, in turns. As it serves one connection at a time, whoever does not sign is
//! stopped, and the chip is switched off and on between them.

use std::process::Command;
use std::time::{Duration, Instant};

use twinseal_swtpm_tests::{Abrmd, Device, User, program};

use super::peer::Peer;
use super::signer::{Signer, Way};
use super::{Row, crowd, median};

const ROUNDS: usize = 9;
/// Of each way in each round.
const SIGNATURES: u32 = 200;
/// Before they are counted.
const WARMING_UP: u32 = 20;
/// Where they are several at once.
const SEVERAL: u32 = 8;

/// What one signature took in one round: of one program by the median, of several on average.
struct Round {
    floor: Duration,
    bus: Duration,
    module: Duration,
    modules: Duration,
    peer: Duration,
    peers: Duration,
}

/// A device with one key, and programs that sign with it. They outlive its agent.
struct Ours {
    bus: Signer,
    modules: Vec<Signer>,
    device: Device,
    key: String,
}

/// P1, P2 and, of the same device, P10.
pub fn rows() -> Vec<Row> {
    let mut ours = Ours::start();
    ours.without_agent();
    let peer = Peer::provision(ours.device.tpm());
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| ours.round(&peer)).collect();
    let ratio = |of: fn(&Round) -> Duration| {
        let ratios = rounds.iter().map(|round| of(round).as_secs_f64() / round.floor.as_secs_f64());
        median(ratios.collect())
    };
    let mut rows = vec![
        Row::held("P1", "sign over the bus, against the chip alone", ratio(|r| r.bus), 1.5),
        Row::held("P2", "sign through the PKCS#11 module", ratio(|r| r.module), 1.7),
        Row::shown("P2", "the same, 8 programs at once", ratio(|r| r.modules)),
        Row::shown("P2", "sign through tpm2-pkcs11 and tpm2-abrmd", ratio(|r| r.peer)),
        Row::shown("P2", "the same, 8 programs at once", ratio(|r| r.peers)),
    ];
    ours.device.restart_agent();
    rows.extend(crowd::rows(&ours.device, &ours.key));
    rows
}

impl Ours {
    fn start() -> Self {
        let device = Device::start();
        let made = device.call(User::Root, "", "CreateKey", &["bench", "ecc-p256", "{}"]).unwrap();
        let key = made.split('\'').nth(1).expect("a path").to_owned();
        let as_root = |way| Signer::start(way, |this| device.bus().command(User::Root, this));
        let bus = as_root(Way::Bus(&key));
        let module = program("libtwinseal_pkcs11.so");
        let modules = (0..SEVERAL).map(|_| as_root(Way::Module(&module, ""))).collect();
        Self { bus, modules, device, key }
    }

    /// Leaves the chip as it is after it was switched on. It is switched off in order, since it
    /// takes a power cut for an attempt to guess when others have used keys that it protects
    /// against guessing.
    fn without_agent(&mut self) {
        self.device.kill_agent();
        self.device.tpm().tool("tpm2_shutdown", &["--clear"]);
        self.device.tpm_mut().restart();
    }

    fn round(&mut self, peer: &Peer) -> Round {
        self.without_agent();
        let tcti = self.device.tpm().tcti();
        let floor = alone(&mut Signer::start(Way::Chip(&tcti), |this| Command::new(this)));
        self.device.restart_agent();
        let bus = alone(&mut self.bus);
        let module = alone(&mut self.modules[0]);
        let modules = together(&mut self.modules);
        self.without_agent();
        let abrmd = Abrmd::start(self.device.tpm());
        let mut others: Vec<Signer> = (0..SEVERAL).map(|_| peer.signer(&abrmd)).collect();
        let (peer, peers) = (alone(&mut others[0]), together(&mut others));
        drop((others, abrmd));
        Round { floor, bus, module, modules, peer, peers }
    }
}

fn alone(signer: &mut Signer) -> Duration {
    signer.sign(WARMING_UP);
    signer.sign(SIGNATURES)
}

fn together(signers: &mut [Signer]) -> Duration {
    let mut sign = |count| {
        let began = Instant::now();
        signers.iter_mut().for_each(|signer| signer.begin(count / SEVERAL));
        for signer in &mut *signers {
            signer.answer();
        }
        began.elapsed() / count
    };
    sign(SEVERAL * 2);
    sign(SIGNATURES)
}
