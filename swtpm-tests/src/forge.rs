//! The layers of a message by hand (docs/scheme.md, sections 5 and 6), for whoever has the keys and
//! lays them otherwise than the scheme would. Nothing of it is the scheme's own code.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// What every layer of a message authenticates: its place, and between whom it goes.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which layer the routing header names as the outer one: 1 the serial layer, 2 the key layer.
    pub outer: u8,
    /// 0 up, 1 down.
    pub direction: u8,
    /// The server's name.
    pub server_id: [u8; 32],
    /// Of the `server_keys` statement.
    pub sequence: u64,
    /// The device's name.
    pub device_id: [u8; 16],
    /// The hardware serial.
    pub serial: [u8; 32],
    /// Of its enrolment.
    pub generation: u32,
    /// Of its keys.
    pub keyset: u32,
    /// The epoch.
    pub epoch: u64,
    /// SHA-256 of the epoch-open.
    pub open_hash: [u8; 32],
    /// The envelope's number.
    pub seq: u32,
    /// Key id of the device's signing key.
    pub signing_id: [u8; 32],
    /// Key id of its decryption key.
    pub decryption_id: [u8; 32],
}

impl Place {
    /// The envelope: the routing header, and the outer layer.
    pub fn envelope(&self, body: &[u8]) -> Vec<u8> {
        let route = array(&[
            uint(1),
            uint(self.outer.into()),
            uint(self.direction.into()),
            bstr(&self.device_id),
            uint(self.generation.into()),
            uint(self.keyset.into()),
            uint(self.sequence),
            uint(self.epoch),
            uint(self.seq.into()),
        ]);
        array(&[route, bstr(body)])
    }

    /// A serial layer under the direction's key; `layer` is 1 for the outer, 2 for the inner one.
    pub fn serial_layer(&self, layer: u8, key: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        let (aad, salt) = (self.aad(layer), sha256(&[plaintext, &[layer]]));
        let protected = map(&[(int(1), int(-10))]);
        let derive = |algorithm| self.derive(&hmac(&salt, key), algorithm, &protected, &[&aad]);
        let commitment = bstr(&derive(tstr("twinseal-kc")));
        let body = map(&[(int(1), int(3)), (int(-65601), commitment)]);
        let recipient = [bstr(&protected), map(&[(int(-20), bstr(&salt))]), bstr(&[])];
        encrypted(&body, &derive(uint(3)), &aad, plaintext, &recipient)
    }

    /// A key layer down: `z` is what the ephemeral key, an uncompressed point, and the device's
    /// decryption key agree on.
    pub fn key_layer(
        &self,
        layer: u8,
        ephemeral: &[u8; 65],
        z: &[u8; 32],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let (aad, (x, y)) = (self.aad(layer), ephemeral[1..].split_at(32));
        let protected = map(&[(int(1), int(-25))]);
        let key = self.derive(&hmac(&[0; 32], z), uint(3), &protected, &[&aad, x, y]);
        let point = [(int(1), int(2)), (int(-1), int(1)), (int(-2), bstr(x)), (int(-3), bstr(y))];
        let recipient = [bstr(&protected), map(&[(int(-1), map(&point))]), bstr(&[])];
        encrypted(&map(&[(int(1), int(3))]), &key, &aad, plaintext, &recipient)
    }

    /// A signature's layer, ES256: `sign` signs a SHA-256 digest; 3 is the layer of the server's.
    pub fn signed(
        &self,
        layer: u8,
        payload: &[u8],
        sign: impl FnOnce([u8; 32]) -> Vec<u8>,
    ) -> Vec<u8> {
        let protected = bstr(&map(&[(int(1), int(-7))]));
        let parts = [tstr("Signature1"), protected.clone(), bstr(&self.aad(layer)), bstr(payload)];
        let signature = sign(sha256(&[&array(&parts)]));
        tag(18, array(&[protected, map(&[]), bstr(payload), bstr(&signature)]))
    }

    fn aad(&self, layer: u8) -> Vec<u8> {
        array(&[
            tstr("twinseal-msg-v1"),
            uint(layer.into()),
            uint(self.outer.into()),
            uint(self.direction.into()),
            bstr(&self.server_id),
            uint(self.sequence),
            bstr(&self.device_id),
            bstr(&self.serial),
            uint(self.generation.into()),
            uint(self.keyset.into()),
            uint(self.epoch),
            bstr(&self.open_hash),
            uint(self.seq.into()),
            bstr(&self.signing_id),
            bstr(&self.decryption_id),
        ])
    }

    /// By a COSE_KDF_Context (RFC 9053, section 5.2).
    fn derive(
        &self,
        prk: &[u8; 32],
        algorithm: Vec<u8>,
        protected: &[u8],
        other: &[&[u8]],
    ) -> [u8; 32] {
        let null = || vec![0xf6];
        let party = |identity: &[u8]| array(&[bstr(identity), null(), null()]);
        let (device, server) = (party(&self.device_id), party(&self.server_id));
        let [sender, receiver] = match self.direction {
            0 => [device, server],
            _ => [server, device],
        };
        let public = array(&[uint(256), bstr(protected), bstr(&sha256(other))]);
        expand(prk, &array(&[algorithm, sender, receiver, public]))
    }
}

/// K_up and K_down of an epoch, from its chain key and the two agreements of its epoch-open.
pub fn direction_keys(
    chain: &[u8; 32],
    ecdh: &[u8; 32],
    kem: &[u8; 32],
    open_hash: &[u8; 32],
    epoch: u64,
    sequence: u64,
) -> [[u8; 32]; 2] {
    let secret = hmac(b"twinseal/epoch/v1", &[ecdh.as_slice(), kem, open_hash].concat());
    let prk = hmac(&secret, chain);
    [0, 1].map(|direction| {
        let (epoch, sequence) = (epoch.to_be_bytes(), sequence.to_be_bytes());
        expand(&prk, &[b"twinseal/dir/v1", &[direction][..], &epoch, &sequence].concat())
    })
}

/// COSE_Encrypt with AES-256-GCM, an IV of zeros, and one recipient.
fn encrypted(
    protected: &[u8],
    key: &[u8; 32],
    aad: &[u8],
    plaintext: &[u8],
    recipient: &[Vec<u8>],
) -> Vec<u8> {
    let structure = array(&[tstr("Encrypt"), bstr(protected), bstr(aad)]);
    let payload = Payload { msg: plaintext, aad: &structure };
    let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key));
    let ciphertext = cipher.encrypt(Nonce::from_slice(&[0; 12]), payload).expect("a short text");
    let unprotected = map(&[(int(5), bstr(&[0; 12]))]);
    let recipients = array(&[array(recipient)]);
    tag(96, array(&[bstr(protected), unprotected, bstr(&ciphertext), recipients]))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

/// HKDF-Extract (RFC 5869, section 2.2).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// HKDF-Expand to one block (RFC 5869, section 2.3).
fn expand(prk: &[u8; 32], info: &[u8]) -> [u8; 32] {
    hmac(prk, &[info, &[1]].concat())
}

/// The head of an item of CBOR (RFC 8949, section 3).
fn head(major: u8, number: u64) -> Vec<u8> {
    let first = major << 5;
    match number {
        0..24 => vec![first | number as u8],
        24..0x100 => vec![first | 24, number as u8],
        0x100..0x1_0000 => [&[first | 25][..], &(number as u16).to_be_bytes()].concat(),
        0x1_0000..0x1_0000_0000 => [&[first | 26][..], &(number as u32).to_be_bytes()].concat(),
        _ => [&[first | 27][..], &number.to_be_bytes()].concat(),
    }
}

fn uint(number: u64) -> Vec<u8> {
    head(0, number)
}

fn int(number: i64) -> Vec<u8> {
    if number < 0 { head(1, !number as u64) } else { uint(number as u64) }
}

fn bstr(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len() as u64), bytes.to_vec()].concat()
}

fn tstr(text: &str) -> Vec<u8> {
    [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items = pairs.iter().flat_map(|(key, value)| [&key[..], value].concat());
    head(5, pairs.len() as u64).into_iter().chain(items).collect()
}

fn tag(number: u64, item: Vec<u8>) -> Vec<u8> {
    [head(6, number), item].concat()
}
