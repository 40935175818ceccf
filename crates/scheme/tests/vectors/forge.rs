//! The scheme's sealing once more, byte by byte, so that any part can be made wrong.

use crate::crypto::{Key, expand, extract, gcm, hmac, sha256};
use crate::parties::{Epoch, Parties};
use crate::wire::{NULL, array, bstr, head, int, map, tag, tstr, uint};

pub const UP: u8 = 0;
pub const DOWN: u8 = 1;
pub const SERIAL: u8 = 1;
pub const KEY: u8 = 2;

/// The place of one message.
#[derive(Clone)]
pub struct Frame {
    pub outer: u8,
    pub direction: u8,
    pub seq: u32,
    pub epoch: u64,
    pub open_hash: [u8; 32],
    /// K_dir.
    pub key: [u8; 32],
}

impl Frame {
    /// Message 7 of an epoch.
    pub fn new(epoch: &Epoch, outer: u8, direction: u8) -> Frame {
        let key = if direction == UP { epoch.up } else { epoch.down };
        let (epoch, open_hash) = (epoch.number, epoch.open_hash);
        Frame { outer, direction, seq: 7, epoch, open_hash, key }
    }

    /// The items of the routing header.
    pub fn route(&self, p: &Parties) -> Vec<Vec<u8>> {
        vec![
            uint(1),
            uint(self.outer.into()),
            uint(self.direction.into()),
            bstr(p.device_id),
            uint(p.generation.into()),
            uint(p.keyset.into()),
            uint(p.sequence),
            uint(self.epoch),
            uint(self.seq.into()),
        ]
    }

    /// The items of external_aad for a layer: 1 outer, 2 inner, 3 the server's signature.
    pub fn aad(&self, p: &Parties, layer: u64) -> Vec<Vec<u8>> {
        vec![
            tstr("twinseal-msg-v1"),
            uint(layer),
            uint(self.outer.into()),
            uint(self.direction.into()),
            bstr(p.server_id()),
            uint(p.sequence),
            bstr(p.device_id),
            bstr(p.serial()),
            uint(p.generation.into()),
            uint(p.keyset.into()),
            uint(self.epoch),
            bstr(self.open_hash),
            uint(self.seq.into()),
            bstr(p.signing.id()),
            bstr(p.decryption.id()),
        ]
    }

    /// The serial layer of this message.
    pub fn serial_layer(&self, p: &Parties, layer: u64, random: [u8; 32]) -> Es {
        let (device, server) = (p.device_id.to_vec(), p.server_id().to_vec());
        let (sender, receiver) =
            if self.direction == UP { (device, server) } else { (server, device) };
        let aad = array(&self.aad(p, layer));
        Es { key: self.key, aad, sender, receiver, random, form: Form::committed() }
    }

    /// The key layer of a message up.
    pub fn sign(&self, p: &Parties, layer: u64, payload: &[u8]) -> Sign1 {
        Sign1::by(&p.signing, &array(&self.aad(p, layer)), payload)
    }

    /// The key layer of a message down.
    pub fn encrypt(&self, p: &Parties, layer: u64, ephemeral: Key) -> Ea {
        Ea {
            to: p.decryption.point(),
            aad: array(&self.aad(p, layer)),
            sender: Some(p.server_id().to_vec()),
            receiver: p.device_id.to_vec(),
            ephemeral,
            form: Form { recipient: vec![(1, int(-25))], ..Form::plain() },
        }
    }
}

pub fn envelope(route: &[Vec<u8>], body: &[u8]) -> Vec<u8> {
    array(&[array(route), bstr(body)])
}

/// The headers that are authenticated, so that a wrong one is still sealed rightly.
#[derive(Clone)]
pub struct Form {
    /// What stands in the protected header of the body, but for the commitment.
    pub protected: Vec<(i64, Vec<u8>)>,
    /// Whether the commitment follows.
    pub commits: bool,
    pub iv: [u8; 12],
    /// The protected header of the recipient.
    pub recipient: Vec<(i64, Vec<u8>)>,
}

impl Form {
    pub fn plain() -> Form {
        Form { protected: vec![(1, uint(3))], commits: false, iv: [0; 12], recipient: vec![] }
    }

    pub fn committed() -> Form {
        Form { commits: true, recipient: vec![(1, int(-10))], ..Form::plain() }
    }

    fn protected(&self, commitment: &[u8; 32]) -> Vec<u8> {
        let mut labels = self.protected.clone();
        if self.commits {
            labels.push((-65601, bstr(commitment)));
        }
        labels_map(&labels)
    }

    fn finish(&self, derived: &Derived, plaintext: &[u8], aad: &[u8]) -> Encrypted {
        let protected = self.protected(&derived.commitment);
        let structure = array(&[tstr("Encrypt"), bstr(&protected), bstr(aad)]);
        let ciphertext = gcm(&derived.key, &self.iv, plaintext, &structure);
        let recipient = vec![bstr(labels_map(&self.recipient)), vec![], bstr([])];
        Encrypted {
            tags: vec![96],
            protected: bstr(protected),
            unprotected: labels_map(&[(5, bstr(self.iv))]),
            ciphertext: bstr(ciphertext),
            recipients: vec![recipient],
            more: vec![],
            key: derived.key,
            commitment: derived.commitment,
            salt: [0; 32],
        }
    }
}

pub fn labels_map(labels: &[(i64, Vec<u8>)]) -> Vec<u8> {
    map(&labels.iter().map(|(label, value)| (int(*label), value.clone())).collect::<Vec<_>>())
}

struct Derived {
    key: [u8; 32],
    commitment: [u8; 32],
}

/// Content key and commitment by COSE_KDF_Context (RFC 9053 section 5.2).
fn derive(
    prk: &[u8; 32],
    sender: Option<&[u8]>,
    receiver: &[u8],
    recipient_protected: &[u8],
    other: &[u8],
) -> Derived {
    let party = |identity: Option<&[u8]>| {
        array(&[identity.map_or(NULL.to_vec(), bstr), NULL.to_vec(), NULL.to_vec()])
    };
    let public = array(&[uint(256), bstr(recipient_protected), bstr(sha256(other))]);
    let context =
        |algorithm| array(&[algorithm, party(sender), party(Some(receiver)), public.clone()]);
    Derived {
        key: expand(prk, context(uint(3))),
        commitment: expand(prk, context(tstr("twinseal-kc"))),
    }
}

/// A serial layer to be sealed.
#[derive(Clone)]
pub struct Es {
    pub key: [u8; 32],
    pub aad: Vec<u8>,
    pub sender: Vec<u8>,
    pub receiver: Vec<u8>,
    pub random: [u8; 32],
    pub form: Form,
}

impl Es {
    pub fn seal(&self, plaintext: &[u8]) -> Encrypted {
        let salt_key = expand(&self.key, "twinseal/salt/v1");
        let hashes = [sha256(&self.aad), sha256(plaintext)].concat();
        self.seal_salted(plaintext, &hmac(&salt_key, [&self.random[..], &hashes].concat()))
    }

    /// With a salt that may be of another length.
    pub fn seal_salted(&self, plaintext: &[u8], salt: &[u8]) -> Encrypted {
        let protected = labels_map(&self.form.recipient);
        let prk = extract(salt, &self.key);
        let derived = derive(&prk, Some(&self.sender), &self.receiver, &protected, &self.aad);
        let mut sealed = self.form.finish(&derived, plaintext, &self.aad);
        sealed.recipients[0][1] = labels_map(&[(-20, bstr(salt))]);
        sealed.salt[..salt.len().min(32)].copy_from_slice(&salt[..salt.len().min(32)]);
        sealed
    }
}

/// A key layer to be encrypted to a public key.
#[derive(Clone)]
pub struct Ea {
    pub to: Vec<u8>,
    pub aad: Vec<u8>,
    pub sender: Option<Vec<u8>>,
    pub receiver: Vec<u8>,
    pub ephemeral: Key,
    pub form: Form,
}

impl Ea {
    /// The X coordinate that is agreed on.
    pub fn z(&self) -> [u8; 32] {
        self.ephemeral.agree(&self.to)
    }

    pub fn seal(&self, plaintext: &[u8]) -> Encrypted {
        let protected = labels_map(&self.form.recipient);
        let prk = extract(&[0; 32], &self.z());
        let other = [self.aad.clone(), self.ephemeral.x(), self.ephemeral.y()].concat();
        let derived = derive(&prk, self.sender.as_deref(), &self.receiver, &protected, &other);
        let mut sealed = self.form.finish(&derived, plaintext, &self.aad);
        let key = labels_map(&cose_key(&self.ephemeral.x(), bstr(self.ephemeral.y())));
        sealed.recipients[0][1] = labels_map(&[(-1, key)]);
        sealed
    }
}

/// The labels of an ephemeral key.
pub fn cose_key(x: &[u8], y: Vec<u8>) -> Vec<(i64, Vec<u8>)> {
    vec![(1, uint(2)), (-1, uint(1)), (-2, bstr(x)), (-3, y)]
}

/// A COSE_Encrypt as its encoded items.
#[derive(Clone)]
pub struct Encrypted {
    pub tags: Vec<u64>,
    pub protected: Vec<u8>,
    pub unprotected: Vec<u8>,
    pub ciphertext: Vec<u8>,
    /// Protected, unprotected, ciphertext of each.
    pub recipients: Vec<Vec<Vec<u8>>>,
    /// Items behind the last.
    pub more: Vec<Vec<u8>>,
    pub key: [u8; 32],
    pub commitment: [u8; 32],
    pub salt: [u8; 32],
}

impl Encrypted {
    pub fn bytes(&self) -> Vec<u8> {
        let recipients: Vec<_> = self.recipients.iter().map(|items| array(items)).collect();
        let recipients = array(&recipients);
        let mut items = vec![&self.protected, &self.unprotected, &self.ciphertext, &recipients];
        items.extend(&self.more);
        tagged(&self.tags, array(&items))
    }
}

/// A COSE_Sign1 as its encoded items.
#[derive(Clone)]
pub struct Sign1 {
    pub tags: Vec<u64>,
    pub protected: Vec<u8>,
    pub unprotected: Vec<u8>,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// Items behind the last.
    pub more: Vec<Vec<u8>>,
    pub to_sign: Vec<u8>,
}

impl Sign1 {
    /// Signs with ES256.
    pub fn by(key: &Key, aad: &[u8], payload: &[u8]) -> Sign1 {
        Sign1::under(key, labels_map(&[(1, int(-7))]), aad, payload)
    }

    /// Signs with any protected header.
    pub fn under(key: &Key, protected: Vec<u8>, aad: &[u8], payload: &[u8]) -> Sign1 {
        let to_sign = array(&[tstr("Signature1"), bstr(&protected), bstr(aad), bstr(payload)]);
        Sign1 {
            tags: vec![18],
            protected: bstr(protected),
            unprotected: map(&[]),
            payload: bstr(payload),
            signature: bstr(key.sign(&to_sign)),
            more: vec![],
            to_sign,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut items = vec![&self.protected, &self.unprotected, &self.payload, &self.signature];
        items.extend(&self.more);
        tagged(&self.tags, array(&items))
    }
}

/// A COSE_Encrypt0 as its encoded items.
#[derive(Clone)]
pub struct Encrypt0 {
    pub tags: Vec<u64>,
    pub protected: Vec<u8>,
    pub unprotected: Vec<u8>,
    pub ciphertext: Vec<u8>,
    /// Items behind the last.
    pub more: Vec<Vec<u8>>,
    pub iv: [u8; 12],
}

impl Encrypt0 {
    pub fn new(key: &[u8; 32], random: [u8; 32], plaintext: &[u8], aad: &[u8]) -> Encrypt0 {
        Encrypt0::under(labels_map(&[(1, uint(3))]), key, random, plaintext, aad)
    }

    /// With any protected header.
    pub fn under(
        protected: Vec<u8>,
        key: &[u8; 32],
        random: [u8; 32],
        plaintext: &[u8],
        aad: &[u8],
    ) -> Encrypt0 {
        let iv_key = crate::crypto::kdf(key, "twinseal/iv/v1");
        let hashes = [sha256(aad), sha256(plaintext)].concat();
        let hedged = hmac(&iv_key, [&random[..], &hashes].concat());
        let iv: [u8; 12] = hedged[..12].try_into().unwrap();
        let structure = array(&[tstr("Encrypt0"), bstr(&protected), bstr(aad)]);
        Encrypt0 {
            tags: vec![16],
            protected: bstr(protected),
            unprotected: labels_map(&[(5, bstr(iv))]),
            ciphertext: bstr(gcm(key, &iv, plaintext, &structure)),
            more: vec![],
            iv,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut items = vec![&self.protected, &self.unprotected, &self.ciphertext];
        items.extend(&self.more);
        tagged(&self.tags, array(&items))
    }
}

fn tagged(tags: &[u64], item: Vec<u8>) -> Vec<u8> {
    tags.iter().rev().fold(item, |item, number| tag(*number, item))
}

/// The same item with its first head written one size longer than it must be.
pub fn lengthened(item: &[u8]) -> Vec<u8> {
    let (major, info) = (item[0] & 0xe0, item[0] & 0x1f);
    let (number, rest) = match info {
        24 => (vec![0, item[1]], &item[2..]),
        25 => (vec![0, 0, item[1], item[2]], &item[3..]),
        _ => (vec![info], &item[1..]),
    };
    let size = 24 + number.len().ilog2() as u8;
    [&[major | size][..], &number, rest].concat()
}

/// The same array, map or string with an indefinite length.
pub fn indefinite(item: &[u8]) -> Vec<u8> {
    let major = item[0] >> 5;
    let head_len = head(major, number_of(item)).len();
    let body = match major {
        2 | 3 => item.to_vec(),
        _ => item[head_len..].to_vec(),
    };
    [&[major << 5 | 31][..], &body, &[0xff]].concat()
}

fn number_of(item: &[u8]) -> u64 {
    let bytes = match item[0] & 0x1f {
        24 => &item[1..2],
        25 => &item[1..3],
        26 => &item[1..5],
        27 => &item[1..9],
        small => return small.into(),
    };
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
