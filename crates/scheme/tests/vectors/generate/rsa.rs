//! Messages, statements and receipts of a device that signs and decrypts with RSA.

use super::chip::{Area, Chip};
use super::contents::{chain, trade_id};
use super::device_keys;
use super::oaep_layer::{OaepLayer, seed_len};
use super::receipts::{items_of_device, to_sign};
use super::signed::Signed;
use super::statements::device_items;
use super::{Messages, changed, last_changed, order};
use crate::crypto::{drawn, expand, sha256};
use crate::forge::{DOWN, Es, Frame, KEY, SERIAL, Sign1, UP, envelope, labels_map};
use crate::format::{Field, Vector, bytes, word};
use crate::parties::{Parties, by_device, by_server};
use crate::rsa::{OAEP_SHA1, OAEP_SHA256, RsaKey};
use crate::wire::{array, bstr, int, map, tag};

const PS256: i64 = -37;
const RS256: i64 = -257;
const UNKNOWN: &str = "unknown-key";
const SIGNATURE: &str = "bad-device-signature";
const LAYER: &str = "bad-key-layer";
const HEADER: &str = "wrong-header";
const SHAPE: &str = "wrong-shape";

pub fn vectors(m: &Messages) -> Vec<Vector> {
    let [signing, decryption] = ["signing", "decryption"].map(RsaKey::kept);
    let d = Device { m, signing, decryption, oaep: OAEP_SHA256 };
    let sha1 = Device { oaep: OAEP_SHA1, ..d.clone() };
    [
        d.up(),
        d.up_refused(),
        d.down(),
        d.down_refused(),
        d.statements(),
        d.receipts(),
        d.keys(),
        sha1.down(),
        sha1.refused_with_sha1(),
    ]
    .concat()
}

/// The device of the other vectors, with RSA keys in the place of its P-256 ones.
#[derive(Clone)]
struct Device<'a> {
    m: &'a Messages<'a>,
    signing: RsaKey,
    decryption: RsaKey,
    oaep: i64,
}

impl Device<'_> {
    fn p(&self) -> &Parties {
        self.m.p
    }

    fn aad(&self, frame: &Frame, layer: u64) -> Vec<u8> {
        let mut items = frame.aad(self.p(), layer);
        items.truncate(13);
        items.extend([bstr(self.signing.id()), bstr(self.decryption.id())]);
        array(&items)
    }

    fn es(&self, frame: &Frame, layer: u64, random: [u8; 32]) -> Es {
        Es { aad: self.aad(frame, layer), ..frame.serial_layer(self.p(), layer, random) }
    }

    fn sign(&self, algorithm: i64, aad: &[u8], payload: &[u8]) -> Sign1 {
        let protected = labels_map(&[(1, int(algorithm))]);
        let unsigned = Sign1::under(&self.p().signing, protected, aad, payload);
        let signature = self.signature(algorithm, &unsigned.to_sign);
        Sign1 { signature: bstr(signature), ..unsigned }
    }

    fn signature(&self, algorithm: i64, message: &[u8]) -> Vec<u8> {
        match algorithm {
            PS256 => self.signing.sign_pss(message, &drawn::<32>("salt of PSS")),
            _ => self.signing.sign_pkcs1(message),
        }
    }

    /// What its record says.
    fn record(&self, algorithm: i64) -> Vec<Field> {
        let mut record = vec![
            word("device-signing-algorithm", algorithm),
            bytes("device-signing-spki", self.signing.spki()),
            bytes("device-decryption-spki", self.decryption.spki()),
        ];
        if self.oaep == OAEP_SHA1 {
            record.push(word("device-decryption-algorithm", self.oaep));
        }
        record
    }

    fn vector(&self, operation: &str, algorithm: i64, frame: &Frame, body: &[u8]) -> Vector {
        let envelope = envelope(&frame.route(self.p()), body);
        let fields = [self.record(algorithm), vec![bytes("envelope", envelope)]].concat();
        let group = format!("rsa-{operation}");
        Vector::good(&group, "", operation, fields).with("parties")
    }

    fn up(&self) -> Vec<Vector> {
        let mut vectors = Vec::new();
        for (algorithm, name) in [(PS256, "ps256"), (RS256, "rs256")] {
            for outer in [SERIAL, KEY] {
                let frame = Frame::new(self.m.epoch, outer, UP);
                let random = drawn(&format!("rsa up {name} {}", order(outer)));
                let content = b"sealed twice, on its way up".to_vec();
                let (body, inner, signed) = match outer {
                    SERIAL => {
                        let signed = self.sign(algorithm, &self.aad(&frame, 2), &content);
                        let body = self.es(&frame, 1, random).seal(&signed.bytes()).bytes();
                        (body, signed.bytes(), signed)
                    }
                    _ => {
                        let inner = self.es(&frame, 2, random).seal(&content).bytes();
                        let signed = self.sign(algorithm, &self.aad(&frame, 1), &inner);
                        (signed.bytes(), inner, signed)
                    }
                };
                let mut vector = self.vector("open-up", algorithm, &frame, &body);
                vector.name = format!("{}-{name}", order(outer));
                vector.fields.extend([
                    word("seal-outer", order(outer)),
                    word("seal-seq", frame.seq),
                    bytes("seal-random", random),
                    bytes("seal-signature", &signed.signature[3..]),
                    bytes("out-content", content),
                    bytes("out-inner", inner),
                    bytes("note-signed", signed.to_sign),
                ]);
                vectors.push(vector);
            }
        }
        vectors
    }

    fn up_refused(&self) -> Vec<Vector> {
        let frame = Frame::new(self.m.epoch, KEY, UP);
        let inner = self.es(&frame, 2, drawn("rsa up refused")).seal(b"refused").bytes();
        let aad = self.aad(&frame, 1);
        let good = self.sign(PS256, &aad, &inner);
        let refused = |expect: &str, rule: &str, fault: &str, signed: &Sign1| {
            let vector = self.vector("open-up", PS256, &frame, &signed.bytes());
            vector.refused(expect, &format!("rsa-{rule}"), fault)
        };
        let with = |signature: &[u8]| Sign1 { signature: bstr(signature), ..good.clone() };
        let salted = |salt: &[u8]| with(&self.signing.sign_pss(&good.to_sign, salt));
        let es256 = Sign1::by(&self.p().signing, &aad, &inner);
        let rs256 = self.sign(RS256, &aad, &inner);
        let padded = with(&self.signing.sign_pkcs1(&good.to_sign));
        let signature = &good.signature[3..];
        vec![
            refused(UNKNOWN, "alg-es256", "ES256, by a device that has an RSA key", &es256),
            refused(UNKNOWN, "alg-rs256", "RS256, where PS256 is pinned", &rs256),
            refused(SIGNATURE, "padding", "PKCS #1 v1.5 under the header of PS256", &padded),
            refused(SIGNATURE, "salt-empty", "no salt", &salted(&[])),
            refused(SIGNATURE, "salt-31", "a salt of 31 bytes", &salted(&[5; 31])),
            refused(SIGNATURE, "salt-222", "the longest salt", &salted(&[5; 222])),
            refused(SIGNATURE, "changed", "a bit changed", &with(&last_changed(signature))),
            refused(SIGNATURE, "zero", "zero", &with(&[0; 256])),
            refused(SIGNATURE, "modulus", "the modulus", &with(&self.signing.modulus)),
            refused(SHAPE, "short", "255 bytes", &with(&signature[1..])),
            refused(SHAPE, "long", "257 bytes", &with(&[&[0], signature].concat())),
            refused(SHAPE, "empty", "no signature", &with(&[])),
        ]
    }

    /// What the names of a token's vectors end with that knows OAEP with SHA-1 only.
    fn suffix(&self) -> &'static str {
        if self.oaep == OAEP_SHA1 { "-sha1" } else { "" }
    }

    fn refused_with_sha1(&self) -> Vec<Vector> {
        let down = Down::new(self, KEY);
        let headed = OaepLayer { algorithm: OAEP_SHA256, ..down.ea() };
        let sha256 = self.decryption.encrypt(OAEP_SHA256, &down.key, down.seed);
        let sha256 = OaepLayer::new(OAEP_SHA256, sha256, &down.key, &down.aad, &down.plaintext);
        let refused = |rule: &str, fault: &str, ea: &OaepLayer| {
            down.vector(ea).refused(HEADER, &format!("rsa-sha1-{rule}"), fault)
        };
        vec![
            refused("oaep-sha256", "RSAES-OAEP with SHA-256, where SHA-1 is pinned", &sha256),
            refused("oaep-header", "the header of SHA-256 over SHA-1", &headed),
        ]
    }

    fn down(&self) -> Vec<Vector> {
        let message = |outer| {
            let down = Down::new(self, outer);
            let mut vector = down.vector(&down.ea());
            vector.name = format!("{}{}", order(outer), self.suffix());
            vector.fields.extend([
                word("seal-outer", order(outer)),
                word("seal-seq", down.frame.seq),
                bytes("seal-random", down.random),
                bytes("seal-content-random", down.content_random),
                bytes("seal-oaep-seed", &down.seed[..seed_len(self.oaep)]),
                bytes("seal-signature", &down.signed.signature[2..]),
                bytes("out-content", CONTENT),
                bytes("out-inner", down.inner()),
                bytes("out-server-signed", down.signed.bytes()),
                bytes("note-key-layer-aad", &down.aad),
            ]);
            vector
        };
        vec![message(SERIAL), message(KEY)]
    }

    fn down_refused(&self) -> Vec<Vector> {
        let down = Down::new(self, KEY);
        let good = down.ea();
        let refused = |expect: &str, rule: &str, fault: &str, ea: &OaepLayer| {
            down.vector(ea).refused(expect, &format!("rsa-{rule}"), fault)
        };
        let with = |key: &[u8]| OaepLayer { encrypted_key: bstr(key), ..good.clone() };
        let headed = |algorithm: i64| OaepLayer { algorithm, ..good.clone() };
        let modulus = &self.decryption.modulus;
        let mut above = good.encrypted_key[3..].to_vec();
        above[0] = 0xff;
        above[1] = 0xff;
        let protected = bstr(labels_map(&[(1, int(OAEP_SHA256))]));
        let protected = OaepLayer { protected, ..good.clone() };
        let mut other = down.vector(&good);
        other.fields.retain(|(key, _)| key != "z");
        other.fields.push(bytes("z", changed(&down.key, 0)));
        let ecdh = Down::new(self, KEY).ecdh();
        let mut vectors = vec![
            refused(LAYER, "key-modulus", "an encrypted key equal to the modulus", &with(modulus)),
            refused(LAYER, "key-above", "an encrypted key above the modulus", &with(&above)),
            refused(SHAPE, "key-255", "an encrypted key of 255 bytes", &with(&above[1..])),
            refused(SHAPE, "key-empty", "no encrypted key", &with(&[])),
            refused(HEADER, "oaep-sha1", "RSAES-OAEP with SHA-1", &headed(OAEP_SHA1)),
            refused(HEADER, "oaep-sha512", "RSAES-OAEP with SHA-512", &headed(-42)),
            refused(HEADER, "oaep-protected", "the algorithm protected too", &protected),
            other.refused(LAYER, "rsa-content-key", "the chip decrypts another content key"),
        ];
        vectors.push(self.vector("open-down", PS256, &down.frame, &ecdh).refused(
            HEADER,
            "rsa-ecdh",
            "ECDH-ES, to a device that has an RSA key",
        ));
        vectors.last_mut().unwrap().fields.push(bytes("z", down.key));
        vectors
    }

    fn statement(&self, key: &[u8]) -> Signed {
        let mut items = device_items(self.p());
        (items[5], items[6]) = (key.to_vec(), bstr(self.decryption.id()));
        Signed::by_server(&self.p().server_signing, "device", &items)
    }

    fn pair(&self, algorithm: i64) -> Vec<u8> {
        array(&[int(algorithm), bstr(self.signing.spki())])
    }

    fn statements(&self) -> Vec<Vector> {
        let p = self.p();
        let vector = |key: &[u8]| {
            let signed = self.statement(key);
            let fields = vec![bytes("statement", signed.bytes())];
            Vector::good("rsa-statement", "", "device-statement", fields).with("parties")
        };
        let mut vectors = Vec::new();
        for (algorithm, name) in [(PS256, "ps256"), (RS256, "rs256")] {
            let mut good = vector(&self.pair(algorithm));
            good.name = name.into();
            let signature = self.statement(&self.pair(algorithm)).signature();
            good.fields.extend([
                bytes("seal-signature", signature),
                bytes("out-server-id", p.server_id()),
                bytes("out-device-id", p.device_id),
                bytes("out-serial", p.serial()),
                word("out-generation", p.generation),
                word("out-keyset", p.keyset),
                word("out-signing-algorithm", algorithm),
                bytes("out-signing-spki", self.signing.spki()),
                bytes("out-decryption-id", self.decryption.id()),
                word("out-assurance", "tpm-ek"),
                bytes("out-verdict", "pass: everything\noutcome: tpm-ek"),
                word("out-enrolled", 1_760_000_500),
            ]);
            vectors.push(good);
        }
        let p256 = array(&[int(-7), bstr(p.signing.spki())]);
        let refused = |expect: &str, rule: &str, fault: &str, key: &[u8]| {
            vector(key).refused(expect, &format!("rsa-statement-{rule}"), fault)
        };
        let spki = self.signing.spki();
        vectors.extend([
            refused(UNKNOWN, "bare", "an RSA key that does not say how it signs", &bstr(&spki)),
            refused(SHAPE, "es256", "a P-256 key that says how it signs", &p256),
            refused(UNKNOWN, "alg", "PS384 as the algorithm", &self.pair(-38)),
            refused(UNKNOWN, "p256", "a P-256 key with PS256", &{
                array(&[int(PS256), bstr(p.signing.spki())])
            }),
            refused(UNKNOWN, "trailing", "a byte behind the SPKI", &{
                array(&[int(PS256), bstr([&spki[..], &[0]].concat())])
            }),
        ]);
        vectors
    }

    fn receipts(&self) -> Vec<Vector> {
        let statement = self.statement(&self.pair(PS256)).bytes();
        let ids = [self.signing.id(), self.decryption.id()];
        let chains = (chain(3, drawn("up")), chain(2, drawn("down")));
        let payload = array(&items_of_device(chains, ids, statement));
        let es256 = labels_map(&[(1, int(-7))]);
        let by_server = to_sign(&[], &es256, &by_server("receipt"), &payload);
        let by_server = self.p().server_signing.sign(&by_server);
        let of = |algorithm: i64, signature: &dyn Fn(&[u8]) -> Vec<u8>| {
            let protected = labels_map(&[(1, int(algorithm))]);
            let message = to_sign(&[], &protected, &by_device("receipt"), &payload);
            let none = map(&[]);
            let first = array(&[bstr(&es256), none.clone(), bstr(by_server)]);
            let second = array(&[bstr(protected), none.clone(), bstr(signature(&message))]);
            let signers = array(&[first, second]);
            let receipt = tag(98, array(&[bstr([]), none, bstr(&payload), signers]));
            let fields = vec![bytes("receipt", receipt)];
            Vector::good("rsa-receipt", "", "receipt", fields).with("parties")
        };
        let mut good = of(PS256, &|message| self.signature(PS256, message));
        good.name = "ps256".into();
        let ps256 = labels_map(&[(1, int(PS256))]);
        let digest = sha256(to_sign(&[], &ps256, &by_device("receipt"), &payload));
        good.fields.extend([
            word("out-signatures", 2),
            bytes("out-body", &payload),
            bytes("out-trade", trade_id()),
            word("out-assurance", "tpm-ek"),
            bytes("out-digest", digest),
        ]);
        let p256 = |message: &[u8]| self.p().signing.sign(message).to_vec();
        vec![
            good,
            of(RS256, &|message| self.signature(RS256, message)).refused(
                UNKNOWN,
                "rsa-receipt-alg",
                "countersigned with RS256, where the statement says PS256",
            ),
            of(-7, &p256).refused(UNKNOWN, "rsa-receipt-es256", "countersigned with ES256"),
        ]
    }

    /// Public areas at the enrolment.
    fn keys(&self) -> Vec<Vector> {
        let area = |key: &[u8], attributes, scheme: u16| Area {
            attributes,
            scheme: vec![scheme, 0x000b],
            ..Area::rsa(key)
        };
        let with = |scheme: u16, signing: &[u8], decryption: &[u8]| {
            let mut chip = Chip::new(self.p());
            chip.signing = area(signing, 0x0004_0472, scheme);
            chip.decryption = area(decryption, 0x0002_0472, 0x0017);
            chip
        };
        let (own, other) = (&self.signing.modulus, &self.decryption.modulus);
        let mut vectors = Vec::new();
        for (scheme, name) in [(0x0016, "ps256"), (0x0014, "rs256")] {
            let chip = with(scheme, own, other);
            let mut good = device_keys::of(self.p(), &chip);
            (good.group, good.name) = ("rsa-device-keys".into(), name.into());
            good.fields.extend([
                bytes("out-srk-name", chip.srk.name()),
                bytes("out-ak-name", chip.ak.name()),
                bytes("out-signing-name", chip.signing.name()),
                bytes("out-signing-spki", self.signing.spki()),
                bytes("out-decryption-name", chip.decryption.name()),
                bytes("out-decryption-spki", self.decryption.spki()),
                bytes("out-serial-key-name", chip.serial.name()),
                bytes("out-serial-key-spki", self.p().serial_key.spki()),
            ]);
            vectors.push(good);
        }
        let mut sha1 = with(0x0016, own, other);
        sha1.decryption.scheme = vec![0x0017, 0x0004];
        let mut sha1 = device_keys::of(self.p(), &sha1);
        sha1.group = "rsa-device-keys".into();
        let fault = "a decryption key bound to OAEP with SHA-1";
        vectors.push(sha1.refused("tpm-algorithm", "rsa-decryption-sha1", fault));
        let flawed = device_keys::fingerprinted();
        for (name, chip) in
            [("signing", with(0x0016, &flawed, other)), ("decryption", with(0x0016, own, &flawed))]
        {
            let mut vector = device_keys::of(self.p(), &chip);
            vector.group = "rsa-device-keys".into();
            let fault = format!("a {name} key with the fingerprint of CVE-2017-15361");
            vectors.push(vector.refused("key-roca", &format!("rsa-{name}-roca"), &fault));
        }
        vectors
    }
}

const CONTENT: &[u8] = b"sealed twice, on its way down";

/// A message down to the device.
struct Down<'a> {
    device: &'a Device<'a>,
    frame: Frame,
    random: [u8; 32],
    content_random: [u8; 32],
    seed: [u8; 32],
    signed: Sign1,
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    key: [u8; 32],
}

impl<'a> Down<'a> {
    fn new(device: &'a Device<'a>, outer: u8) -> Down<'a> {
        let name = format!("rsa down {}{}", order(outer), device.suffix());
        let frame = Frame::new(device.m.epoch, outer, DOWN);
        let random = drawn(&name);
        let aad = device.aad(&frame, 3);
        let signed = Sign1::by(&device.p().server_signing, &aad, CONTENT);
        let plaintext = match outer {
            SERIAL => signed.bytes(),
            _ => device.es(&frame, 2, random).seal(&signed.bytes()).bytes(),
        };
        let aad = device.aad(&frame, if outer == SERIAL { 2 } else { 1 });
        let content_random = drawn(&format!("{name}, content key"));
        let hashes = [sha256(&aad), sha256(&plaintext)].concat();
        let (seed, key) = (drawn(&format!("{name}, seed")), expand(&content_random, hashes));
        Down { device, frame, random, content_random, seed, signed, aad, plaintext, key }
    }

    fn ea(&self) -> OaepLayer {
        let Device { decryption, oaep, .. } = self.device;
        let encrypted = decryption.encrypt(*oaep, &self.key, self.seed);
        OaepLayer::new(*oaep, encrypted, &self.key, &self.aad, &self.plaintext)
    }

    /// The same plaintext by ECDH-ES to the P-256 key of the other vectors.
    fn ecdh(&self) -> Vec<u8> {
        let p = self.device.p();
        let ea = self.frame.encrypt(p, 1, crate::crypto::Key::new("ephemeral for RSA"));
        ea.seal(&self.plaintext).bytes()
    }

    fn inner(&self) -> Vec<u8> {
        match self.frame.outer {
            SERIAL => self.ea().bytes(),
            _ => self.plaintext.clone(),
        }
    }

    fn vector(&self, ea: &OaepLayer) -> Vector {
        let body = match self.frame.outer {
            SERIAL => self.device.es(&self.frame, 1, self.random).seal(&ea.bytes()).bytes(),
            _ => ea.bytes(),
        };
        let mut vector = self.device.vector("open-down", PS256, &self.frame, &body);
        vector.fields.push(bytes("z", self.key));
        vector
    }
}
