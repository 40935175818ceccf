//! The parties of the test vectors, and seals made by hand: whoever holds all keys can put any
//! bytes behind a signature or into a ciphertext.

use std::sync::LazyLock;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use twinseal_scheme::Secret;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochSecret};
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::{DecryptionPublic, P256Private, P256Public, SigningKey, SigningPublic};
use twinseal_scheme::serial::HardwareSerial;

use crate::vectors::File;

/// Both sides of one bond, in epoch 3.
pub struct Parties {
    pub bond: Bond,
    pub keys: EpochKeys,
    pub identity: SigningKey,
    pub server_signing: SigningKey,
    pub server_encryption: P256Private,
    pub device_signing: SigningKey,
    pub device_decryption: P256Private,
    pub chain: ChainKey,
}

pub static PARTIES: LazyLock<Parties> = LazyLock::new(|| {
    let file = File::read("parties.txt");
    let point = |name| P256Public::from_point(&file.fixed::<65>(name)).expect(name);
    let signing = |name| SigningKey::from_scalar(&file.fixed(name)).expect(name);
    let agreeing = |name| P256Private::from_scalar(&file.fixed(name)).expect(name);
    let bond = Bond {
        server_id: ServerId(file.fixed("server-id")),
        device_id: DeviceId(file.fixed("device-id")),
        serial: HardwareSerial::from_bytes(file.fixed("serial")),
        generation: 2,
        keyset: 1,
        signing: SigningPublic::Es256(point("device-signing")),
        decryption: DecryptionPublic::EcdhEs(point("device-decryption")),
    };
    let secret = |name| Secret::new(file.fixed(name));
    let open_hash = file.fixed("epoch-open-hash");
    let chain = ChainKey::of_bond(&secret("offer-z"), &bond);
    let z = EpochSecret::new(&secret("epoch-ecdh"), &secret("epoch-kem-secret"), &open_hash);
    let epoch = chain.ratchet(file.number("epoch")).expect("epoch 3");
    let keys = EpochKeys::new(&epoch, &z, file.number("sequence"), open_hash);
    Parties {
        bond,
        keys,
        identity: signing("server-identity-private"),
        server_signing: signing("server-signing-private"),
        server_encryption: agreeing("server-encryption-private"),
        device_signing: signing("device-signing-private"),
        device_decryption: agreeing("device-decryption-private"),
        chain,
    }
});

/// A COSE_Sign1 over any payload (RFC 9052 section 4.2), for a context such as
/// `twinseal-server-v1` and a message's name.
pub fn sign1(key: &SigningKey, context: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let aad = [&[0x82][..], &text(context), &text(name)].concat();
    let parts = [&[0x84][..], &text("Signature1"), &[0x43, 0xa1, 0x01, 0x26], &bytes(&aad)];
    let to_sign = [&parts.concat()[..], &bytes(payload)].concat();
    let signature = key.sign(&to_sign).expect("a signature");
    let head = [0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0];
    [&head[..], &bytes(payload), &bytes(&signature)].concat()
}

/// A COSE_Encrypt0 of any plaintext (RFC 9052 section 5.2).
pub fn encrypt0(key: &Secret, external_aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let aad = [&[0x83][..], &text("Encrypt0"), &[0x43, 0xa1, 0x01, 0x03], &bytes(external_aad)];
    let payload = Payload { msg: plaintext, aad: &aad.concat() };
    let sealed = Aes256Gcm::new(key.expose().into()).encrypt(Nonce::from_slice(&[7; 12]), payload);
    let head = [&[0xd0, 0x83, 0x43, 0xa1, 0x01, 0x03, 0xa1, 0x05][..], &bytes(&[7; 12])].concat();
    [head, bytes(&sealed.expect("a ciphertext"))].concat()
}

fn text(value: &str) -> Vec<u8> {
    [head(0x60, value.len()), value.as_bytes().to_vec()].concat()
}

fn bytes(value: &[u8]) -> Vec<u8> {
    [head(0x40, value.len()), value.to_vec()].concat()
}

/// The shortest head of a CBOR string.
fn head(major: u8, len: usize) -> Vec<u8> {
    match len {
        0..=23 => vec![major | len as u8],
        24..=0xff => vec![major | 24, len as u8],
        0x100..=0xffff => [&[major | 25][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[major | 26][..], &(len as u32).to_be_bytes()].concat(),
    }
}
