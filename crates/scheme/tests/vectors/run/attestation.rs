//! Attestations of applications' keys.

use twinseal_scheme::attestation::Attestation;

use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};

pub const OPERATIONS: &[Operation] = &[
    // Which device it is said to be of is looked up, and not certified.
    Operation { name: "attestation", input: Some("attestation"), exact: false, run: attestation },
];

fn attestation(i: &Inputs) -> Outcome {
    let attestation = Attestation::decode(&i.bytes("attestation"))?;
    let key = attestation.verify(&i.bytes("nonce"), &i.bytes("ak-public"))?;
    Ok(vec![
        bytes("out-spki", key.spki()),
        word("out-signs", key.signs),
        word("out-decrypts", key.decrypts),
    ])
}
