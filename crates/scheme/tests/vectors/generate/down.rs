//! Messages down.

use super::{Messages, order};
use crate::crypto::{Key, drawn};
use crate::forge::{DOWN, Ea, Encrypted, Es, Frame, KEY, SERIAL, Sign1, envelope};
use crate::format::{Field, Vector, bytes, word};
use crate::parties::{Epoch, Parties};
use crate::wire::array;

/// A message down in the making; every layer can be exchanged.
pub struct Down<'a> {
    pub p: &'a Parties,
    pub frame: Frame,
    pub content: Vec<u8>,
    pub random: [u8; 32],
    pub ephemeral: Key,
}

impl<'a> Down<'a> {
    pub fn new(p: &'a Parties, epoch: &Epoch, outer: u8) -> Down<'a> {
        let name = format!("down {}", order(outer));
        let content = b"sealed twice, on its way down".to_vec();
        let (random, ephemeral) = (drawn(&name), Key::new(&format!("ephemeral {name}")));
        Down { p, frame: Frame::new(epoch, outer, DOWN), content, random, ephemeral }
    }

    fn serial_place(&self) -> u64 {
        if self.frame.outer == SERIAL { 1 } else { 2 }
    }

    pub fn es(&self) -> Es {
        self.frame.serial_layer(self.p, self.serial_place(), self.random)
    }

    pub fn ea(&self) -> Ea {
        self.frame.encrypt(self.p, 3 - self.serial_place(), self.ephemeral.clone())
    }

    /// The server's signature, innermost.
    pub fn signed(&self) -> Sign1 {
        let aad = array(&self.frame.aad(self.p, 3));
        Sign1::by(&self.p.server_signing, &aad, &self.content)
    }

    /// What an outer layer encloses: the other one around the server's signature.
    pub fn inner(&self, signed: &[u8]) -> Encrypted {
        match self.frame.outer {
            SERIAL => self.ea().seal(signed),
            _ => self.es().seal(signed),
        }
    }

    pub fn outer(&self, inner: &[u8]) -> Encrypted {
        match self.frame.outer {
            SERIAL => self.es().seal(inner),
            _ => self.ea().seal(inner),
        }
    }

    pub fn body(&self) -> Vec<u8> {
        self.outer(&self.inner(&self.signed().bytes()).bytes()).bytes()
    }

    /// The vector of an envelope that carries `body`; it has no name yet.
    pub fn vector(&self, body: &[u8]) -> Vector {
        let envelope = envelope(&self.frame.route(self.p), body);
        let fields = vec![bytes("envelope", envelope), bytes("z", self.ea().z())];
        Vector::good("open-down", "", "open-down", fields).with("parties")
    }

    /// The good vector, with everything on the way.
    pub fn good(&self, name: &str) -> Vector {
        let mut vector = self.vector(&self.body());
        vector.name = name.into();
        vector.fields.extend(self.results());
        vector
    }

    fn results(&self) -> Vec<Field> {
        let signed = self.signed();
        let inner = self.inner(&signed.bytes());
        let outer = self.outer(&inner.bytes());
        let (es, ea) = match self.frame.outer {
            KEY => (&inner, &outer),
            _ => (&outer, &inner),
        };
        vec![
            word("seal-outer", order(self.frame.outer)),
            word("seal-seq", self.frame.seq),
            bytes("seal-random", self.random),
            bytes("seal-ephemeral-private", self.ephemeral.private()),
            bytes("seal-signature", &signed.signature[2..]),
            bytes("out-content", &self.content),
            bytes("out-inner", inner.bytes()),
            bytes("out-server-signed", signed.bytes()),
            bytes("note-key-down", self.frame.key),
            bytes("note-aad-outer", array(&self.frame.aad(self.p, 1))),
            bytes("note-aad-inner", array(&self.frame.aad(self.p, 2))),
            bytes("note-aad-server", array(&self.frame.aad(self.p, 3))),
            bytes("note-serial-layer-aad", self.es().aad),
            bytes("note-salt", es.salt),
            bytes("note-serial-content-key", es.key),
            bytes("note-commitment", es.commitment),
            bytes("note-key-layer-aad", self.ea().aad),
            bytes("note-key-content-key", ea.key),
            bytes("note-signed", signed.to_sign),
        ]
    }
}

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for outer in [SERIAL, KEY] {
        vectors.push(m.down(outer).good(order(outer)));
        let mut empty = m.down(outer);
        empty.content.clear();
        vectors.push(empty.good(&format!("{}-empty", order(outer))));
        let mut last = m.down(outer);
        last.frame.seq = u32::MAX;
        vectors.push(last.good(&format!("{}-last-seq", order(outer))));
    }
    vectors
}
