//! A model of device, courier and server, with loss, duplication, reordering, forged
//! answers and a crash between any two durable writes (docs/scheme.md sections 7 and 8).
//!
//! Envelopes are not encrypted here, but every decision is made by the real functions of
//! `trade` and `epoch::judge`. The model confirms the rules, and notices when one of them
//! is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod device;
mod flaw;
mod fuse;
mod ledger;
mod server;
mod wire;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use flaw::Flaw;
use world::{Event, schedule};

/// Searches for a schedule that breaks a promise; always the same search.
fn search(flaw: Flaw, cases: u32, shrinks: u32) -> Option<(String, Vec<Event>)> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: shrinks, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result =
        runner.run(&schedule(), |events| check::run(flaw, &events).map_err(TestCaseError::fail));
    match result {
        Ok(()) => None,
        Err(TestError::Fail(reason, events)) => Some((reason.to_string(), events)),
        Err(TestError::Abort(reason)) => panic!("the search itself failed: {reason}"),
    }
}

#[test]
fn every_schedule_keeps_every_promise() {
    if let Some((reason, events)) = search(Flaw::None, 400, 4000) {
        panic!("{reason} after {events:?}");
    }
}

/// The model would be worth nothing if it could not fail: each broken rule is found, by the
/// promise that it breaks.
#[test]
fn every_flaw_is_found() {
    for (flaw, promise) in [
        (Flaw::DedupesBySeqOnly, "twice or out of order"),
        (Flaw::DedupesDownByEnvelope, "twice or out of order"),
        (Flaw::OpenJumpsQueue, "epoch-open answered"),
        (Flaw::OutboxInParallel, "it does not come to rest"),
        (Flaw::AcksBeforeHandOver, "stands at"),
        (Flaw::ReusesSeq, "two sealings"),
        (Flaw::TrustsAnyAnswer, "the server has no trade"),
        (Flaw::CountsFirst, "without a rollback"),
        (Flaw::ForgetsEnded, "stands at (Ended, Offered)"),
        (Flaw::ClosesLoose, "stands at"),
        (Flaw::RefusesEarly, "it does not come to rest"),
        (Flaw::DropsOpenInUse, "was never opened"),
    ] {
        let (reason, _) = search(flaw, 2000, 0).expect("no schedule shows the flaw");
        assert!(reason.contains(promise), "{flaw:?}: {reason}");
    }
}
