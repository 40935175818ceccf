//! How long to wait before another attempt.

use std::time::Duration;

use rand_core::{OsRng, RngCore};

/// Waits that double up to a longest one. Each is drawn between half of that and all of it, so
/// that a thousand couriers do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait, and the longest.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let half = doubled.min(self.longest) / 2;
        half + half.mul_f64(f64::from(OsRng.next_u32()) / f64::from(u32::MAX))
    }

    /// It went well: the next wait is a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        for most in [100, 200, 400, 800, 1000, 1000, 1000] {
            let wait = backoff.failed();
            let most = Duration::from_millis(most);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        for _ in 0..100 {
            assert!(backoff.failed() <= longest);
        }
        backoff.succeeded();
        assert!(backoff.failed() <= first);
    }

    #[test]
    fn no_two_couriers_wait_alike() {
        let wait = || Backoff::new(Duration::from_secs(60), Duration::from_secs(60)).failed();
        let first = wait();
        assert!((0..20).any(|_| wait() != first));
    }
}
