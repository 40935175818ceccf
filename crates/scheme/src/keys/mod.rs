//! Key pairs: P-256 for signatures and agreements, ML-KEM-768 for epoch secrets.

mod kem;
mod p256;

pub use kem::{KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemPrivate, KemPublic};
pub use p256::{
    P256Private, P256Public, POINT_LEN, SIGNATURE_LEN, Signature, SigningKey, low_s, random_scalar,
};
