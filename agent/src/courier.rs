//! What travels, as the courier sees it: opaque bytes of a kind.

/// One handing-out of an item; the same bytes handed out again have another.
pub type CarryId = u64;

/// Where the server takes it: the last part of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CarryKind {
    /// Q, answered by M0.
    Challenge,
    /// M1, answered by M2.
    Claim,
    /// M3, answered by M4.
    Activate,
    /// M5, answered by G.
    Confirm,
    /// A sealed message up.
    Message,
    /// A request for a sealed message down; the server may hold it for a while.
    Fetch,
}

impl CarryKind {
    /// The word on the bus and in the route.
    pub fn word(self) -> &'static str {
        match self {
            CarryKind::Challenge => "challenge",
            CarryKind::Claim => "claim",
            CarryKind::Activate => "activate",
            CarryKind::Confirm => "confirm",
            CarryKind::Message => "message",
            CarryKind::Fetch => "fetch",
        }
    }
}

/// Bytes to carry to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {
    /// To answer with.
    pub id: CarryId,
    /// Where to.
    pub kind: CarryKind,
    /// What.
    pub body: Vec<u8>,
}

/// How it went. Nothing in it is believed: only what the server sealed or signed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered; the body is its answer.
    Ok,
    /// The server, or somebody in between, said one of the four words; the body is the word.
    Refused,
    /// Nothing came back.
    Unreachable,
}

impl Outcome {
    /// Reads the word on the bus.
    pub fn of_word(word: &str) -> Option<Outcome> {
        match word {
            "ok" => Some(Outcome::Ok),
            "refused" => Some(Outcome::Refused),
            "unreachable" => Some(Outcome::Unreachable),
            _ => None,
        }
    }
}
