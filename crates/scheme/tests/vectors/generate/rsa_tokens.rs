//! The claim of a token that knows RSA only, what its decryption key opens, and the E of M4 that
//! its serial key decrypts.

use super::oaep_layer::{OaepLayer, seed_len};
use super::tokens::{IDENTITY, credential_layer, serial_of};
use super::transcript::Transcript;
use super::{changed, device_keys, last_changed};
use crate::crypto::{Key, drawn, expand, extract, sha256};
use crate::forge::{Sign1, labels_map};
use crate::format::{Field, Vector, bytes, unhex, word};
use crate::parties::{Parties, by_device};
use crate::rsa::{OAEP_SHA1, OAEP_SHA256, RsaKey, spki_of};
use crate::wire::{NULL, array, bstr, int, tstr, uint};

const PS256: i64 = -37;
const RS256: i64 = -257;
const SHAPE: &str = "wrong-shape";
const KIND: &str = "token-key-kind";
const HEADER: &str = "wrong-header";
const LAYER: &str = "bad-key-layer";

pub fn vectors(p: &Parties) -> Vec<Vector> {
    let t = Transcript::new(p);
    let token = Token::new(&t, PS256, OAEP_SHA256);
    let sha1 = Token::new(&t, RS256, OAEP_SHA1);
    [
        vec![token.good("sha256"), sha1.good("sha1"), token.in_m1()],
        token.mixed(),
        token.form(),
        token.keys(),
        token.signed(),
        credentials(&token, &sha1),
        offers(&token, &sha1),
    ]
    .concat()
}

/// A token with three RSA keys.
struct Token<'a> {
    t: &'a Transcript<'a>,
    algorithm: i64,
    oaep: i64,
    signing: RsaKey,
    decryption: RsaKey,
    serial: RsaKey,
}

/// A key as it stands in a statement.
fn pair(algorithm: i64, spki: impl AsRef<[u8]>) -> Vec<u8> {
    array(&[int(algorithm), bstr(spki)])
}

/// SubjectPublicKeyInfo of a modulus of 3072 bits.
fn longer_spki(key: &RsaKey) -> Vec<u8> {
    let head = "308201a2300d06092a864886f70d01010105000382018f003082018a0282018100";
    [unhex(head), key.modulus.clone(), vec![1; 128], unhex("0203010001")].concat()
}

fn read(statement: Vec<u8>) -> Vector {
    let fields = vec![bytes("serial", serial_of(&IDENTITY)), bytes("token", statement)];
    Vector::good("rsa-token", "", "token", fields).with("parties enrolment")
}

impl<'a> Token<'a> {
    fn new(t: &'a Transcript, algorithm: i64, oaep: i64) -> Token<'a> {
        let [signing, decryption, serial] = ["signing", "decryption", "serial"].map(RsaKey::kept);
        Token { t, algorithm, oaep, signing, decryption, serial }
    }

    fn keys_stated(&self) -> [Vec<u8>; 3] {
        [
            pair(self.algorithm, self.signing.spki()),
            pair(self.oaep, self.decryption.spki()),
            pair(self.oaep, self.serial.spki()),
        ]
    }

    fn items(&self, keys: [Vec<u8>; 3]) -> Vec<u8> {
        let mut items = IDENTITY.map(tstr).to_vec();
        items.extend([
            bstr(sha256(self.t.m0().bytes())),
            bstr(self.t.p.server_id()),
            bstr(serial_of(&IDENTITY)),
        ]);
        items.extend(keys);
        array(&items)
    }

    /// Signed with the RSA key, under the header of `algorithm`.
    fn sign(&self, algorithm: i64, keys: [Vec<u8>; 3]) -> Sign1 {
        let (protected, payload) = (labels_map(&[(1, int(algorithm))]), self.items(keys));
        let unsigned = Sign1::under(&self.t.p.signing, protected, &by_device("token"), &payload);
        let signature = match algorithm {
            PS256 => self.signing.sign_pss(&unsigned.to_sign, &drawn::<32>("salt of PSS")),
            _ => self.signing.sign_pkcs1(&unsigned.to_sign),
        };
        Sign1 { signature: bstr(signature), ..unsigned }
    }

    fn statement(&self, keys: [Vec<u8>; 3]) -> Sign1 {
        self.sign(self.algorithm, keys)
    }

    /// Another key in one place, signed all the same.
    fn with(&self, at: usize, key: Vec<u8>) -> Vec<u8> {
        let mut keys = self.keys_stated();
        keys[at] = key;
        self.statement(keys).bytes()
    }

    fn good(&self, name: &str) -> Vector {
        let statement = self.statement(self.keys_stated());
        let mut vector = read(statement.bytes());
        vector.name = name.into();
        vector.fields.extend([
            bytes("seal-signature", &statement.signature[3..]),
            bytes("out-signing-spki", self.signing.spki()),
            bytes("out-decryption-spki", self.decryption.spki()),
            bytes("out-serial-key-spki", self.serial.spki()),
            bytes("out-name", self.signing.id()),
            word("out-signing-algorithm", self.algorithm),
            word("out-decryption-algorithm", self.oaep),
            word("out-serial-key-algorithm", self.oaep),
        ]);
        vector
    }

    /// The whole of M1.
    fn in_m1(&self) -> Vector {
        let mut claim = self.t.claim();
        claim[1] = bstr(serial_of(&IDENTITY));
        let statement = self.statement(self.keys_stated()).bytes();
        claim[5] = array(&[uint(2), bstr(statement)]);
        let m1 = self.t.m1_of(&self.t.m0().bytes(), &self.t.key_layer(), &array(&claim));
        let fields = vec![
            bytes("m1", m1),
            bytes("seal-ephemeral-private", self.t.ephemeral().private()),
            bytes("out-nonce-s", self.t.nonce_s),
            bytes("out-serial", serial_of(&IDENTITY)),
            bytes("out-user-info", &claim[2]),
            bytes("out-code", &claim[3]),
            bytes("out-re-enrolment", &claim[4]),
            bytes("out-hardware", &claim[5]),
        ];
        Vector::good("m1", "token-rsa", "m1", fields).with("parties enrolment")
    }

    /// Tokens whose keys are not all of one kind.
    fn mixed(&self) -> Vec<Vector> {
        let p = self.t.p;
        let [signing, decryption, serial] = self.keys_stated();
        let mut prefers = read(
            self.statement([signing.clone(), decryption.clone(), bstr(p.serial_key.spki())])
                .bytes(),
        );
        prefers.name = "serial-key-agrees".into();
        prefers.fields.extend([
            bytes("out-signing-spki", self.signing.spki()),
            bytes("out-decryption-spki", self.decryption.spki()),
            bytes("out-serial-key-spki", p.serial_key.spki()),
            bytes("out-name", self.signing.id()),
            word("out-signing-algorithm", self.algorithm),
            word("out-decryption-algorithm", self.oaep),
        ]);
        let payload = self.items([bstr(p.signing.spki()), decryption, serial.clone()]);
        let signed = Sign1::by(&p.signing, &by_device("token"), &payload);
        let mut signs = read(signed.bytes());
        signs.name = "no-agreement".into();
        signs.fields.extend([
            bytes("out-signing-spki", p.signing.spki()),
            bytes("out-decryption-spki", self.decryption.spki()),
            bytes("out-serial-key-spki", self.serial.spki()),
            bytes("out-name", p.signing.id()),
            word("out-decryption-algorithm", self.oaep),
            word("out-serial-key-algorithm", self.oaep),
        ]);
        let agrees = [signing, bstr(p.decryption.spki()), serial];
        let fault = "a serial key that decrypts, of a token that can agree";
        let avoids = read(self.statement(agrees).bytes());
        vec![prefers, signs, avoids.refused(KIND, "rsa-serial-key", fault)]
    }

    /// The form of a key, in each of the three places.
    fn form(&self) -> Vec<Vector> {
        let p = self.t.p;
        let places = [
            ("signing", &self.signing, self.algorithm, -7, -38, p.signing.spki()),
            ("decryption", &self.decryption, self.oaep, -25, -42, p.decryption.spki()),
            ("serial-key", &self.serial, self.oaep, -25, -42, p.serial_key.spki()),
        ];
        let mut vectors = Vec::new();
        for (at, (name, key, algorithm, p256, other, point)) in places.into_iter().enumerate() {
            let refused = |expect: &str, rule: &str, fault: &str, item: Vec<u8>| {
                let (rule, fault) = (format!("{name}-{rule}"), format!("{name}: {fault}"));
                read(self.with(at, item)).refused(expect, &rule, &fault)
            };
            let spki = key.spki();
            let long = pair(algorithm, [0; 513]);
            let text = array(&[tstr("PS256"), bstr(&spki)]);
            let more = array(&[int(algorithm), bstr(&spki), uint(0)]);
            let size = longer_spki(key);
            vectors.extend([
                refused(KIND, "bare", "an RSA key that does not say how it is used", bstr(&spki)),
                refused(KIND, "alg", "an algorithm that is not of the scheme", pair(other, &spki)),
                refused(KIND, "p256", "a P-256 key with RSA's algorithm", pair(algorithm, &point)),
                refused(KIND, "rsa-as-p256", "an RSA key as a P-256 key", bstr(&key.modulus)),
                refused(KIND, "trailing", "a byte behind the SPKI", {
                    pair(algorithm, [&spki[..], &[0]].concat())
                }),
                refused(KIND, "exponent", "another exponent", pair(algorithm, changed(&spki, 293))),
                refused(KIND, "rsa-3072", "a modulus of 3072 bits", pair(algorithm, size)),
                refused(SHAPE, "p256-alg", "a P-256 key with its algorithm", pair(p256, &point)),
                refused(SHAPE, "alg-text", "an algorithm in words", text),
                refused(SHAPE, "alg-alone", "no key", array(&[int(algorithm)])),
                refused(SHAPE, "more", "an item behind the key", more),
                refused(SHAPE, "513", "a key of 513 bytes", long),
                refused(SHAPE, "null", "null", NULL.to_vec()),
            ]);
        }
        vectors
    }

    fn keys(&self) -> Vec<Vector> {
        let refused = |expect: &str, rule: &str, fault: &str, at: usize, key: Vec<u8>| {
            read(self.with(at, key)).refused(expect, rule, fault)
        };
        let (flawed, roca) = (device_keys::fingerprinted(), "key-roca");
        let fault = "a key with the fingerprint of CVE-2017-15361";
        let weak = pair(self.oaep, spki_of(&flawed));
        let even = last_changed(&self.decryption.modulus);
        let mut short = self.decryption.modulus.clone();
        short[0] &= 0x7f;
        let of = |modulus: &[u8]| pair(self.oaep, spki_of(modulus));
        let twice = "names-not-distinct";
        vec![
            refused(roca, "decryption-roca", fault, 1, weak.clone()),
            refused(roca, "serial-key-roca", fault, 2, weak),
            refused("rsa-modulus", "modulus-even", "an even modulus", 1, of(&even)),
            refused("rsa-modulus", "modulus-2047", "a modulus of 2047 bits", 1, of(&short)),
            refused(twice, "rsa-signing-decrypts", "one key signs and decrypts", 1, {
                pair(self.oaep, self.signing.spki())
            }),
            refused(twice, "rsa-decryption-serial", "one key decrypts and is the serial key", 2, {
                pair(OAEP_SHA1, self.decryption.spki())
            }),
        ]
    }

    fn signed(&self) -> Vec<Vector> {
        let signature = "bad-device-signature";
        let good = self.statement(self.keys_stated());
        let with = |signature: Vec<u8>| Sign1 { signature: bstr(signature), ..good.clone() };
        let refused = |expect: &str, rule: &str, fault: &str, signed: &Sign1| {
            read(signed.bytes()).refused(expect, rule, fault)
        };
        let rs256 = self.sign(RS256, self.keys_stated());
        let es256 =
            Sign1::by(&self.t.p.signing, &by_device("token"), &self.items(self.keys_stated()));
        let salt = self.signing.sign_pss(&good.to_sign, &[5; 20]);
        let other = self.decryption.sign_pss(&good.to_sign, &[5; 32]);
        vec![
            refused("unknown-key", "rsa-alg-rs256", "RS256, by a key of PS256", &rs256),
            refused("unknown-key", "rsa-alg-es256", "ES256, by an RSA key", &es256),
            refused(signature, "rsa-salt-20", "a salt of 20 bytes", &with(salt)),
            refused(signature, "rsa-signer", "signed with another key", &with(other)),
            refused(SHAPE, "rsa-signature-64", "64 bytes", &with(vec![5; 64])),
        ]
    }

    /// The keys of the record, for what comes after the claim.
    fn record(&self, name: &str) -> Vec<Field> {
        let key = if name == "decryption" { &self.decryption } else { &self.serial };
        vec![
            bytes(&format!("device-{name}-spki"), key.spki()),
            word(&format!("device-{name}-algorithm"), self.oaep),
        ]
    }
}

/// The credential of M2 to an RSA key.
struct Credential {
    random: [u8; 32],
    seed: [u8; 32],
    key: [u8; 32],
    aad: Vec<u8>,
}

impl Credential {
    fn new(token: &Token, plaintext: &[u8]) -> Credential {
        let aad = credential_layer(token.t).aad;
        let name = format!("credential by OAEP {}", token.oaep);
        let random = drawn(&name);
        let key = expand(&random, [sha256(&aad), sha256(plaintext)].concat());
        Credential { random, seed: drawn(&format!("{name}, seed")), key, aad }
    }

    fn seal(&self, token: &Token, plaintext: &[u8]) -> OaepLayer {
        let encrypted = token.decryption.encrypt(token.oaep, &self.key, self.seed);
        OaepLayer::new(token.oaep, encrypted, &self.key, &self.aad, plaintext)
    }
}

fn credential(token: &Token, blob: Vec<u8>, z: impl AsRef<[u8]>) -> Vector {
    let fields = [token.record("decryption"), vec![bytes("blob", blob), bytes("z", z)]].concat();
    let group = "rsa-token-credential";
    Vector::good(group, "", "token-credential", fields).with("parties enrolment")
}

fn good_credential(token: &Token, name: &str) -> Vector {
    let plaintext = &token.t.credential;
    let made = Credential::new(token, plaintext);
    let mut good = credential(token, made.seal(token, plaintext).bytes(), made.key);
    good.name = name.into();
    good.fields.extend([
        bytes("seal-random", made.random),
        bytes("seal-oaep-seed", &made.seed[..seed_len(token.oaep)]),
        bytes("out-credential", plaintext),
        bytes("note-external-aad", made.aad),
    ]);
    good
}

fn credentials(token: &Token, sha1: &Token) -> Vec<Vector> {
    let plaintext = &token.t.credential;
    let made = Credential::new(token, plaintext);
    let good = made.seal(token, plaintext);
    let refused = |expect: &str, rule: &str, fault: &str, layer: &OaepLayer| {
        credential(token, layer.bytes(), made.key).refused(expect, &format!("rsa-{rule}"), fault)
    };
    let with = |key: &[u8]| OaepLayer { encrypted_key: bstr(key), ..good.clone() };
    let modulus = &token.decryption.modulus;
    let headed = |algorithm: i64| OaepLayer { algorithm, ..good.clone() };
    let other_aad = array(&[tstr("twinseal-credential-v1"), bstr([0; 16]), bstr([0; 32])]);
    let other = Credential { aad: other_aad, ..Credential::new(token, plaintext) };
    let other = other.seal(token, plaintext);
    let short = Credential::new(token, &plaintext[1..]).seal(token, &plaintext[1..]);
    let mut short = credential(token, short.bytes(), Credential::new(token, &plaintext[1..]).key);
    short.fields.retain(|(key, _)| !key.starts_with("seal-"));
    let sealed_sha1 = Credential::new(sha1, plaintext).seal(sha1, plaintext);
    let ecdh = credential_layer(token.t).seal(plaintext).bytes();
    let p256 = vec![bytes("blob", good.bytes()), bytes("z", made.key)];
    let p256 = Vector::good("rsa-token-credential", "", "token-credential", p256);
    let wrong_key = credential(token, good.bytes(), changed(&made.key, 0));
    vec![
        good_credential(token, "sha256"),
        good_credential(sha1, "sha1"),
        refused(HEADER, "credential-sha1", "SHA-1, where SHA-256 is pinned", &sealed_sha1),
        refused(HEADER, "credential-header", "the header of SHA-1", &headed(OAEP_SHA1)),
        credential(sha1, good.bytes(), made.key).refused(
            HEADER,
            "rsa-credential-sha256",
            "SHA-256, where SHA-1 is pinned",
        ),
        credential(token, ecdh, made.key).refused(HEADER, "rsa-credential-ecdh", "ECDH-ES"),
        p256.with("parties enrolment").refused(HEADER, "rsa-credential-p256", "RSA, to P-256"),
        refused(LAYER, "credential-modulus", "an encrypted key of the modulus", &with(modulus)),
        refused(SHAPE, "credential-255", "an encrypted key of 255 bytes", &with(&modulus[1..])),
        refused(LAYER, "credential-enrolment", "for another enrolment", &other),
        wrong_key.refused(LAYER, "rsa-credential-z", "decrypted with another key, and no error"),
        short.refused(SHAPE, "rsa-credential-31", "a credential of 31 bytes"),
    ]
}

/// M4 with an E of `item`.
fn m4(token: &Token, item: Vec<u8>) -> Vec<u8> {
    token.t.m4().with(4, item)
}

fn good_offer(token: &Token, name: &str) -> Vector {
    let (t, p) = (token.t, token.t.p);
    let drawn_as = format!("offer by OAEP {}", token.oaep);
    let (random, seed) = (drawn(&drawn_as), drawn(&format!("{drawn_as}, seed")));
    let z = expand(&random, sha256(t.m3()));
    let e = token.serial.encrypt(token.oaep, &z, seed);
    let message = m4(token, bstr(&e));
    let chain = expand(&extract(b"twinseal/serial/v1", &z), sha256(p.serial_context()));
    let fields = vec![
        bytes("m4", &message),
        bytes("z", z),
        bytes("seal-random", random),
        bytes("seal-oaep-seed", &seed[..seed_len(token.oaep)]),
        bytes("seal-signature", &message[message.len() - 64..]),
        bytes("out-enrol-id", t.enrol_id),
        bytes("out-device-id", p.device_id),
        word("out-generation", p.generation),
        bytes("out-ciphertext", e),
        bytes("out-chain-key", chain),
    ];
    let fields = [token.record("serial"), fields].concat();
    Vector::good("rsa-m4", name, "m4", fields).with("parties enrolment")
}

fn offers(token: &Token, sha1: &Token) -> Vec<Vector> {
    let read = |item: Vec<u8>| {
        let fields = [token.record("serial"), vec![bytes("m4", m4(token, item))]].concat();
        Vector::good("rsa-m4", "", "m4", fields).with("parties enrolment")
    };
    let refused = |expect: &str, rule: &str, fault: &str, item: Vec<u8>| {
        read(item).refused(expect, rule, fault)
    };
    let (modulus, number) = (&token.serial.modulus, "rsa-number");
    let mut above = modulus.clone();
    above[0] = 0xff;
    above[1] = 0xff;
    let e = token.serial.encrypt(token.oaep, &[5; 32], [5; 32]);
    let off = Key::new("another offer").point();
    let p256 = Vector::good("rsa-m4", "", "m4", vec![bytes("m4", m4(token, bstr(&e)))]);
    vec![
        good_offer(token, "sha256"),
        good_offer(sha1, "sha1"),
        refused(SHAPE, "point", "a point, where the serial key is RSA", bstr(off)),
        p256.with("parties enrolment").refused(
            SHAPE,
            "ciphertext",
            "a ciphertext, where the serial key is P-256",
        ),
        refused(SHAPE, "ciphertext-255", "a ciphertext of 255 bytes", bstr(&e[1..])),
        refused(SHAPE, "ciphertext-257", "a ciphertext of 257 bytes", {
            bstr([&[0], &e[..]].concat())
        }),
        refused(SHAPE, "ciphertext-empty", "no ciphertext", bstr([])),
        refused(SHAPE, "ciphertext-null", "null", NULL.to_vec()),
        refused(number, "ciphertext-modulus", "the modulus", bstr(modulus)),
        refused(number, "ciphertext-above", "a ciphertext above the modulus", bstr(&above)),
    ]
}
