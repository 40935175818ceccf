//! Who may do what: trades are their owner's alone.

use std::time::Duration;

use twinseal_agent::{Caller, Event, Kind, Options, Outcome};
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::Kind as TradeKind;

use crate::world::{SERVICE, World, alice, bob, root, user};

#[tokio::test]
async fn another_user_neither_sees_nor_uses_a_trade() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.server.device().send(trade, b"for alice");
    world.carry().await;
    let agent = world.agent();
    assert!(agent.holdings(&bob()).await.unwrap().trades.is_empty());
    let wait = Duration::ZERO;
    let refusals = [
        agent.trade(&bob(), trade).await.err(),
        agent.send(&bob(), trade, b"x".to_vec(), "").await.err(),
        agent.seal(&bob(), trade, b"x".to_vec(), "").await.err(),
        agent.open(&bob(), trade, b"x").await.err(),
        agent.receive(&bob(), trade, 0, wait).await.err(),
        agent.close(&bob(), trade, wait).await.err(),
        agent.receipt(&bob(), trade).await.err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap().kind, Kind::NotFound);
    }
    assert_eq!(agent.holdings(&alice()).await.unwrap().trades.len(), 1);
    assert_eq!(world.received(&alice(), trade, 0).await, [b"for alice".to_vec()]);
    assert_eq!(agent.trade(&alice(), trade).await.unwrap().state, "Open");
}

#[tokio::test]
async fn a_service_is_for_whom_the_operator_names() {
    let mut world = World::enrolled().await;
    let options = Options::default();
    let stranger = user(4711);
    for service in [SERVICE, "com.example.other"] {
        let agent = world.agent();
        let opened = agent.open_trade(&stranger, service, &options).await.unwrap_err();
        assert_eq!(opened.kind, Kind::NotAllowed);
        assert_eq!(agent.listen(&stranger, service).await.unwrap_err().kind, Kind::NotAllowed);
        let exchanged = agent.exchange(&stranger, service, vec![], &options).await.unwrap_err();
        assert_eq!(exchanged.kind, Kind::NotAllowed);
    }
    let wrong = world.agent().open_trade(&alice(), "Till", &options).await.unwrap_err();
    assert_eq!(wrong.kind, Kind::InvalidArgument);
    world.open_trade(&alice(), &options).await;
    world.carry().await;
}

#[tokio::test]
async fn one_user_listens_until_his_connection_goes() {
    let mut world = World::enrolled().await;
    world.agent().listen(&alice(), SERVICE).await.unwrap();
    let second = world.agent().listen(&bob(), SERVICE).await.unwrap_err();
    assert_eq!(second.kind, Kind::Busy);
    let first_trade = world.server.device().open_trade(TradeKind::Trade, b"", Outer::Serial);
    world.carry().await;
    world.agent().caller_gone(&alice().connection);
    world.agent().listen(&bob(), SERVICE).await.unwrap();
    let mut events = world.agent().subscribe();
    let second_trade = world.server.device().open_trade(TradeKind::Trade, b"", Outer::Serial);
    world.carry().await;
    let event = events.try_recv().unwrap();
    assert!(matches!(event, Event::TradeOffered { uid: 1001, trade, .. } if trade == second_trade));
    assert_eq!(world.agent().trade(&alice(), first_trade).await.unwrap().state, "Open");
    assert_eq!(world.agent().trade(&bob(), first_trade).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn only_couriers_carry_and_only_operators_see_the_serial() {
    let world = World::enrolled().await;
    let agent = world.agent();
    let wait = Duration::ZERO;
    assert_eq!(agent.next(&alice(), wait).await.unwrap_err().kind, Kind::NotAllowed);
    let answer = agent.answer(&alice(), 1, Outcome::Ok, vec![]).await.unwrap_err();
    assert_eq!(answer.kind, Kind::NotAllowed);
    assert_eq!(agent.identity(&alice()).await.unwrap_err().kind, Kind::NotAllowed);
    agent.identity(&root()).await.unwrap();

    // One courier's item is not another's to answer; it is free when the first one has gone.
    let carry = agent.next(&root(), wait).await.unwrap().unwrap();
    let other = Caller { connection: ":1.99".to_owned(), ..root() };
    assert!(agent.next(&other, wait).await.unwrap().is_none());
    let stolen = agent.answer(&other, carry.id, Outcome::Unreachable, vec![]).await;
    assert_eq!(stolen.unwrap_err().kind, Kind::NotFound);
    agent.caller_gone(&root().connection);
    let again = agent.next(&other, wait).await.unwrap().unwrap();
    assert_eq!(again.kind, carry.kind);
    let gone = agent.answer(&root(), carry.id, Outcome::Unreachable, vec![]).await;
    assert_eq!(gone.unwrap_err().kind, Kind::NotFound);
}
