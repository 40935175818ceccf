//! An application key as the agent lists it.

use crate::der::{self, PublicKey};

/// The label of a key that was given none: the agent wants one.
pub(crate) const NO_LABEL: &str = "PKCS#11";

/// The curves that the agent has keys on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// The length of a coordinate, and of the order.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// `ECParameters`.
    pub(crate) fn parameters(self) -> &'static [u8] {
        match self {
            Self::P256 => der::P256,
            Self::P384 => der::P384,
        }
    }

    /// The curve of these `ECParameters`.
    pub(crate) fn of_parameters(parameters: &[u8]) -> Option<Self> {
        [Self::P256, Self::P384].into_iter().find(|curve| curve.parameters() == parameters)
    }
}

/// What sort of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Ec(Curve),
    Rsa,
}

/// The public half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    /// The point is uncompressed.
    Ec { curve: Curve, point: Vec<u8> },
    /// Without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

impl Public {
    /// The key of a SubjectPublicKeyInfo; `None` for one of a kind that the agent does not make.
    pub(crate) fn of_spki(spki: &[u8]) -> Option<Self> {
        Some(match der::public_key(spki)? {
            PublicKey::Ec(parameters, point) => {
                Self::Ec { curve: Curve::of_parameters(parameters)?, point: point.to_vec() }
            }
            PublicKey::Rsa(modulus, exponent) => {
                Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }
            }
        })
    }
}

/// What a key was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Uses {
    pub(crate) sign: bool,
    pub(crate) decrypt: bool,
    pub(crate) agree: bool,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its object on the bus.
    pub(crate) path: String,
    pub(crate) label: String,
    /// `CKA_ID`.
    pub(crate) id: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) public: Public,
    pub(crate) uses: Uses,
    /// A certificate for it, DER; may be empty.
    pub(crate) certificate: Vec<u8>,
}

impl Key {
    pub(crate) fn family(&self) -> Family {
        match &self.public {
            Public::Ec { curve, .. } => Family::Ec(*curve),
            Public::Rsa { .. } => Family::Rsa,
        }
    }

    /// How long its signatures and, for RSA, its ciphertexts are.
    pub(crate) fn output_bytes(&self) -> usize {
        match &self.public {
            Public::Ec { curve, .. } => 2 * curve.bytes(),
            Public::Rsa { modulus, .. } => modulus.len(),
        }
    }
}
