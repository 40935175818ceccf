//! What couriers carry: one function for each kind.

use super::{App, Error};

/// A kind of request from a device, which is also the last part of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Q, answered by M0.
    Challenge,
    /// M1, answered by M2.
    Claim,
    /// M3, answered by M4.
    Activate,
    /// M5, answered by G.
    Confirm,
    /// An envelope, answered by an Answer.
    Message,
    /// A fetch, answered by an Answer.
    Fetch,
}

impl Kind {
    /// The kind of a word.
    pub fn of_word(word: &str) -> Option<Kind> {
        match word {
            "challenge" => Some(Kind::Challenge),
            "claim" => Some(Kind::Claim),
            "activate" => Some(Kind::Activate),
            "confirm" => Some(Kind::Confirm),
            "message" => Some(Kind::Message),
            "fetch" => Some(Kind::Fetch),
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
            Kind::Claim => self.claim(bytes).await,
            Kind::Activate => self.activate(bytes).await,
            Kind::Confirm => self.confirm(bytes).await,
            Kind::Message => self.message(bytes).await,
            Kind::Fetch => self.fetch(bytes).await,
        }
    }
}
