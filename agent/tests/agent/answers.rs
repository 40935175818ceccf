//! What the server, or somebody in its place, answers.

use std::time::Duration;

use twinseal_agent::{CarryKind, Event, Kind, Options, Outcome, State};
use twinseal_scheme::answer::Answer;

use crate::server::Server;
use crate::world::{LONG, World, alice, root};

#[tokio::test]
async fn forged_tampered_and_foreign_answers_leave_the_outbox_as_it_was() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    let mut other = World::enrolled().await;
    let _ = other.open_trade(&alice(), &Options::default()).await;
    let (_, theirs) = other.next_message().await;
    let foreign = other.server.handle(CarryKind::Message, &theirs).unwrap();

    type Forgery = fn(&mut Server, &[u8], Vec<u8>) -> (Outcome, Vec<u8>);
    let forgeries: [Forgery; 6] = [
        |_, _, mut right| {
            *right.last_mut().unwrap() ^= 1;
            (Outcome::Ok, right)
        },
        |server, request, _| {
            server.verdict = Some(Answer::Nothing);
            (Outcome::Ok, server.handle(CarryKind::Message, request).unwrap())
        },
        |_, _, _| (Outcome::Ok, vec![]),
        |_, _, _| (Outcome::Refused, b"rejected".to_vec()),
        |_, _, _| (Outcome::Refused, b"stale".to_vec()),
        |_, _, _| (Outcome::Unreachable, vec![]),
    ];
    let mut right = foreign;
    for (number, forge) in forgeries.into_iter().enumerate() {
        world.agent().send(&alice(), trade, vec![number as u8], "").await.unwrap();
        let (id, body) = world.next_message().await;
        // At first an answer of another server, then the right one to the message before.
        world.agent().answer(&root(), id, Outcome::Ok, right).await.unwrap();
        right = world.server.handle(CarryKind::Message, &body).unwrap();
        let id = world.offered_again(CarryKind::Message, &body).await;
        let (outcome, forged) = forge(&mut world.server, &body, right.clone());
        world.agent().answer(&root(), id, outcome, forged).await.unwrap();
        assert_eq!(world.agent().status().pending, 1);
        assert_eq!(world.agent().status().state, State::Active);
        let id = world.offered_again(CarryKind::Message, &body).await;
        world.agent().answer(&root(), id, Outcome::Ok, right.clone()).await.unwrap();
        assert_eq!(world.agent().status().pending, 0);
    }
}

#[tokio::test]
async fn a_refused_message_ends_its_trade_and_no_other() {
    let mut world = World::enrolled().await;
    let refused = world.open_trade(&alice(), &Options::default()).await;
    let other = world.open_trade(&alice(), &Options::default()).await;
    let mut events = world.agent().subscribe();
    world.server.verdict = Some(Answer::Refused("wrong-service".to_owned()));
    world.carry().await;
    assert_eq!(world.agent().trade(&alice(), refused).await.unwrap().state, "Refused");
    assert_eq!(events.try_recv().unwrap(), Event::Closed { uid: 1000, trade: refused });
    let close = world.agent().close(&alice(), refused, Duration::ZERO).await.unwrap_err();
    assert_eq!(close.kind, Kind::Rejected);
    world.agent().send(&alice(), other, b"goes on".to_vec(), "").await.unwrap();
    world.carry().await;
    assert_eq!(world.server.device().delivered(other), [b"goes on".to_vec()]);
}

#[tokio::test]
async fn a_duplicate_or_tampered_downlink_is_delivered_once_or_never() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.server.device().send(trade, b"once");
    // Damaged on the way.
    let fetch = world.agent().next(&root(), LONG).await.unwrap().unwrap();
    assert_eq!(fetch.kind, CarryKind::Fetch);
    let mut damaged = world.server.handle(CarryKind::Fetch, &fetch.body).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    world.agent().answer(&root(), fetch.id, Outcome::Ok, damaged).await.unwrap();
    assert!(world.received(&alice(), trade, 0).await.is_empty());
    // The server loses the acknowledgement, and sends it once more.
    world.server.device().is_deaf = true;
    for _ in 0..2 {
        let fetch = world.agent().next(&root(), LONG).await.unwrap().unwrap();
        let answer = world.server.handle(CarryKind::Fetch, &fetch.body).unwrap();
        world.agent().answer(&root(), fetch.id, Outcome::Ok, answer).await.unwrap();
    }
    world.server.device().is_deaf = false;
    world.carry().await;
    assert_eq!(world.received(&alice(), trade, 0).await, [b"once".to_vec()]);
    assert_eq!(world.server.device().waiting(), 0, "acknowledged");
    assert_eq!(world.agent().trade(&alice(), trade).await.unwrap().received, 1);
}

#[tokio::test]
async fn new_server_keys_begin_a_new_epoch() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.server.rotate(0);
    // The server does not like a fetch; the agent asks for its keys.
    world.server.verdict = Some(Answer::Refused("statement-stale".to_owned()));
    assert_eq!(world.carry_next().await, CarryKind::Fetch);
    assert_eq!(world.carry_next().await, CarryKind::Challenge);
    world.until_pending(1).await;
    world.carry().await;
    assert_eq!(world.server.device().epoch(), 2);
    world.server.device().send(trade, b"by the new key");
    world.carry().await;
    assert_eq!(world.received(&alice(), trade, 0).await, [b"by the new key".to_vec()]);
}

#[tokio::test]
async fn what_was_sealed_under_void_keys_is_sealed_anew() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.agent().send(&alice(), trade, b"before".to_vec(), "").await.unwrap();
    world.server.rotate(world.server.keys.sequence + 1);
    assert_eq!(world.carry_next().await, CarryKind::Message);
    assert_eq!(world.carry_next().await, CarryKind::Challenge);
    // The new epoch's opening, and both messages behind it.
    world.until_pending(3).await;
    world.carry().await;
    assert_eq!(world.server.device().epoch(), 2);
    assert_eq!(world.server.device().delivered(trade), [b"before".to_vec()]);
    assert_eq!(world.agent().status().pending, 0);
}

#[tokio::test]
async fn an_older_statement_is_not_believed() {
    let mut world = World::enrolled().await;
    world.server.keys.sequence -= 1;
    world.server.verdict = Some(Answer::Refused("statement-stale".to_owned()));
    assert_eq!(world.carry_next().await, CarryKind::Fetch);
    assert_eq!(world.carry_next().await, CarryKind::Challenge);
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.agent().send(&alice(), trade, b"x".to_vec(), "").await.unwrap();
    world.carry().await;
    assert_eq!(world.server.device().delivered(trade), [b"x".to_vec()]);
    assert_eq!(world.server.device().epoch(), 1);
}
