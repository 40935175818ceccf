//! Hashes, computed in the process: what is hashed is no secret of the chip.

use cryptoki_sys::*;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash of this `CKM_SHA…`.
    pub(crate) fn of_mechanism(kind: CK_MECHANISM_TYPE) -> Option<Self> {
        match kind {
            CKM_SHA_1 => Some(Self::Sha1),
            CKM_SHA256 => Some(Self::Sha256),
            CKM_SHA384 => Some(Self::Sha384),
            CKM_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash of this name, the content of an OBJECT IDENTIFIER (RFC 8017, appendix B.1).
    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        match name.strip_prefix(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2])? {
            [1] => Some(Self::Sha256),
            [2] => Some(Self::Sha384),
            [3] => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The mask generation function with this hash.
    pub(crate) fn mgf(self) -> CK_RSA_PKCS_MGF_TYPE {
        match self {
            Self::Sha1 => CKG_MGF1_SHA1,
            Self::Sha256 => CKG_MGF1_SHA256,
            Self::Sha384 => CKG_MGF1_SHA384,
            Self::Sha512 => CKG_MGF1_SHA512,
        }
    }

    /// The length of a digest.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The word for it in names of schemes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// A digest in the making.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha1 => Self::Sha1(Sha1::new()),
            Hash::Sha256 => Self::Sha256(Sha256::new()),
            Hash::Sha384 => Self::Sha384(Sha384::new()),
            Hash::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// The length of the digest.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sha1(_) => Hash::Sha1.bytes(),
            Self::Sha256(_) => Hash::Sha256.bytes(),
            Self::Sha384(_) => Hash::Sha384.bytes(),
            Self::Sha512(_) => Hash::Sha512.bytes(),
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(data),
            Self::Sha256(hasher) => hasher.update(data),
            Self::Sha384(hasher) => hasher.update(data),
            Self::Sha512(hasher) => hasher.update(data),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha384(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}
