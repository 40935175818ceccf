//! What is signed outside of trades, a COSE_Sign1 over an array: the same rules for each.

use crate::crypto::Key;
use crate::forge::Sign1;
use crate::format::Vector;
use crate::parties::{by_device, by_server};
use crate::wire::{array, bstr, uint};

/// A signed array, to be made again with another item.
#[derive(Clone)]
pub struct Signed {
    key: Key,
    by_server: bool,
    name: &'static str,
    items: Vec<Vec<u8>>,
}

impl Signed {
    /// By the server, under a message's name.
    pub fn by_server(key: &Key, name: &'static str, items: &[Vec<u8>]) -> Signed {
        Signed { key: key.clone(), by_server: true, name, items: items.to_vec() }
    }

    /// By the device, under a message's name.
    pub fn by_device(key: &Key, name: &'static str, items: &[Vec<u8>]) -> Signed {
        Signed { by_server: false, ..Signed::by_server(key, name, items) }
    }

    pub fn sign(&self) -> Sign1 {
        let aad = if self.by_server { by_server(self.name) } else { by_device(self.name) };
        Sign1::by(&self.key, &aad, &array(&self.items))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.sign().bytes()
    }

    pub fn signature(&self) -> Vec<u8> {
        self.sign().signature[2..].to_vec()
    }

    /// The same with another item, signed all the same.
    pub fn with(&self, at: usize, item: Vec<u8>) -> Vec<u8> {
        let mut other = self.clone();
        other.items[at] = item;
        other.bytes()
    }

    /// The refusals that all signed messages have.
    pub fn refusals(&self, vector: impl Fn(Vec<u8>) -> Vector) -> Vec<Vector> {
        let signature =
            if self.by_server { "bad-server-signature" } else { "bad-device-signature" };
        let stranger = Signed { key: Key::new("somebody else's signing key"), ..self.clone() };
        let other_name = Signed { name: "another", ..self.clone() };
        let other_side = Signed { by_server: !self.by_server, ..self.clone() };
        let good = self.sign();
        let high = Sign1 { signature: bstr(self.key.sign_high(&good.to_sign)), ..good.clone() };
        let untagged = Sign1 { tags: vec![], ..good };
        let mut more = self.clone();
        more.items.push(uint(0));
        let mut fewer = self.clone();
        fewer.items.pop();
        let behind = [self.bytes(), vec![0]].concat();
        let refused = |expect: &str, rule: &str, fault: &str, bytes: Vec<u8>| {
            vector(bytes).refused(expect, &format!("signed-{rule}"), fault)
        };
        vec![
            refused(signature, "signer", "signed with another key", stranger.bytes()),
            refused(signature, "name", "signed under another name", other_name.bytes()),
            refused(signature, "side", "signed as the other side signs", other_side.bytes()),
            refused("high-s", "high-s", "s in the upper half", high.bytes()),
            refused("wrong-tag", "untagged", "no tag", untagged.bytes()),
            refused("not-cbor", "behind", "a byte behind the end", behind),
            refused("wrong-shape", "more", "an item too many", more.bytes()),
            refused("wrong-shape", "fewer", "an item too few", fewer.bytes()),
        ]
    }
}
