//! Trades: up and down, in both orders, closed with a receipt; exchanges; own transports.

use std::time::Duration;

use twinseal_agent::{CarryKind, Event, Kind, Options};
use twinseal_scheme::message::{Envelope, Outer};
use twinseal_scheme::receipt::SignedReceipt;
use twinseal_scheme::trade::Kind as TradeKind;

use crate::world::{LONG, SERVICE, World, alice};

fn nested(outer: Outer) -> Options {
    Options { outer, ..Options::default() }
}

#[tokio::test]
async fn a_trade_goes_both_ways_in_both_orders_and_ends_with_a_receipt() {
    for outer in [Outer::Serial, Outer::Key] {
        let mut world = World::enrolled().await;
        let trade = world.open_trade(&alice(), &nested(outer)).await;
        for (number, text) in ["one", "two", "three"].iter().enumerate() {
            let index =
                world.agent().send(&alice(), trade, text.as_bytes().to_vec(), "text/plain").await;
            assert_eq!(index.unwrap() as usize, number + 2, "the opening is the first");
        }
        world.carry().await;
        assert_eq!(
            world.server.device().delivered(trade),
            [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
        );
        assert_eq!(world.server.device().trade(trade).outer(), outer);

        world.server.device().send(trade, b"four");
        world.server.device().send(trade, b"five");
        world.carry().await;
        assert_eq!(world.received(&alice(), trade, 0).await, [b"four".to_vec(), b"five".to_vec()]);
        // Handed over again until the application says that it has it.
        assert_eq!(world.received(&alice(), trade, 1).await, [b"five".to_vec()]);
        assert_eq!(world.received(&alice(), trade, 0).await, [b"five".to_vec()], "one is gone");

        let agent = world.agent().clone();
        let receipt =
            world.during(async move { agent.close(&alice(), trade, LONG).await }).await.unwrap();
        world.carry().await;
        let view = world.agent().trade(&alice(), trade).await.unwrap();
        assert_eq!((view.state, view.sent, view.accepted, view.received), ("Ended", 6, 6, 4));
        let server_id = world.server.device().bond.server_id;
        let signed = SignedReceipt::verify(&receipt, &server_id).unwrap();
        assert!(signed.is_countersigned());
        assert!(world.server.device().receipt(trade).unwrap().is_countersigned());
        assert_eq!((signed.receipt.up.count, signed.receipt.down.count), (5, 3));
        assert_eq!(world.agent().receipt(&alice(), trade).await.unwrap(), receipt);
        let late = world.agent().send(&alice(), trade, b"late".to_vec(), "").await;
        assert_eq!(late.unwrap_err().kind, Kind::Rejected);
    }
}

#[tokio::test]
async fn the_server_closes_and_the_agent_answers_by_itself() {
    let mut world = World::enrolled().await;
    let mut events = world.agent().subscribe();
    world.agent().listen(&alice(), SERVICE).await.unwrap();
    let trade = world.server.device().open_trade(TradeKind::Trade, b"", Outer::Key);
    world.server.device().send(trade, b"hello");
    world.server.device().close(trade);
    world.carry().await;
    world.carry().await;
    assert_eq!(world.agent().trade(&alice(), trade).await.unwrap().state, "Ended");
    assert!(world.server.device().receipt(trade).unwrap().is_countersigned());
    assert_eq!(world.received(&alice(), trade, 0).await, [b"hello".to_vec()]);
    let mut seen = vec![];
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    let offered = Event::TradeOffered {
        connection: alice().connection,
        uid: 1000,
        trade,
        service: SERVICE.to_owned(),
    };
    let message = Event::Message { uid: 1000, trade, index: 2 };
    assert_eq!(seen, [offered, message, Event::Closed { uid: 1000, trade }]);
}

#[tokio::test]
async fn an_exchange_that_the_device_begins() {
    for outer in [Outer::Serial, Outer::Key] {
        let mut world = World::enrolled().await;
        world.server.reply_prefix = Some(b"re: ".to_vec());
        let agent = world.agent().clone();
        let options = nested(outer);
        let exchanged =
            world
                .during(async move {
                    agent.exchange(&alice(), SERVICE, b"price?".to_vec(), &options).await
                })
                .await
                .unwrap();
        assert_eq!(exchanged.reply.payload, b"re: price?");
        assert_eq!(world.server.device().delivered(exchanged.trade), [b"price?".to_vec()]);
        let agent = world.agent().clone();
        let receipt = world
            .during(async move { agent.close(&alice(), exchanged.trade, LONG).await })
            .await
            .unwrap();
        let server_id = world.server.device().bond.server_id;
        assert!(SignedReceipt::verify(&receipt, &server_id).unwrap().is_countersigned());
    }
}

#[tokio::test]
async fn a_late_reply_is_not_lost() {
    let mut world = World::enrolled().await;
    world.server.reply_prefix = Some(b"re: ".to_vec());
    let options = Options { wait: Duration::ZERO, ..Options::default() };
    let late = world.agent().exchange(&alice(), SERVICE, b"slow".to_vec(), &options).await;
    assert_eq!(late.unwrap_err().kind, Kind::Timeout);
    world.carry().await;
    let held = world.agent().holdings(&alice()).await.unwrap();
    let trade = world.agent().trade(&alice(), held.trades[0]).await.unwrap();
    assert!(trade.is_exchange);
    assert_eq!(world.received(&alice(), trade.id, 0).await, [b"re: slow".to_vec()]);
}

#[tokio::test]
async fn an_exchange_that_the_server_begins_waits_for_a_listener() {
    let mut world = World::enrolled().await;
    let trade = world.server.device().open_trade(TradeKind::Exchange, b"stock?", Outer::Serial);
    world.carry().await;
    assert_eq!(world.agent().trade(&alice(), trade).await.unwrap_err().kind, Kind::NotFound);
    let mut events = world.agent().subscribe();
    world.agent().listen(&alice(), SERVICE).await.unwrap();
    let event = events.try_recv().unwrap();
    assert!(matches!(event, Event::TradeOffered { uid: 1000, trade: id, .. } if id == trade));
    assert_eq!(world.received(&alice(), trade, 0).await, [b"stock?".to_vec()]);
    world.agent().send(&alice(), trade, b"seven".to_vec(), "").await.unwrap();
    world.carry().await;
    world.carry().await;
    assert_eq!(world.server.device().delivered(trade), [b"seven".to_vec()]);
    assert_eq!(world.agent().trade(&alice(), trade).await.unwrap().state, "Ended");
}

#[tokio::test]
async fn an_application_carries_its_messages_itself() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &nested(Outer::Key)).await;
    world.carry().await;
    let carried = world.agent().seal(&alice(), trade, b"by hand".to_vec(), "").await.unwrap();
    let lost = world.agent().seal(&alice(), trade, b"lost".to_vec(), "").await.unwrap();
    assert_eq!(world.agent().status().pending, 0, "the outbox has nothing of it");
    assert_ne!(
        Envelope::decode(&lost).unwrap().route.seq,
        Envelope::decode(&carried).unwrap().route.seq
    );
    world.server.handle(CarryKind::Message, &carried).unwrap();
    assert_eq!(world.server.device().delivered(trade), [b"by hand".to_vec()]);

    world.server.device().send(trade, b"down");
    world.server.device().send(trade, b"deeper");
    let (first, second) = (world.server.seal_next(), world.server.seal_next());
    let early = world.agent().open(&alice(), trade, &second).await.unwrap_err();
    assert_eq!(early.kind, Kind::Incomplete);
    let message = world.agent().open(&alice(), trade, &first).await.unwrap();
    assert_eq!((message.index, message.payload), (1, b"down".to_vec()));
    assert_eq!(world.agent().open(&alice(), trade, &second).await.unwrap().payload, b"deeper");
    assert_eq!(world.agent().open(&alice(), trade, &second).await.unwrap().payload, b"deeper");
    let stale = world.agent().open(&alice(), trade, &first).await.unwrap_err();
    assert_eq!(stale.kind, Kind::Stale);

    // What never arrived is withdrawn, so the trade ends all the same.
    let agent = world.agent().clone();
    world.during(async move { agent.close(&alice(), trade, LONG).await }).await.unwrap();
    assert_eq!(world.server.device().delivered(trade), [b"by hand".to_vec()]);
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_uses_nothing_up() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    let largest = world.agent().status().max_message as usize;
    let over = world.agent().send(&alice(), trade, vec![7; largest + 1], "").await;
    assert_eq!(over.unwrap_err().kind, Kind::TooLarge);
    let index = world.agent().send(&alice(), trade, vec![7; largest], "").await.unwrap();
    assert_eq!(index, 2);
    let word = world.agent().send(&alice(), trade, vec![], "caf\u{e9}").await;
    assert_eq!(word.unwrap_err().kind, Kind::InvalidArgument);
    world.carry().await;
    assert_eq!(world.server.device().delivered(trade), [vec![7; largest]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_each_get_their_own_place() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    let senders: Vec<_> = (0..32u8)
        .map(|number| {
            let agent = world.agent().clone();
            tokio::spawn(async move { agent.send(&alice(), trade, vec![number], "").await })
        })
        .collect();
    let mut expected = vec![vec![]; senders.len()];
    for (number, sender) in senders.into_iter().enumerate() {
        let index = sender.await.unwrap().unwrap();
        *expected.get_mut(index as usize - 2).unwrap() = vec![number as u8];
    }
    world.carry().await;
    assert_eq!(world.server.device().delivered(trade), expected);
}
