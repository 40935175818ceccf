//! Forged messages down: what they cost the chip, and that true ones arrive all the same.

use rand_core::{OsRng, RngCore};
use twinseal_agent::{Agent, Kind, Options, TradeId};
use twinseal_hardware::KeyFamily;
use twinseal_scheme::Secret;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochKeys};
use twinseal_scheme::keys::{
    DecryptionPublic, P256Private, SigningKey, SigningPublic, random_scalar,
};
use twinseal_scheme::message::{Envelope, Outer, seal_down};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_swtpm_tests::{EkKind, Swtpm, Tap};

use crate::world::{LONG, World, alice, bob, config};

/// TPM2_ECDH_ZGen: what an attempt to open costs the chip.
const ECDH_ZGEN: u32 = 0x154;
/// More than a user has attempts, and fewer than come back to him in a slow test.
const FLOOD: usize = 1000;
/// Attempts in vain that a user has at once, and what may come back to him while the test runs.
const ATTEMPTS: usize = 64;
const SLOW: usize = 300;

/// An enrolled agent, with a probe on its chip's bus, and a trade of Alice's in this order.
async fn probed(outer: Outer) -> (World, Tap, TradeId) {
    probed_with(KeyFamily::Ecc, outer).await
}

/// The same with keys of this family.
pub async fn probed_with(prefer: KeyFamily, outer: Outer) -> (World, Tap, TradeId) {
    let chip = Swtpm::builder().only(EkKind::EccP384).start();
    let tap = Tap::on(&chip);
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &chip);
    config.hardware.tcti = Some(tap.tcti());
    config.hardware.prefer = prefer;
    let agent = Agent::start(config).await.unwrap();
    let mut world = World { agent: Some(agent), server: crate::server::Server::new(), chip, dir };
    world.enrol().await.unwrap();
    let trade = world.open_trade(&alice(), &Options { outer, ..Options::default() }).await;
    world.carry().await;
    (world, tap, trade)
}

/// How often the chip has been asked for a secret.
fn attempts(tap: &Tap) -> usize {
    tap.exchanges().iter().filter(|exchange| exchange.command_code() == ECDH_ZGEN).count()
}

/// What somebody makes who has seen all that is readable of the true one, and no key: the route
/// is right, every layer is well formed, and sealed under keys of his own.
fn forged(genuine: &[u8], outer: Outer) -> Vec<u8> {
    let route = Envelope::decode(genuine).unwrap().route;
    let mut random = [0; 32];
    OsRng.fill_bytes(&mut random);
    let signing = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
    let bond = Bond {
        server_id: twinseal_scheme::id::ServerId(random),
        device_id: route.device_id,
        serial: HardwareSerial::from_bytes(random),
        generation: route.generation,
        keyset: route.keyset,
        signing: SigningPublic::Es256(signing.public().clone()),
        decryption: DecryptionPublic::EcdhEs(P256Private::generate(&mut OsRng).public().clone()),
    };
    let chain = ChainKey::kept(route.epoch, Secret::new(random));
    let keys = EpochKeys::opening(&chain, route.sequence);
    let unsigned = seal_down(&bond, &keys, outer, route.seq, b"forged");
    let signature = signing.sign(unsigned.to_sign()).unwrap();
    unsigned.finish(&signature, &mut OsRng).unwrap()
}

/// A true message for an own transport.
fn genuine(world: &mut World, trade: TradeId, payload: &[u8]) -> Vec<u8> {
    world.server.device().send(trade, payload);
    world.server.seal_next()
}

#[tokio::test]
async fn a_flood_of_forgeries_costs_the_chip_nothing_in_the_default_order() {
    let (mut world, tap, trade) = probed(Outer::Serial).await;
    let before = attempts(&tap);
    let true_one = genuine(&mut world, trade, b"true");
    for number in 0..FLOOD {
        // Whoever forges chooses the order that his envelope names.
        let outer = if number % 2 == 0 { Outer::Serial } else { Outer::Key };
        let refused = world.agent().open(&alice(), trade, &forged(&true_one, outer)).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Rejected, "{number}");
    }
    assert_eq!(attempts(&tap), before, "a forgery reached the chip");
    let opened = world.agent().open(&alice(), trade, &true_one).await.unwrap();
    assert_eq!((opened.payload, attempts(&tap)), (b"true".to_vec(), before + 1));
}

#[tokio::test]
async fn a_flood_of_forgeries_is_limited_in_the_other_order() {
    let (mut world, tap, trade) = probed(Outer::Key).await;
    let bobs = world.open_trade(&bob(), &Options { outer: Outer::Key, ..Options::default() }).await;
    world.carry().await;
    let before = attempts(&tap);
    let [true_one, for_bob] = [trade, bobs].map(|trade| genuine(&mut world, trade, b"true"));
    let (mut rejected, mut limited) = (0, 0);
    for number in 0..FLOOD {
        let forged = forged(&true_one, Outer::Key);
        let refused = match number % 2 {
            0 => world.agent().open(&alice(), trade, &forged).await.map(drop),
            _ => world.agent().inspect(&alice(), trade, &forged).await.map(drop),
        };
        match refused.unwrap_err().kind {
            Kind::Rejected => rejected += 1,
            Kind::Busy => limited += 1,
            other => panic!("{other:?}"),
        }
    }
    let cost = attempts(&tap) - before;
    println!("{FLOOD} forgeries: {cost} reached the chip");
    assert_eq!((cost, rejected + limited), (rejected, FLOOD));
    assert!((ATTEMPTS..ATTEMPTS + SLOW).contains(&cost), "{cost}");
    // Others are not concerned, nor is what comes by a fetch, whose answer is authenticated.
    let opened = world.agent().open(&bob(), bobs, &for_bob).await.unwrap();
    assert_eq!(opened.payload, b"true");
    world.server.device().send(bobs, b"fetched");
    world.carry().await;
    assert_eq!(world.received(&bob(), bobs, 0).await.last().unwrap(), b"fetched");
    // Whoever was flooded gets his own again as soon as an attempt has come back.
    let deadline = tokio::time::Instant::now() + LONG;
    let opened = loop {
        match world.agent().open(&alice(), trade, &true_one).await {
            Err(error) if error.kind == Kind::Busy => {
                assert!(tokio::time::Instant::now() < deadline, "{error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(opened.payload, b"true");
}
