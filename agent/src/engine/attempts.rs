//! How often messages that do not open may make the chip work.
//!
//! In the order `key` nothing but the chip can tell a forged message from a true one. A token
//! bucket for each user bounds what forgers cost: an attempt takes a token, and one that opens
//! gives it back (`docs/decisions/0086-attempts-in-vain.md`).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use twinseal_hardware::Caller as Turn;

use crate::{Error, Kind};

/// Attempts in vain that a user has at once.
const BURST: u32 = 64;
/// After this time he has one more, up to the burst.
const REFILL: Duration = Duration::from_secs(1);

/// The buckets of all users. Whoever is not in it has a full one.
#[derive(Default)]
pub(super) struct Attempts(HashMap<Turn, Bucket>);

struct Bucket {
    spent: u32,
    /// When a spent token last came back, or the first was spent.
    since: Instant,
}

impl Attempts {
    /// Takes a token for one attempt.
    ///
    /// # Errors
    /// [`Kind::Busy`] when there is none.
    pub(super) fn begin(&mut self, turn: Turn, now: Instant) -> Result<(), Error> {
        self.0.retain(|_, bucket| {
            bucket.refill(now);
            bucket.spent > 0
        });
        let bucket = self.0.entry(turn).or_insert(Bucket { spent: 0, since: now });
        if bucket.spent >= BURST {
            return Err(Error::new(Kind::Busy, "too many of your messages did not open")
                .and("find out who makes them, and try again in a second"));
        }
        bucket.spent += 1;
        Ok(())
    }

    /// Gives the token back: the message opened.
    pub(super) fn opened(&mut self, turn: Turn) {
        if let Some(bucket) = self.0.get_mut(&turn) {
            bucket.spent = bucket.spent.saturating_sub(1);
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        while self.spent > 0 && now.duration_since(self.since) >= REFILL {
            self.spent -= 1;
            self.since += REFILL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts of a user that are let through until one is not.
    fn let_through(attempts: &mut Attempts, turn: Turn, now: Instant) -> u32 {
        let mut count = 0;
        while attempts.begin(turn, now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn attempts_in_vain_are_bounded_for_each_user() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        assert_eq!(let_through(&mut attempts, 1, now), BURST);
        assert_eq!(attempts.begin(1, now).unwrap_err().kind, Kind::Busy);
        assert_eq!(attempts.begin(2, now), Ok(()), "another user");
        assert_eq!(let_through(&mut attempts, 1, now + 3 * REFILL), 3);
        assert_eq!(let_through(&mut attempts, 1, now + 1000 * REFILL), BURST, "and no more");
    }

    #[test]
    fn what_opens_costs_nothing_and_who_is_quiet_is_forgotten() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..10 * BURST {
            attempts.begin(1, now).unwrap();
            attempts.opened(1);
        }
        assert_eq!(attempts.begin(2, now), Ok(()));
        assert_eq!(attempts.0.len(), 1);
    }
}
