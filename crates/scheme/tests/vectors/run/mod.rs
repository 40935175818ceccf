//! Does what a vector's operation says, with the scheme's own code.

mod admission;
mod answer;
mod attestation;
mod ek;
mod enrol;
mod epoch;
mod message;
mod state;
mod token;
mod tpm;
mod trade;

pub use state::Replay;

use twinseal_scheme::Reason;

use crate::format::{Field, Inputs};

/// What comes out, as the fields of a vector call it.
pub type Outcome = Result<Vec<Field>, Reason>;

/// What a vector can ask for.
#[derive(Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    /// The bytes from outside, which are damaged to see that nothing breaks.
    pub input: Option<&'static str>,
    /// Whether nothing but these very bytes is accepted.
    pub exact: bool,
    pub run: fn(&Inputs) -> Outcome,
}

/// Every operation there is.
pub fn operations() -> Vec<Operation> {
    [
        message::OPERATIONS,
        epoch::OPERATIONS,
        answer::OPERATIONS,
        tpm::OPERATIONS,
        enrol::OPERATIONS,
        token::OPERATIONS,
        trade::OPERATIONS,
        ek::OPERATIONS,
        admission::OPERATIONS,
        attestation::OPERATIONS,
    ]
    .concat()
}

pub fn operation(name: &str) -> Operation {
    let found = operations().into_iter().find(|operation| operation.name == name);
    found.unwrap_or_else(|| panic!("no operation {name}"))
}
