//! From nothing to an enrolled device, and to another enrolment.

use std::collections::BTreeMap;
use std::time::Duration;

use twinseal_agent::{Agent, CarryKind, Event, JobState, Kind, Options, Outcome, State};
use twinseal_scheme::answer::Answer;
use twinseal_scheme::enrol::Standing;
use twinseal_swtpm_tests::{EkKind, Swtpm};

use crate::server::Server;
use crate::world::{SERVICE, World, alice, bob, config, root};

#[tokio::test]
async fn an_agent_enrols_on_both_kinds_of_ek_and_opens_its_first_epoch() {
    for kind in EkKind::ALL {
        let mut world = World::on(Swtpm::builder().only(kind).start()).await;
        assert_eq!(world.agent().status().state, State::NotEnrolled);
        let early = world.agent().open_trade(&alice(), SERVICE, &Options::default()).await;
        assert_eq!(early.unwrap_err().kind, Kind::NotEnrolled);

        world.enrol().await.unwrap();
        let status = world.agent().status();
        assert_eq!((status.assurance.as_str(), status.pending), ("tpm-ek", 0));
        assert_eq!(world.agent().origin(&root()).unwrap().as_deref(), Some("http://localhost:1"));
        assert_eq!(world.server.device().epoch(), 1);
        let hardware = world.agent().hardware(&root()).await.unwrap();
        assert_eq!(hardware.kind, "tpm");
        assert!(hardware.ek.starts_with(if kind == EkKind::Rsa2048 { "rsa" } else { "ecc" }));
        let identity = world.agent().identity(&root()).await.unwrap();
        assert_eq!(identity.serial, world.server.device().bond.serial);
        assert!(identity.ek_certificate.is_some());
    }
}

#[tokio::test]
async fn every_message_is_durable_before_it_is_sent() {
    let mut world = World::new().await;
    let link = world.server.link();
    world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap();
    let stages = [CarryKind::Challenge, CarryKind::Claim, CarryKind::Activate, CarryKind::Confirm];
    for kind in stages {
        // Sent, and the answer lost with the agent.
        let first = world.agent().next(&root(), Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(first.kind, kind);
        world.server.handle(kind, &first.body).unwrap();
        world.restart().await;
        assert_eq!(world.agent().status().state, State::Enrolling);
        let again = world.agent().next(&root(), Duration::ZERO).await.unwrap().unwrap();
        assert_eq!((again.kind, &again.body), (kind, &first.body), "the same bytes");
        let answer = world.server.handle(kind, &again.body).unwrap();
        world.agent().answer(&root(), again.id, Outcome::Ok, answer).await.unwrap();
    }
    assert_eq!(world.agent().status().state, State::Active);
    let job = world.agent().jobs(&root()).pop().unwrap();
    assert_eq!(job.state, JobState::Completed);
}

#[tokio::test]
async fn forged_answers_to_an_enrolment_change_nothing() {
    let mut world = World::new().await;
    let link = world.server.link();
    world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap();
    let mut other = Server::new();
    let mut stages = 0;
    while world.agent().status().state != State::Active {
        let carry = world.agent().next(&root(), Duration::from_secs(5)).await.unwrap().unwrap();
        let right = world.server.handle(carry.kind, &carry.body).unwrap();
        let mut wrong = right.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let forged = other.handle(carry.kind, &carry.body).unwrap_or(wrong.clone());
        for bad in [wrong, forged] {
            let id = world.offered_again(carry.kind, &carry.body).await;
            world.agent().answer(&root(), id, Outcome::Ok, bad).await.unwrap();
        }
        let id = world.offered_again(carry.kind, &carry.body).await;
        world.agent().answer(&root(), id, Outcome::Ok, right).await.unwrap();
        stages += 1;
    }
    assert_eq!(stages, 4);
}

#[tokio::test]
async fn an_operator_approves_or_denies_later() {
    for (standing, state) in
        [(Standing::Active, State::Active), (Standing::Denied, State::NotEnrolled)]
    {
        let mut world = World::new().await;
        world.server.standing = Standing::AwaitingApproval;
        let link = world.server.link();
        let job = world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap();
        for _ in 0..4 {
            world.carry_next().await;
        }
        assert_eq!(world.agent().status().state, State::AwaitingApproval);
        let JobState::Failed(error) = world.agent().job(&root(), job).unwrap().state else {
            panic!("the job ends, the approval may take days");
        };
        assert_eq!(error.kind, Kind::AwaitingApproval);
        assert!(world.agent().next(&root(), Duration::ZERO).await.unwrap().is_none(), "a pause");

        world.server.standing = standing;
        let asks = world.agent().next(&root(), Duration::from_secs(10)).await.unwrap().unwrap();
        assert_eq!(asks.kind, CarryKind::Confirm);
        let answer = world.server.handle(asks.kind, &asks.body).unwrap();
        world.agent().answer(&root(), asks.id, Outcome::Ok, answer).await.unwrap();
        world.state(state).await;
    }
}

#[tokio::test]
async fn a_refused_enrolment_ends_its_job_and_can_be_begun_again() {
    let mut world = World::new().await;
    let link = world.server.link();
    let mut events = world.agent().subscribe();
    let job = world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap();
    let twice = world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap_err();
    assert_eq!(twice.kind, Kind::Busy);
    let carry = world.agent().next(&root(), Duration::ZERO).await.unwrap().unwrap();
    let refusal = b"rejected".to_vec();
    world.agent().answer(&root(), carry.id, Outcome::Refused, refusal).await.unwrap();
    let JobState::Failed(error) = world.agent().job(&root(), job).unwrap().state else {
        panic!("the job has failed");
    };
    assert_eq!(error.kind, Kind::Rejected);
    assert_eq!(world.agent().job(&bob(), job).unwrap_err().kind, Kind::NotFound);
    let ended = loop {
        if let Event::JobCompleted { job, result, .. } = events.recv().await.unwrap() {
            break (job, result);
        }
    };
    assert_eq!(ended, (job, Err(error)));
    let broken = world.agent().enrol(&root(), "http://x", BTreeMap::new()).await.unwrap_err();
    assert_eq!(broken.kind, Kind::InvalidArgument);

    let job = world.agent().enrol(&root(), &link, BTreeMap::new()).await.unwrap();
    world.agent().cancel(&root(), job).await.unwrap();
    world.enrol().await.unwrap();
}

#[tokio::test]
async fn a_device_enrols_again_with_its_old_key_and_seals_what_was_unanswered_anew() {
    let mut world = World::enrolled().await;
    let trade = world.open_trade(&alice(), &Options::default()).await;
    world.carry().await;
    world.agent().send(&alice(), trade, b"in between".to_vec(), "").await.unwrap();
    let waiting = world.agent().status().pending;
    assert_eq!(waiting, 1);

    world.enrol().await.unwrap();
    world.carry().await;
    assert_eq!(world.server.device().bond.generation, 2);
    assert_eq!(world.server.device().delivered(trade), [b"in between".to_vec()]);
    assert_eq!(world.agent().status().pending, 0);
}

#[tokio::test]
async fn a_revoked_or_suspended_device_stops_and_can_enrol_again() {
    for (verdict, state, kind) in [
        (Answer::Revoked, State::Revoked, Kind::Revoked),
        (Answer::Quarantined, State::Suspended, Kind::Suspended),
    ] {
        let mut world = World::enrolled().await;
        let trade = world.open_trade(&alice(), &Options::default()).await;
        world.server.verdict = Some(verdict);
        world.carry_next().await;
        assert_eq!(world.agent().status().state, state);
        let send = world.agent().send(&alice(), trade, b"x".to_vec(), "").await;
        assert_eq!(send.unwrap_err().kind, kind);
        world.restart().await;
        assert_eq!(world.agent().status().state, state, "it is remembered");
        assert!(world.agent().next(&root(), Duration::ZERO).await.unwrap().is_none());

        world.enrol().await.unwrap();
        world.agent().send(&alice(), trade, b"again".to_vec(), "").await.unwrap();
        world.carry().await;
        assert_eq!(world.server.device().delivered(trade), [b"again".to_vec()]);
    }
}

#[tokio::test]
async fn the_agent_starts_whatever_is_wrong_and_says_so() {
    let mut world = World::enrolled().await;
    world.stop().await;
    let config = config(world.dir.path(), &world.chip);

    // Another chip, then none, then the right one, cleared.
    let other = Swtpm::builder().only(EkKind::EccP384).start();
    let mut elsewhere = config.clone();
    elsewhere.hardware.tcti = Some(other.tcti());
    let agent = crate::world::start_when_free(elsewhere).await;
    assert_eq!(agent.status().state, State::ChipReplaced, "{}", agent.status().message);
    end(agent).await;

    world.chip.kill();
    let agent = crate::world::start_when_free(config.clone()).await;
    assert_eq!(agent.status().state, State::ChipAbsent, "{}", agent.status().message);
    assert!(agent.status().message.contains("tcti"), "{}", agent.status().message);
    world.chip.restart();
    world.agent = Some(agent);
    world.state(State::Active).await;
    world.stop().await;

    world.chip.tool("tpm2_clear", &["-c", "p"]);
    let agent = crate::world::start_when_free(config).await;
    assert_eq!(agent.status().state, State::ChipCleared, "{}", agent.status().message);
}

async fn end(agent: Agent) {
    agent.stop().await;
}
