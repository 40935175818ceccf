//! Both parties of the vectors, with generated test keys.

use twinseal_scheme::keys::KemPrivate;

use crate::crypto::{Key, drawn, expand, extract, kdf, sha256};
use crate::forge::{Frame, KEY, Sign1, UP, envelope};
use crate::format::{Field, bytes, folder, parse, print_shared, unhex, word};
use crate::wire::{NULL, array, bstr, tstr, uint};

/// Everything that the server and one device hold, secrets included.
pub struct Parties {
    pub identity: Key,
    pub server_signing: Key,
    pub server_encryption: Key,
    pub kem: Kem,
    pub sequence: u64,
    pub endorsement: Key,
    pub serial_key: Key,
    pub offer: Key,
    pub signing: Key,
    pub decryption: Key,
    pub device_id: [u8; 16],
    pub generation: u32,
    pub keyset: u32,
}

/// An ML-KEM key, a ciphertext for it, and the secret in that. The libraries draw them
/// themselves, so they are kept in a file.
pub struct Kem {
    pub private: Vec<u8>,
    pub public: Vec<u8>,
    pub ciphertext: Vec<u8>,
    pub secret: [u8; 32],
}

/// The keys of one epoch.
pub struct Epoch {
    pub number: u64,
    pub chain: [u8; 32],
    pub open_hash: [u8; 32],
    pub secret: [u8; 32],
    pub up: [u8; 32],
    pub down: [u8; 32],
}

impl Parties {
    pub fn new() -> Parties {
        Parties {
            identity: Key::new("server identity"),
            server_signing: Key::new("server signing"),
            server_encryption: Key::new("server encryption"),
            kem: Kem::kept(),
            sequence: 1_760_000_000,
            endorsement: Key::new("device endorsement"),
            serial_key: Key::new("device serial key"),
            offer: Key::new("offer"),
            signing: Key::new("device signing"),
            decryption: Key::new("device decryption"),
            device_id: drawn("device id"),
            generation: 2,
            keyset: 1,
        }
    }

    pub fn server_id(&self) -> [u8; 32] {
        self.identity.id()
    }

    /// S of the endorsement key.
    pub fn serial(&self) -> [u8; 32] {
        let point = self.endorsement.point();
        sha256([b"twinseal/S/v1\0\x00\x23\x00\x03", &point[1..]].concat())
    }

    /// CK_0, from what the serial key agrees on with the offer.
    pub fn chain(&self) -> [u8; 32] {
        self.chain_of(&self.serial_key)
    }

    /// CK_0 as another chip would compute it.
    pub fn chain_of(&self, serial_key: &Key) -> [u8; 32] {
        let z = serial_key.agree(&self.offer.point());
        expand(&extract(b"twinseal/serial/v1", &z), sha256(self.serial_context()))
    }

    /// ctx0.
    pub fn serial_context(&self) -> Vec<u8> {
        array(&[
            tstr("twinseal-serial-v1"),
            bstr(self.server_id()),
            bstr(self.device_id),
            bstr(self.serial()),
            uint(self.generation.into()),
        ])
    }

    pub fn kem_spki(&self) -> Vec<u8> {
        let prefix = unhex("308204b2300b0609608648016503040402038204a100");
        [prefix, self.kem.public.clone()].concat()
    }

    /// The items of a `server_keys` statement.
    pub fn statement_items(&self) -> Vec<Vec<u8>> {
        vec![
            uint(self.sequence),
            uint(1_750_000_000),
            bstr(self.server_signing.spki()),
            bstr(self.server_encryption.spki()),
            bstr(self.kem_spki()),
            bstr(self.identity.spki()),
        ]
    }

    pub fn statement(&self) -> Vec<u8> {
        let items = array(&self.statement_items());
        Sign1::by(&self.identity, &by_server("server_keys"), &items).bytes()
    }

    pub fn epoch_key(&self, number: u64) -> Key {
        Key::new(&format!("epoch key {number}"))
    }

    /// The items of an epoch-open of a device that cannot certify.
    pub fn open_items(&self, number: u64) -> Vec<Vec<u8>> {
        vec![
            bstr(self.epoch_key(number).point()),
            bstr(&self.kem.ciphertext),
            bstr(self.server_encryption.id()),
            bstr(sha256(self.kem_spki())),
            NULL.to_vec(),
        ]
    }

    /// The keys that seal an epoch-open.
    pub fn opening(&self, number: u64) -> Epoch {
        Epoch::new(self.chain(), number, [0; 32], self.sequence, [0; 32])
    }

    /// The envelope of an epoch-open with this content.
    pub fn epoch_open(&self, number: u64, content: &[u8]) -> Vec<u8> {
        let epoch = self.opening(number);
        let frame = Frame { seq: 0, ..Frame::new(&epoch, KEY, UP) };
        let random = drawn(&format!("epoch-open {number}"));
        let inner = frame.serial_layer(self, 2, random).seal(content).bytes();
        envelope(&frame.route(self), &frame.sign(self, 1, &inner).bytes())
    }

    /// An epoch, with the keys that its epoch-open brings.
    pub fn epoch(&self, number: u64) -> Epoch {
        let open = self.epoch_open(number, &array(&self.open_items(number)));
        let ecdh = self.epoch_key(number).agree(&self.server_encryption.point());
        let input = [ecdh, self.kem.secret, sha256(open.clone())].concat();
        let secret = extract(b"twinseal/epoch/v1", &input);
        Epoch::new(self.chain(), number, secret, self.sequence, sha256(open))
    }

    /// The file that vectors share.
    pub fn print(&self) -> String {
        let fields = [self.server_fields(), self.device_fields(), self.epoch_fields()].concat();
        let comment =
            "Generated test keys of both parties, and the state that they share. They are \
                       here for
everybody to see: they protect nothing, and nobody may use them.";
        print_shared(comment, &fields)
    }

    fn server_fields(&self) -> Vec<Field> {
        vec![
            bytes("server-id", self.server_id()),
            bytes("server-identity-private", self.identity.private()),
            bytes("server-identity", self.identity.point()),
            bytes("server-signing-private", self.server_signing.private()),
            bytes("server-signing", self.server_signing.point()),
            bytes("server-encryption-private", self.server_encryption.private()),
            bytes("server-encryption", self.server_encryption.point()),
            bytes("server-kem-private", &self.kem.private),
            bytes("server-kem", &self.kem.public),
            bytes("server-statement", self.statement()),
            word("sequence", self.sequence),
        ]
    }

    fn device_fields(&self) -> Vec<Field> {
        vec![
            bytes("device-id", self.device_id),
            bytes("serial", self.serial()),
            word("generation", self.generation),
            word("keyset", self.keyset),
            bytes("device-endorsement-private", self.endorsement.private()),
            bytes("device-endorsement", self.endorsement.point()),
            bytes("device-signing-private", self.signing.private()),
            bytes("device-signing", self.signing.point()),
            bytes("device-decryption-private", self.decryption.private()),
            bytes("device-decryption", self.decryption.point()),
            bytes("device-serial-private", self.serial_key.private()),
            bytes("device-serial", self.serial_key.point()),
            bytes("offer-private", self.offer.private()),
            bytes("offer", self.offer.point()),
            bytes("offer-z", self.serial_key.agree(&self.offer.point())),
            bytes("chain-key-0", self.chain()),
        ]
    }

    fn epoch_fields(&self) -> Vec<Field> {
        let epoch = self.epoch(3);
        let key = self.epoch_key(3);
        vec![
            word("epoch", 3),
            bytes("epoch-key-private", key.private()),
            bytes("epoch-ecdh", key.agree(&self.server_encryption.point())),
            bytes("epoch-kem-ciphertext", &self.kem.ciphertext),
            bytes("epoch-kem-secret", self.kem.secret),
            bytes("epoch-open", self.epoch_open(3, &array(&self.open_items(3)))),
            bytes("epoch-open-hash", epoch.open_hash),
            bytes("note-chain-key-3", epoch.chain),
            bytes("note-epoch-secret", epoch.secret),
            bytes("note-key-up", epoch.up),
            bytes("note-key-down", epoch.down),
            bytes("answer-key", epoch.answer_key()),
            bytes("fetch-key", epoch.fetch_key()),
        ]
    }
}

impl Epoch {
    /// The keys of an epoch that is reached from CK_0.
    pub fn new(
        chain_0: [u8; 32],
        number: u64,
        secret: [u8; 32],
        sequence: u64,
        open_hash: [u8; 32],
    ) -> Epoch {
        let step = |key, epoch: u64| {
            expand(&key, [&b"twinseal/chain/v1"[..], &epoch.to_be_bytes()].concat())
        };
        let chain = (1..=number).fold(chain_0, step);
        let prk = extract(&secret, &chain);
        let direction = |direction: u8| {
            let numbers = [number.to_be_bytes(), sequence.to_be_bytes()].concat();
            expand(&prk, [b"twinseal/dir/v1", &[direction][..], &numbers].concat())
        };
        Epoch { number, chain, open_hash, secret, up: direction(0), down: direction(1) }
    }

    pub fn answer_key(&self) -> [u8; 32] {
        kdf(&self.down, "twinseal/answer/v1")
    }

    pub fn fetch_key(&self) -> [u8; 32] {
        kdf(&self.up, "twinseal/fetch/v1")
    }
}

impl Kem {
    /// From the file, or drawn now and written there.
    fn kept() -> Kem {
        let path = folder().join("drawn.txt");
        if crate::writes() && !path.exists() {
            std::fs::write(&path, Kem::drawn().print()).unwrap();
        }
        let fields = parse(&std::fs::read_to_string(path).unwrap());
        let field = |key: &str| {
            let (_, value) = fields.iter().find(|(found, _)| found == key).unwrap();
            unhex(value)
        };
        Kem {
            private: field("kem-private"),
            public: field("kem-public"),
            ciphertext: field("kem-ciphertext"),
            secret: field("kem-secret").try_into().unwrap(),
        }
    }

    fn drawn() -> Kem {
        let (key, private) = KemPrivate::generate().unwrap();
        let (ciphertext, secret) = key.public().encapsulate().unwrap();
        let public = key.public().spki()[22..].to_vec();
        Kem { private: private.to_vec(), public, ciphertext, secret: *secret.expose() }
    }

    fn print(&self) -> String {
        let fields = [
            bytes("kem-private", &self.private),
            bytes("kem-public", &self.public),
            bytes("kem-ciphertext", &self.ciphertext),
            bytes("kem-secret", self.secret),
        ];
        print_shared("A generated test key, drawn once and kept: no seed gives it again.", &fields)
    }
}

/// external_aad of what the server signs outside a trade.
pub fn by_server(name: &str) -> Vec<u8> {
    array(&[tstr("twinseal-server-v1"), tstr(name)])
}

/// external_aad of what the device signs outside a trade.
pub fn by_device(name: &str) -> Vec<u8> {
    array(&[tstr("twinseal-device-v1"), tstr(name)])
}
