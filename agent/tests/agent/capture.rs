//! A whole life of a device, seen from its chip's bus.

use twinseal_agent::{Agent, Options, TradeId};
use twinseal_hardware::{Config, DeviceKeys, Hardware, KeyFamily};
use twinseal_scheme::keys::SigningPublic;
use twinseal_scheme::message::Outer;
use twinseal_swtpm_tests::{Exchange, StolenState, Tap, probe};

use crate::forgeries::probed_with;
use crate::world::{LONG, SERVICE, World, alice, config, start_when_free};

const PAYLOADS: [&str; 3] =
    ["sent up to the server", "sent down to the device", "asked in an exchange"];
/// TPM2_RSA_Decrypt.
const RSA_DECRYPT: u32 = 0x159;

/// That the probe reads what an unsalted session encrypts is shown with the hardware's tests.
#[tokio::test]
async fn a_probe_on_the_bus_sees_no_secret_of_a_whole_life() {
    let (world, exchanges) = whole_life(KeyFamily::Ecc).await;
    let bond = &world.server.device.as_ref().unwrap().bond;
    let SigningPublic::Es256(signing) = &bond.signing else { panic!("{:?}", bond.signing) };
    let public = signing.point()[1..33].to_vec();
    sees_no_secret(world, &exchanges, &public).await;
}

#[tokio::test]
async fn a_probe_on_the_bus_sees_no_secret_of_a_whole_life_with_rsa_keys() {
    let (world, exchanges) = whole_life(KeyFamily::Rsa).await;
    let decrypts = exchanges.iter().filter(|exchange| exchange.command_code() == RSA_DECRYPT);
    // Two trades with a message down, its close and its receipt each, and a reply.
    assert!(decrypts.count() >= 7);
    let bond = &world.server.device.as_ref().unwrap().bond;
    let SigningPublic::Ps256(signing) = &bond.signing else { panic!("{:?}", bond.signing) };
    let public = signing.spki()[33..289].to_vec();
    sees_no_secret(world, &exchanges, &public).await;
}

/// Enrolment, messages both ways in both orders, a start, an exchange, receipts; and all that
/// was on the bus.
async fn whole_life(prefer: KeyFamily) -> (World, Vec<Exchange>) {
    let (mut world, tap, first) = probed_with(prefer, Outer::Serial).await;
    let key_order = Options { outer: Outer::Key, ..Options::default() };
    let second = world.open_trade(&alice(), &key_order).await;
    for trade in [first, second] {
        both_ways(&mut world, trade).await;
    }
    let epoch = world.server.device().epoch();
    start_again(&mut world, &tap).await;
    assert!(world.server.device().epoch() > epoch, "another start, another epoch");
    world.server.reply_prefix = Some(b"the reply to: ".to_vec());
    let agent: Agent = world.agent().clone();
    let request = PAYLOADS[2].as_bytes().to_vec();
    let options = Options { wait: LONG, ..Options::default() };
    let exchange = async move { agent.exchange(&alice(), SERVICE, request, &options).await };
    let reply = world.during(exchange).await.unwrap().reply.payload;
    assert_eq!(reply, b"the reply to: asked in an exchange");
    world.stop().await;
    let exchanges = tap.exchanges();
    assert!(exchanges.len() > 100, "the tap sees everything: {}", exchanges.len());
    (world, exchanges)
}

async fn both_ways(world: &mut World, trade: TradeId) {
    let [up, down, _] = PAYLOADS.map(|payload| payload.as_bytes().to_vec());
    world.agent().send(&alice(), trade, up, "text/plain").await.unwrap();
    world.carry().await;
    world.server.device().send(trade, &down);
    world.carry().await;
    assert_eq!(world.received(&alice(), trade, 0).await, [down]);
    let agent = world.agent().clone();
    world.during(async move { agent.close(&alice(), trade, LONG).await }).await.unwrap();
}

async fn start_again(world: &mut World, tap: &Tap) {
    world.stop().await;
    let mut config = config(world.dir.path(), &world.chip);
    config.hardware.tcti = Some(tap.tcti());
    world.agent = Some(start_when_free(config).await);
    world.carry().await;
}

async fn sees_no_secret(world: World, exchanges: &[Exchange], public: &[u8]) {
    let mut secrets = world.server.secrets.clone();
    secrets.extend(world.server.device.as_ref().unwrap().chain_keys.clone());
    // A credential, CK_0, and a chain key for each of two epochs.
    assert_eq!(secrets.len(), 4);
    secrets.extend(said_by_the_chip(&world).await);
    // The serial key's agreement, and for each message down an agreement or a content key.
    assert!(secrets.len() >= 4 + 1 + 7, "{}", secrets.len());
    assert!(secrets.iter().all(|secret| secret.len() == 32));
    secrets.push(std::fs::read(world.dir.path().join("state.key")).unwrap());
    secrets.extend(PAYLOADS.map(|payload| payload.as_bytes().to_vec()));
    secrets.push(b"Eva Muster".to_vec());
    let seen = probe::readable(exchanges);
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!probe::holds(&seen, secret), "secret {number}");
    }
    // What is no secret is there to be seen.
    assert!(probe::holds(&seen, public));
}

/// The secrets that the chip has given its agent, asked again of a copy of it: Z of the serial
/// key, and Z or the content key of every message down.
async fn said_by_the_chip(world: &World) -> Vec<Vec<u8>> {
    let stolen = StolenState::of(&world.dir.path().join("state"));
    let keys = DeviceKeys::from_bytes(&stolen.keys()).unwrap();
    let point = stolen.column::<Vec<u8>>("encapsulation").try_into().unwrap();
    let copy = world.chip.copy();
    let hardware = Hardware::open(Config::new(copy.tcti().parse().unwrap())).unwrap();
    let lane = hardware.lane(0);
    let mut said = vec![lane.agree_serial(&keys, point).await.unwrap().expose().to_vec()];
    for encapsulation in world.server.device.as_ref().unwrap().encapsulations() {
        let secret = lane.decapsulate(&keys.decryption, &encapsulation).await;
        said.push(secret.unwrap().expose().to_vec());
    }
    hardware.close().await;
    said
}
