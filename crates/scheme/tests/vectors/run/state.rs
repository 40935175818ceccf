//! What both sides know before a message comes.

use rand_core::{CryptoRng, RngCore};
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochSecret};
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::{
    DecryptionAlgorithm, DecryptionPublic, Encapsulation, KemPrivate, KemPublic, P256Private,
    P256Public, Signature, SigningAlgorithm, SigningPublic,
};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::{Reason, Secret};

use crate::format::Inputs;
use crate::rsa::{OAEP_SHA256, RsaKey};

pub fn bond(i: &Inputs) -> Bond {
    Bond {
        server_id: ServerId(i.fixed("server-id")),
        device_id: DeviceId(i.fixed("device-id")),
        serial: HardwareSerial::from_bytes(i.fixed("serial")),
        generation: i.number("generation"),
        keyset: i.number("keyset"),
        signing: signing_key(i, "device-signing"),
        decryption: decryption_key(i, "device-decryption"),
    }
}

/// A point, or an algorithm and a SubjectPublicKeyInfo.
pub fn signing_key(i: &Inputs, key: &str) -> SigningPublic {
    let spki = format!("{key}-spki");
    if !i.has(&spki) {
        return SigningPublic::Es256(public(i, key));
    }
    let number = i.word(&format!("{key}-algorithm")).parse().unwrap();
    let algorithm = SigningAlgorithm::of_number(number).unwrap();
    SigningPublic::from_spki(algorithm, &i.bytes(&spki)).unwrap()
}

/// The same; an RSA key without an algorithm decrypts by OAEP with SHA-256.
pub fn decryption_key(i: &Inputs, key: &str) -> DecryptionPublic {
    let (spki, number) = (format!("{key}-spki"), format!("{key}-algorithm"));
    if !i.has(&spki) {
        return DecryptionPublic::EcdhEs(public(i, key));
    }
    let number = if i.has(&number) { i.number(&number) } else { OAEP_SHA256 };
    let algorithm = DecryptionAlgorithm::of_number(number).unwrap();
    DecryptionPublic::from_spki(algorithm, &i.bytes(&spki)).unwrap()
}

/// Where a vector says how `z` was encrypted to the RSA key of that name: of anything else a chip
/// makes another secret, or none.
pub fn decrypts(i: &Inputs, name: &str, shown: &Encapsulation) -> Result<(), Reason> {
    let Encapsulation::RsaOaep(hash, encrypted) = shown else { return Ok(()) };
    if !i.has("seal-oaep-seed") {
        return Ok(());
    }
    let mut seed = i.bytes("seal-oaep-seed");
    seed.resize(32, 0);
    let seed = seed.try_into().unwrap();
    let again = RsaKey::kept(name).encrypt(hash.number().into(), &i.bytes("z"), seed);
    if again == **encrypted { Ok(()) } else { Err(Reason::BadKeyLayer) }
}

pub fn public(i: &Inputs, key: &str) -> P256Public {
    P256Public::from_point(&i.bytes(key)).unwrap()
}

pub fn private(i: &Inputs, key: &str) -> P256Private {
    P256Private::from_scalar(&i.fixed(key)).unwrap()
}

pub fn kem(i: &Inputs) -> KemPrivate {
    let spki = [&KEM_SPKI[..], &i.bytes("server-kem")].concat();
    let public = KemPublic::from_spki(&spki).unwrap();
    KemPrivate::from_bytes(&i.bytes("server-kem-private"), public).unwrap()
}

/// SubjectPublicKeyInfo of ML-KEM-768 up to the key (RFC 9935).
const KEM_SPKI: [u8; 22] = [
    0x30, 0x82, 0x04, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04,
    0x02, 0x03, 0x82, 0x04, 0xa1, 0x00,
];

pub fn secret(i: &Inputs, key: &str) -> Secret {
    Secret::new(i.fixed(key))
}

pub fn signature(i: &Inputs, key: &str) -> Signature {
    i.fixed(key)
}

/// CK_0.
pub fn chain(i: &Inputs) -> ChainKey {
    ChainKey::kept(0, secret(i, "chain-key-0"))
}

/// Z_e and the keys of the epoch, from the parts of its secret.
pub fn epoch(i: &Inputs) -> (EpochSecret, EpochKeys) {
    let hash = i.fixed("epoch-open-hash");
    let z = EpochSecret::new(&secret(i, "epoch-ecdh"), &secret(i, "epoch-kem-secret"), &hash);
    let chain = chain(i).ratchet(i.number("epoch")).unwrap();
    let keys = EpochKeys::new(&chain, &z, i.number("sequence"), hash);
    assert_eq!(keys.answer_key(), secret(i, "answer-key"));
    assert_eq!(keys.fetch_key(), secret(i, "fetch-key"));
    (z, keys)
}

/// A generator that gives what a vector says was drawn, and no more.
pub struct Replay(Vec<u8>);

impl Replay {
    pub fn new(bytes: &[u8]) -> Replay {
        Replay(bytes.to_vec())
    }

    pub fn of(i: &Inputs, keys: &[&str]) -> Replay {
        Replay(keys.iter().flat_map(|key| i.bytes(key)).collect())
    }
}

impl RngCore for Replay {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        let rest = self.0.split_off(to.len());
        to.copy_from_slice(&self.0);
        self.0 = rest;
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Replay {}
