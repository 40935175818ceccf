//! The scheme's cryptography once more, on other libraries than the scheme's own where it
//! matters: curves and signatures here are RustCrypto's, there they are AWS-LC's.

use std::cell::RefCell;
use std::collections::HashMap;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn hmac(key: &[u8], message: impl AsRef<[u8]>) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    Mac::update(&mut mac, message.as_ref());
    mac.finalize().into_bytes().into()
}

/// HKDF-Extract (RFC 5869 section 2.2).
pub fn extract(salt: &[u8], input: &[u8]) -> [u8; 32] {
    hmac(salt, input)
}

/// HKDF-Expand to 32 bytes (RFC 5869 section 2.3).
pub fn expand(secret: &[u8; 32], info: impl AsRef<[u8]>) -> [u8; 32] {
    hmac(secret, [info.as_ref(), &[1]].concat())
}

/// `KDF(secret, label)` of the scheme.
pub fn kdf(secret: &[u8], label: &str) -> [u8; 32] {
    expand(&extract(&[0; 32], secret), label)
}

pub fn gcm(key: &[u8; 32], iv: &[u8; 12], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad };
    Aes256Gcm::new(key.into()).encrypt(Nonce::from_slice(iv), payload).unwrap()
}

/// What nobody drew: bytes that follow from a name, so that vectors stay as they are.
pub fn drawn<const N: usize>(name: &str) -> [u8; N] {
    let block = |i: u8| sha256([b"twinseal test vectors\0", name.as_bytes(), &[0, i]].concat());
    let stream: Vec<u8> = (0..=(N / 32) as u8).flat_map(block).collect();
    stream[..N].try_into().unwrap()
}

/// A P-256 key pair.
#[derive(Clone)]
pub struct Key {
    secret: SecretKey,
    point: Vec<u8>,
}

impl Key {
    pub fn new(name: &str) -> Key {
        Key::of(&drawn(name))
    }

    pub fn of(scalar: &[u8; 32]) -> Key {
        let secret = SecretKey::from_slice(scalar).unwrap();
        let point = remembered(b"point", scalar, &[], || {
            secret.public_key().to_encoded_point(false).as_bytes().to_vec()
        });
        Key { secret, point }
    }

    pub fn private(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }

    /// 0x04, X, Y.
    pub fn point(&self) -> Vec<u8> {
        self.point.clone()
    }

    pub fn x(&self) -> Vec<u8> {
        self.point()[1..33].to_vec()
    }

    pub fn y(&self) -> Vec<u8> {
        self.point()[33..].to_vec()
    }

    /// SubjectPublicKeyInfo (RFC 5480): id-ecPublicKey, prime256v1, the point.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = [
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
        ];
        [&[0x30, 0x59][..], &algorithm, &[0x03, 0x42, 0x00], &self.point()].concat()
    }

    pub fn id(&self) -> [u8; 32] {
        sha256(self.spki())
    }

    /// The X coordinate that both sides agree on.
    pub fn agree(&self, point: &[u8]) -> [u8; 32] {
        let agreed = remembered(b"agreed", &self.private(), point, || {
            let (own, peer) = (self.secret.to_nonzero_scalar(), PublicKey::from_sec1_bytes(point));
            let shared = p256::ecdh::diffie_hellman(own, peer.unwrap().as_affine());
            shared.raw_secret_bytes().to_vec()
        });
        agreed.try_into().unwrap()
    }

    /// ECDSA with SHA-256 and the nonce of RFC 6979, with s in the lower half.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signature(message);
        signature.normalize_s().unwrap_or(signature).to_bytes().into()
    }

    /// The same signature with s in the upper half: as valid as ECDSA, and refused.
    pub fn sign_high(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signature(message);
        let low = signature.normalize_s().unwrap_or(signature);
        let (r, s) = low.split_scalars();
        Signature::from_scalars(r, -s).unwrap().to_bytes().into()
    }

    fn signature(&self, message: &[u8]) -> Signature {
        let signature = remembered(b"signed", &self.private(), message, || {
            let key = SigningKey::from(&self.secret);
            let signature: Signature = key.sign_prehash(&sha256(message)).unwrap();
            signature.to_bytes().to_vec()
        });
        Signature::from_slice(&signature).unwrap()
    }
}

thread_local! {
    static REMEMBERED: RefCell<HashMap<[u8; 32], Vec<u8>>> = RefCell::default();
}

/// What follows from the same again: curve arithmetic without optimisation takes its time.
pub fn remembered(
    what: &[u8],
    scalar: &[u8; 32],
    of: &[u8],
    compute: impl FnOnce() -> Vec<u8>,
) -> Vec<u8> {
    let name = sha256([what, scalar, of].concat());
    if let Some(found) = REMEMBERED.with_borrow(|all| all.get(&name).cloned()) {
        return found;
    }
    let computed = compute();
    REMEMBERED.with_borrow_mut(|all| all.insert(name, computed.clone()));
    computed
}
