//! What travels: sealed messages, requests, replies. Nothing is encrypted; an honest party
//! reads only what the real one could open.

use sha2::{Digest, Sha256};
use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{InnerHash, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Content, Index};

pub type Hash = [u8; 32];

/// An envelope. The salt makes two sealings of one content different bytes.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub direction: Direction,
    pub generation: u32,
    pub epoch: u64,
    pub seq: u32,
    pub outer: Outer,
    pub inside: Inside,
    pub salt: u64,
}

#[derive(Clone, Debug)]
pub enum Inside {
    /// An epoch-open, with the chip's clock.
    Open(u64),
    Message(Content),
}

impl Sealed {
    pub fn hash(&self) -> Hash {
        let hash = Sha256::new()
            .chain_update([self.direction.number(), self.outer.number()])
            .chain_update(self.generation.to_be_bytes())
            .chain_update(self.epoch.to_be_bytes())
            .chain_update(self.seq.to_be_bytes())
            .chain_update(self.salt.to_be_bytes());
        let hash = match &self.inside {
            Inside::Open(clock_ms) => hash.chain_update(clock_ms.to_be_bytes()),
            Inside::Message(content) => hash
                .chain_update(content.trade.0)
                .chain_update(content.index.number().to_be_bytes())
                .chain_update([content.message_type.number()])
                .chain_update(&content.payload),
        };
        hash.finalize().into()
    }

    pub fn trade(&self) -> Option<TradeId> {
        match &self.inside {
            Inside::Open(_) => None,
            Inside::Message(content) => Some(content.trade),
        }
    }

    pub fn is_open(&self) -> bool {
        self.trade().is_none()
    }
}

/// "I have this down-message, durably."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub trade: TradeId,
    pub index: Index,
    pub hash: InnerHash,
}

#[derive(Clone, Debug)]
pub struct Fetch {
    pub generation: u32,
    pub epoch: u64,
    pub acks: Vec<Ack>,
    pub salt: u64,
}

#[derive(Clone, Debug)]
pub enum Request {
    Envelope(Sealed),
    Fetch(Fetch),
}

impl Request {
    pub fn hash(&self) -> Hash {
        match self {
            Request::Envelope(sealed) => sealed.hash(),
            Request::Fetch(fetch) => {
                let salt =
                    Sha256::new().chain_update("fetch").chain_update(fetch.salt.to_be_bytes());
                salt.finalize().into()
            }
        }
    }
}

/// What makes an answer authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKey {
    /// The answer key of an epoch, which the server has only while the epoch is open.
    Epoch(u64),
    /// The server's signature, where no epoch is shared.
    Signature,
    /// Nothing: the one constant answer, or a forgery.
    Nothing,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Accepted,
    Refused(Reason),
    Downlink(Option<Sealed>),
}

#[derive(Clone, Debug)]
pub struct Reply {
    /// The request's hash.
    pub to: Hash,
    pub answer: Answer,
    pub key: AnswerKey,
}
