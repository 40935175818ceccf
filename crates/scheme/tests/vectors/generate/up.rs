//! Messages up.

use super::{Messages, order};
use crate::crypto::drawn;
use crate::forge::{Encrypted, Es, Frame, KEY, SERIAL, Sign1, UP, envelope};
use crate::format::{Field, Vector, bytes, word};
use crate::parties::{Epoch, Parties};
use crate::wire::array;

/// A message up in the making; every layer can be exchanged.
pub struct Up<'a> {
    pub p: &'a Parties,
    pub frame: Frame,
    pub content: Vec<u8>,
    pub random: [u8; 32],
}

impl<'a> Up<'a> {
    pub fn new(p: &'a Parties, epoch: &Epoch, outer: u8) -> Up<'a> {
        let random = drawn(&format!("up {}", order(outer)));
        let content = b"sealed twice, on its way up".to_vec();
        Up { p, frame: Frame::new(epoch, outer, UP), content, random }
    }

    /// 1 when the serial layer stands outside, else 2.
    fn serial_place(&self) -> u64 {
        if self.frame.outer == SERIAL { 1 } else { 2 }
    }

    pub fn es(&self) -> Es {
        self.frame.serial_layer(self.p, self.serial_place(), self.random)
    }

    pub fn sign(&self, payload: &[u8]) -> Sign1 {
        self.frame.sign(self.p, 3 - self.serial_place(), payload)
    }

    /// The signature around the serial layer, or within it.
    pub fn signed(&self) -> Sign1 {
        match self.frame.outer {
            KEY => self.sign(&self.es().seal(&self.content).bytes()),
            _ => self.sign(&self.content),
        }
    }

    /// The serial layer around the signature, or within it.
    pub fn sealed(&self) -> Encrypted {
        match self.frame.outer {
            SERIAL => self.es().seal(&self.signed().bytes()),
            _ => self.es().seal(&self.content),
        }
    }

    pub fn body(&self) -> Vec<u8> {
        match self.frame.outer {
            SERIAL => self.sealed().bytes(),
            _ => self.signed().bytes(),
        }
    }

    pub fn envelope(&self, body: &[u8]) -> Vec<u8> {
        envelope(&self.frame.route(self.p), body)
    }

    /// The vector of an envelope that carries `body`; it has no name yet.
    pub fn vector(&self, body: &[u8]) -> Vector {
        Vector::good("open-up", "", "open-up", vec![bytes("envelope", self.envelope(body))])
            .with("parties")
    }

    /// The good vector, with everything on the way.
    pub fn good(&self, name: &str) -> Vector {
        let mut vector = self.vector(&self.body());
        vector.name = name.into();
        vector.fields.extend(self.results());
        vector
    }

    fn results(&self) -> Vec<Field> {
        let (signed, sealed, es) = (self.signed(), self.sealed(), self.es());
        let inner = match self.frame.outer {
            SERIAL => signed.bytes(),
            _ => sealed.bytes(),
        };
        vec![
            word("seal-outer", order(self.frame.outer)),
            word("seal-seq", self.frame.seq),
            bytes("seal-random", self.random),
            bytes("seal-signature", &signed.signature[2..]),
            bytes("out-content", &self.content),
            bytes("out-inner", inner),
            bytes("note-key-up", self.frame.key),
            bytes("note-aad-outer", array(&self.frame.aad(self.p, 1))),
            bytes("note-aad-inner", array(&self.frame.aad(self.p, 2))),
            bytes("note-serial-layer-aad", es.aad),
            bytes("note-salt", sealed.salt),
            bytes("note-content-key", sealed.key),
            bytes("note-commitment", sealed.commitment),
            bytes("note-signed", signed.to_sign),
        ]
    }
}

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        let up = m.up(outer);
        vectors.push(up.good(order(outer)));
        let mut empty = m.up(outer);
        empty.content.clear();
        vectors.push(empty.good(&format!("{}-empty", order(outer))));
        let mut last = m.up(outer);
        last.frame.seq = u32::MAX;
        vectors.push(last.good(&format!("{}-last-seq", order(outer))));
        let mut closed = up.good(order(outer));
        (closed.group, closed.operation) = ("open-up-closed".into(), "open-up-closed".into());
        closed.fields.retain(|(key, _)| !key.starts_with("seal-") && !key.starts_with("note-"));
        vectors.push(closed);
    }
    vectors.push(of_other_epoch(m));
    vectors
}

/// A message of the next epoch for a server that has this one closed.
fn of_other_epoch(m: &Messages) -> Vector {
    let next = m.p.epoch(4);
    let up = Up::new(m.p, &next, SERIAL);
    let mut vector = up.vector(&up.body());
    (vector.group, vector.operation) = ("open-up-closed".into(), "open-up-closed".into());
    vector.refused(
        "wrong-route",
        "closed-other-epoch",
        "a message of another epoch than the closed one",
    )
}
