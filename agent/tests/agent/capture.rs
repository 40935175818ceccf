//! A whole life of a device, seen from its chip's bus.

use twinseal_agent::{Agent, Options};
use twinseal_scheme::keys::SigningPublic;
use twinseal_scheme::message::Outer;
use twinseal_swtpm_tests::probe;

use crate::forgeries::probed;
use crate::world::{LONG, SERVICE, alice, config, start_when_free};

/// Enrolment, messages both ways in both orders, a start, an exchange, receipts. What signs and
/// what agrees in the chip shows nothing of it; that the probe reads what an unsalted session
/// encrypts is shown with the hardware's tests.
#[tokio::test]
async fn a_probe_on_the_bus_sees_no_secret_of_a_whole_life() {
    let (mut world, tap, first) = probed(Outer::Serial).await;
    let payloads = ["sent up to the server", "sent down to the device", "asked in an exchange"];
    let key_order = Options { outer: Outer::Key, ..Options::default() };
    let second = world.open_trade(&alice(), &key_order).await;
    for trade in [first, second] {
        let up = payloads[0].as_bytes().to_vec();
        world.agent().send(&alice(), trade, up, "text/plain").await.unwrap();
        world.carry().await;
        world.server.device().send(trade, payloads[1].as_bytes());
        world.carry().await;
        assert_eq!(world.received(&alice(), trade, 0).await, [payloads[1].as_bytes()]);
        let agent = world.agent().clone();
        world.during(async move { agent.close(&alice(), trade, LONG).await }).await.unwrap();
    }
    let epoch = world.server.device().epoch();
    world.stop().await;
    let mut config = config(world.dir.path(), &world.chip);
    config.hardware.tcti = tap.tcti();
    world.agent = Some(start_when_free(config).await);
    world.carry().await;
    assert!(world.server.device().epoch() > epoch, "another start, another epoch");
    world.server.reply_prefix = Some(b"the reply to: ".to_vec());
    let agent: Agent = world.agent().clone();
    let request = payloads[2].as_bytes().to_vec();
    let options = Options { wait: LONG, ..Options::default() };
    let exchange = async move { agent.exchange(&alice(), SERVICE, request, &options).await };
    let reply = world.during(exchange).await.unwrap().reply.payload;
    assert_eq!(reply, b"the reply to: asked in an exchange");

    let mut secrets = world.server.secrets.clone();
    secrets.extend(world.server.device().chain_keys.clone());
    // A credential, CK_0, and a chain key for each of two epochs.
    assert!(secrets.len() >= 4 && secrets.iter().all(|secret| secret.len() == 32));
    secrets.push(std::fs::read(world.dir.path().join("state.key")).unwrap());
    secrets.extend(payloads.map(|payload| payload.as_bytes().to_vec()));
    secrets.push(b"Eva Muster".to_vec());
    let exchanges = tap.exchanges();
    assert!(exchanges.len() > 100, "the tap sees everything: {}", exchanges.len());
    let seen = probe::readable(&exchanges);
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!probe::holds(&seen, secret), "secret {number}");
    }
    // What is no secret is there to be seen.
    let SigningPublic::Es256(signing) = &world.server.device().bond.signing else {
        panic!("an elliptic curve is what this chip prefers")
    };
    assert!(probe::holds(&seen, &signing.point()[1..33]));
}
