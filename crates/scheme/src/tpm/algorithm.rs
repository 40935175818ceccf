//! The algorithm identifiers that this scheme knows (Part 2, section 6.3 and 6.4).

use hmac::digest::{Key, KeyInit};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha384};
use zeroize::{Zeroize, Zeroizing};

use super::reader::Reader;
use crate::Reason;

/// TPM_ALG_NULL: "none" for a scheme, a symmetric algorithm or a KDF.
pub(super) const NULL: u16 = 0x0010;

/// A hash algorithm of a Name, a scheme or an EK template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// TPM_ALG_SHA256, 32 bytes.
    Sha256,
    /// TPM_ALG_SHA384, 48 bytes.
    Sha384,
}

impl HashAlgorithm {
    /// The identifier, TPM_ALG_ID.
    pub fn id(self) -> u16 {
        match self {
            HashAlgorithm::Sha256 => 0x000b,
            HashAlgorithm::Sha384 => 0x000c,
        }
    }

    /// Length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha384 => 48,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        match reader.u16()? {
            0x000b => Ok(HashAlgorithm::Sha256),
            0x000c => Ok(HashAlgorithm::Sha384),
            _ => Err(Reason::TpmAlgorithm),
        }
    }

    /// The digest of `parts`, joined.
    pub(super) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            HashAlgorithm::Sha256 => digest::<Sha256>(parts),
            HashAlgorithm::Sha384 => digest::<Sha384>(parts),
        }
    }

    /// The HMAC of `parts`, joined. What is made from a seed is a secret, so it is wiped.
    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        match self {
            HashAlgorithm::Sha256 => authenticate::<Hmac<Sha256>>(key, parts),
            HashAlgorithm::Sha384 => authenticate::<Hmac<Sha384>>(key, parts),
        }
    }
}

/// An elliptic curve of a device's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// TPM_ECC_NIST_P256, coordinates of 32 bytes.
    P256,
    /// TPM_ECC_NIST_P384, coordinates of 48 bytes.
    P384,
}

impl Curve {
    /// The identifier, TPM_ECC_CURVE.
    pub fn id(self) -> u16 {
        match self {
            Curve::P256 => 0x0003,
            Curve::P384 => 0x0004,
        }
    }

    /// Length of a coordinate in bytes.
    pub fn field_len(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        match reader.u16()? {
            0x0003 => Ok(Curve::P256),
            0x0004 => Ok(Curve::P384),
            _ => Err(Reason::TpmAlgorithm),
        }
    }
}

/// What a key is bound to do (TPMT_RSA_SCHEME, TPMT_ECC_SCHEME; Part 2, section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TPM_ALG_NULL: not bound.
    Null,
    /// TPM_ALG_RSASSA: PKCS #1 v1.5 signatures.
    RsaSsa(HashAlgorithm),
    /// TPM_ALG_RSAPSS.
    RsaPss(HashAlgorithm),
    /// TPM_ALG_OAEP.
    Oaep(HashAlgorithm),
    /// TPM_ALG_ECDSA.
    Ecdsa(HashAlgorithm),
    /// TPM_ALG_ECDH.
    Ecdh(HashAlgorithm),
}

impl Scheme {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let with_hash = match reader.u16()? {
            NULL => return Ok(Scheme::Null),
            0x0014 => Scheme::RsaSsa,
            0x0016 => Scheme::RsaPss,
            0x0017 => Scheme::Oaep,
            0x0018 => Scheme::Ecdsa,
            0x0019 => Scheme::Ecdh,
            _ => return Err(Reason::TpmAlgorithm),
        };
        HashAlgorithm::read(reader).map(with_hash)
    }
}

/// How a storage key protects its children: AES in CFB mode, or not a storage key
/// (TPMT_SYM_DEF_OBJECT; Part 2, section 11.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symmetric {
    Null,
    Aes128Cfb,
    Aes256Cfb,
}

impl Symmetric {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        match reader.u16()? {
            NULL => Ok(Symmetric::Null),
            0x0006 => match (reader.u16()?, reader.u16()?) {
                (128, 0x0043) => Ok(Symmetric::Aes128Cfb),
                (256, 0x0043) => Ok(Symmetric::Aes256Cfb),
                _ => Err(Reason::TpmAlgorithm),
            },
            _ => Err(Reason::TpmAlgorithm),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().to_vec()
}

fn authenticate<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    // RFC 2104, section 2: a key is padded with zeros to the block. Keys here are digests,
    // which are shorter than a block.
    let mut block = Key::<M>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = <M as KeyInit>::new(&block);
    block.as_mut_slice().zeroize();
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}
