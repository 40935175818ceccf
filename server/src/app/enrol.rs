//! Enrolment, step by step (docs/scheme.md section 3; claims 2 and 19).

use rand_core::{OsRng, RngCore};
use twinseal_scheme::enrol::{Challenge, Request};

use super::{App, Error};
use crate::clock::now_unix_seconds;

/// How long a challenge, and an enrolment, may live, seconds.
const LIFE_SECONDS: u64 = 600;

impl App {
    /// Q to M0. No row is written: anybody may ask.
    ///
    /// # Errors
    /// The reasons of form.
    pub async fn challenge(&self, q: &[u8]) -> Result<Vec<u8>, Error> {
        let request = Request::decode(q)?;
        let mut random = [0; 24];
        OsRng.fill_bytes(&mut random);
        let expiry = now_unix_seconds() + LIFE_SECONDS;
        self.sign(Challenge::new(&request, random, expiry, self.statement.clone()).unsigned())
    }
}
