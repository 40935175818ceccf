//! Every target with its seeds, with what was found before, and with some mutations that are the
//! same at every run. `scripts/fuzz` goes on from there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use twinseal_fuzz::{Mutations, TARGETS, Target};

/// Panics of any thread: a server or an agent survives them, and a test would not see them.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// `TWINSEAL_TEST_ALL=1` runs so many times the mutations.
const ALL: usize = 10;

#[test]
fn whatever_comes_in_is_refused_or_has_one_encoding() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(panic);
    }));
    let times = if std::env::var_os("TWINSEAL_TEST_ALL").is_some() { ALL } else { 1 };
    for target in TARGETS {
        run(target, target.mutations * times);
    }
}

fn run(target: &Target, mutations: usize) {
    let begun = Instant::now();
    let (seeds, corpus) = ((target.seeds)(), target.corpus());
    let good = [&seeds[..], &corpus].concat();
    let mut taken = 0;
    for bytes in good.iter().cloned().chain(Mutations::of(good.clone(), 1).take(mutations)) {
        taken += usize::from(feed(target, &bytes));
    }
    let all = good.len() + mutations;
    println!(
        "{:<18} {:>4} seeds {:>3} found {mutations:>7} mutations {taken:>7} taken {:>7.2?}",
        target.name,
        seeds.len(),
        corpus.len(),
        begun.elapsed()
    );
    assert!(taken > 0 && taken < all, "{}: {taken} of {all} were taken", target.name);
}

/// Feeds bytes; on a panic, shows them and where to keep them.
fn feed(target: &Target, bytes: &[u8]) -> bool {
    let outcome = std::panic::catch_unwind(|| (target.run)(bytes));
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match outcome {
        Ok(taken) if PANICS.load(Ordering::SeqCst) == 0 => taken,
        _ => panic!("{}: put these bytes into its corpus, and mend it: {}", target.name, hex()),
    }
}
