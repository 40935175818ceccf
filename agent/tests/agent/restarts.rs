//! Starts, ends, and what is left of what was under way.

use twinseal_agent::{CarryKind, Options, Outcome, State};
use twinseal_scheme::answer::Answer;
use twinseal_scheme::message::Envelope;

use crate::world::{LONG, World, alice, root};

#[tokio::test]
async fn a_full_outbox_survives_and_goes_first() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    for number in 0..20u8 {
        world.agent().send(&alice(), trade, vec![number], "").await.unwrap();
    }
    let first = world.agent().next(&root(), LONG).await.unwrap().unwrap();
    world.restart().await;
    assert_eq!(world.agent().status().pending, 22, "21 envelopes, and the new epoch's opening");
    let again = world.agent().next(&root(), LONG).await.unwrap().unwrap();
    assert_eq!((again.kind, again.body), (CarryKind::Message, first.body), "the same bytes");
    world.agent().caller_gone(&root().connection);
    world.agent().send(&alice(), trade, vec![20], "").await.unwrap();
    world.carry().await;
    let expected: Vec<Vec<u8>> = (0..=20).map(|number| vec![number]).collect();
    assert_eq!(world.server.device().delivered(trade), expected);
    assert_eq!(world.server.device().epoch(), 2);
    assert_eq!(world.agent().status().pending, 0);
}

#[tokio::test]
async fn an_epoch_that_sealed_nothing_is_dropped_and_a_used_one_is_not() {
    let mut world = World::enrolled().await;
    world.restart().await;
    world.restart().await;
    assert_eq!(world.agent().status().pending, 1, "only the newest opening");
    world.carry().await;
    assert_eq!(world.server.device().epoch(), 3);

    // An envelope that the application carries needs its epoch to be opened.
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.restart().await;
    let envelope = world.agent().seal(&alice(), trade, b"carried".to_vec(), "").await.unwrap();
    world.restart().await;
    assert_eq!(world.agent().status().pending, 2);
    world.carry().await;
    world.server.handle(CarryKind::Message, &envelope).unwrap();
    assert_eq!(world.server.device().delivered(trade), [b"carried".to_vec()]);
}

#[tokio::test]
async fn no_number_is_used_twice_over_failures_and_restarts() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.chip.kill();
    let failed = world.agent().send(&alice(), trade, b"no chip".to_vec(), "").await;
    assert!(failed.is_err());
    assert_eq!(world.agent().status().state, State::ChipAbsent);
    world.chip.restart();
    world.state(State::Active).await;
    let mut routes = vec![];
    for round in 0..3u8 {
        world.agent().send(&alice(), trade, vec![round], "").await.unwrap();
        let carry = world.next_message().await;
        routes.push(Envelope::decode(&carry.1).unwrap().route);
        world.agent().caller_gone(&root().connection);
        world.carry().await;
        world.restart().await;
        world.carry().await;
    }
    let mut numbers: Vec<_> = routes.iter().map(|route| (route.epoch, route.seq)).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    assert!(routes.first().unwrap().seq > 2, "the failed one used a number up: {routes:?}");
    assert_eq!(world.server.device().delivered(trade), [vec![0], vec![1], vec![2]]);
}

#[tokio::test]
async fn what_has_arrived_waits_for_the_application_over_a_restart() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.server.device().send(trade, b"keep this");
    world.server.device().is_deaf = true;
    world.carry_next().await;
    world.restart().await;
    world.server.device().is_deaf = false;
    assert_eq!(world.received(&alice(), trade, 0).await, [b"keep this".to_vec()]);
    // Sealed anew in the next epoch, the same content is delivered once.
    world.carry().await;
    assert_eq!(world.server.device().waiting(), 0);
    assert_eq!(world.received(&alice(), trade, 0).await, [b"keep this".to_vec()]);
    assert_eq!(world.agent().trade(&alice(), trade).await.unwrap().received, 1);
    let files: Vec<_> = std::fs::read_dir(world.dir.path().join("state")).unwrap().collect();
    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"keep this"), "plaintext at rest");
        assert!(!bytes.windows(10).any(|window| window == b"Eva Muster"), "user info at rest");
    }
}

#[tokio::test]
async fn a_chip_that_went_back_seals_nothing_and_a_disk_that_did_is_reported() {
    let mut world = World::enrolled().await;
    world.stop().await;
    let state = world.dir.path().join("state");
    let copy = world.dir.path().join("copy");
    copy_dir(&state, &copy);
    let old_chip = world.chip.copy();
    world.restart_stopped().await;
    world.restart().await;
    world.stop().await;

    let newer = std::mem::replace(&mut world.chip, old_chip);
    world.restart_stopped().await;
    assert_eq!(world.agent().status().state, State::ChipRolledBack);
    assert!(
        world
            .agent()
            .open_trade(&alice(), crate::world::SERVICE, &Options::default())
            .await
            .is_err()
    );
    world.stop().await;

    world.chip = newer;
    std::fs::remove_dir_all(&state).unwrap();
    copy_dir(&copy, &state);
    world.restart_stopped().await;
    let status = world.agent().status();
    assert_eq!(status.state, State::Active);
    assert!(status.message.contains("backup"), "{}", status.message);
    world.carry().await;
    assert_eq!(world.server.device().epoch(), 4);
}

#[tokio::test]
async fn a_refused_epoch_is_tried_again_with_what_it_sealed() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.restart().await;
    world.agent().send(&alice(), trade, b"after".to_vec(), "").await.unwrap();
    world.server.verdict = Some(Answer::Refused("epoch-clock".to_owned()));
    world.carry_next().await;
    assert_eq!(world.agent().status().pending, 1, "the opening is gone, the message is not");
    let refused = world.server.device().epoch();
    world.until_pending(2).await;
    world.carry_everything().await;
    assert_eq!(world.server.device().epoch(), refused + 1);
    assert_eq!(world.server.device().delivered(trade), [b"after".to_vec()]);
}

#[tokio::test]
async fn whichever_answer_is_lost_with_the_agent_nothing_is_lost_or_done_twice() {
    let mut world = World::enrolled().await;
    let mut lost = 0;
    loop {
        let trade = world.open_trade(&alice(), &Options::default()).await;
        world.agent().send(&alice(), trade, b"up".to_vec(), "").await.unwrap();
        world.server.device().expect(trade, b"down");
        let mut carried = 0;
        let mut is_lost = false;
        while world.server.device().receipt(trade).is_none() {
            let carry = world.agent().next(&root(), LONG).await.unwrap().unwrap();
            let answer = world.server.handle(carry.kind, &carry.body).unwrap();
            carried += 1;
            if carried == lost + 1 && !is_lost {
                is_lost = true;
                world.restart().await;
                continue;
            }
            world.agent().answer(&root(), carry.id, Outcome::Ok, answer).await.unwrap();
        }
        world.carry().await;
        assert_eq!(world.server.device().delivered(trade), [b"up".to_vec()], "lost: {lost}");
        assert_eq!(world.received(&alice(), trade, 0).await, [b"down".to_vec()], "lost: {lost}");
        assert_eq!(world.agent().trade(&alice(), trade).await.unwrap().state, "Ended");
        assert!(world.server.device().receipt(trade).unwrap().is_countersigned());
        lost += 1;
        if !is_lost {
            break;
        }
    }
    assert!(lost >= 8, "every answer of a trade was lost once: {lost}");
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
