//! Key pairs: P-256 for signatures and agreements, ML-KEM-768 for epoch secrets; and what a
//! device's chip has instead of P-256 where it uses RSA.

mod decryption;
mod encapsulation;
mod item;
mod kem;
mod p256;
mod rsa;
mod signing;

pub use decryption::{DecryptionAlgorithm, DecryptionPublic, OaepHash};
pub use encapsulation::Encapsulation;
pub use kem::{KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemPrivate, KemPublic};
pub use p256::{
    P256Private, P256Public, POINT_LEN, SIGNATURE_LEN, Signature, SigningKey, low_s, random_scalar,
};
pub use rsa::{RSA_LEN, RsaPublic};
pub(crate) use signing::Verifier;
pub use signing::{SigningAlgorithm, SigningPublic};
