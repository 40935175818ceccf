//! Makes every vector, the same at every run.

mod aad;
mod admissions;
mod answers;
mod attestations;
mod certificate;
mod chip;
mod claims;
mod contents;
mod device_keys;
mod down;
mod ek_certificates;
mod encrypt_form;
mod enrolment;
mod envelopes;
mod epochs;
mod fetches;
mod layers;
mod links;
mod oaep_layer;
mod receipts;
mod rsa;
mod rsa_tokens;
mod sign1_form;
mod signed;
mod statements;
mod tokens;
mod tpm;
mod trades;
mod transcript;
mod up;

use crate::format::{Vector, print_shared};
use crate::parties::{Epoch, Parties};
use down::Down;
use up::Up;

pub use aad::ITEMS as AAD_ITEMS;

pub fn all(p: &Parties) -> Vec<Vector> {
    let epoch = p.epoch(3);
    let m = Messages { p, epoch: &epoch };
    [
        up::vectors(&m),
        down::vectors(&m),
        aad::vectors(&m),
        envelopes::vectors(&m),
        layers::vectors(&m),
        epochs::vectors(&m),
        answers::vectors(&m),
        fetches::vectors(&m),
        statements::vectors(p),
        tpm::vectors(p),
        device_keys::vectors(p),
        enrolment::vectors(p),
        claims::vectors(p),
        tokens::vectors(p),
        contents::vectors(),
        trades::vectors(),
        receipts::vectors(p),
        ek_certificates::vectors(p),
        links::vectors(p),
        admissions::vectors(),
        attestations::vectors(p),
        encrypt_form::vectors(&m),
        sign1_form::vectors(&m),
        rsa::vectors(&m),
        rsa_tokens::vectors(p),
    ]
    .concat()
}

/// The files that vectors share.
pub fn shared(p: &Parties) -> Vec<(&'static str, String)> {
    let chip = "The keys of the device's chip, and what its attestation key certifies of them.";
    let transcript = transcript::Transcript::new(p);
    vec![
        ("parties", p.print()),
        ("chip", print_shared(chip, &device_keys::shared(p))),
        ("enrolment", print_shared("One whole enrolment.", &transcript.shared())),
    ]
}

/// Both parties within one epoch.
pub struct Messages<'a> {
    pub p: &'a Parties,
    pub epoch: &'a Epoch,
}

impl<'a> Messages<'a> {
    pub fn up(&self, outer: u8) -> Up<'a> {
        Up::new(self.p, self.epoch, outer)
    }

    pub fn down(&self, outer: u8) -> Down<'a> {
        Down::new(self.p, self.epoch, outer)
    }
}

/// `serial` or `key`.
pub fn order(outer: u8) -> &'static str {
    if outer == crate::forge::SERIAL { "serial" } else { "key" }
}

/// The same bytes with the lowest bit of one of them changed.
pub fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// The same bytes with the lowest bit of the last of them changed.
pub fn last_changed(bytes: &[u8]) -> Vec<u8> {
    changed(bytes, bytes.len() - 1)
}
