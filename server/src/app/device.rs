//! What couriers carry: one function for each kind.

use super::{App, Error};

/// A kind of request from a device, which is also the last part of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Q, answered by M0.
    Challenge,
}

impl Kind {
    /// The kind of a word.
    pub fn of_word(word: &str) -> Option<Kind> {
        match word {
            "challenge" => Some(Kind::Challenge),
            _ => None,
        }
    }
}

impl App {
    /// Answers a device.
    ///
    /// # Errors
    /// [`Error`], of which a device is told one word.
    pub async fn carry(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        match kind {
            Kind::Challenge => self.challenge(bytes).await,
        }
    }
}
