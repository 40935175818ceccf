//! COSE_Encrypt (RFC 9052 section 5.1) with exactly one recipient: tag 96, A256GCM under a key
//! that this recipient derives or decrypts and that encrypts nothing else.

use ciborium::value::Value;
use coset::{EncryptionContext, ProtectedHeader};

use super::gcm::{self, ZERO_IV};
use super::{PROTECTED_A256GCM, expect, iv_header, untag};
use crate::Reason;
use crate::cbor::{self, Items};
use crate::keys::{DecryptionPublic, Encapsulation, OaepHash, P256Public, RSA_LEN};
use crate::secret::Secret;

const TAG: u64 = 96;

/// {1: -10}, direct key with HKDF-SHA-256 (RFC 9053 section 6.1.2).
pub(crate) const PROTECTED_DIRECT_HKDF: &[u8] = &[0xa1, 0x01, 0x29];
/// {1: -25}, ECDH-ES with HKDF-256 (RFC 9053 section 6.3.1).
pub(crate) const PROTECTED_ECDH_ES: &[u8] = &[0xa1, 0x01, 0x38, 0x18];
/// {1: 3, -65601: commitment} up to the commitment.
const PROTECTED_COMMITTED: &[u8] = &[0xa2, 0x01, 0x03, 0x3a, 0x00, 0x01, 0x00, 0x40, 0x58, 0x20];

/// How the recipient comes to the content key.
pub(crate) enum Recipient {
    /// From a shared secret: {-20: salt}, and a key commitment in the body.
    Direct { salt: [u8; 32], commitment: [u8; 32] },
    /// With his decryption key.
    Key(Encapsulation),
}

/// A COSE_Encrypt: its recipient, and the ciphertext with its tag.
pub(crate) struct Encrypted {
    pub(crate) recipient: Recipient,
    pub(crate) ciphertext: Vec<u8>,
}

impl Encrypted {
    /// Encrypts under a content key that the caller has derived for this recipient.
    pub(crate) fn seal(
        recipient: Recipient,
        key: &Secret,
        plaintext: &[u8],
        external_aad: &[u8],
    ) -> Result<Encrypted, Reason> {
        let aad = enc_structure(&recipient, external_aad);
        let ciphertext = gcm::seal(key, &ZERO_IV, plaintext, &aad)?;
        Ok(Encrypted { recipient, ciphertext })
    }

    /// Decrypts under a content key that the caller has derived from the recipient.
    pub(crate) fn open(
        &self,
        key: &Secret,
        external_aad: &[u8],
        otherwise: Reason,
    ) -> Result<Vec<u8>, Reason> {
        let aad = enc_structure(&self.recipient, external_aad);
        gcm::open(key, &ZERO_IV, &self.ciphertext, &aad, otherwise)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let none: &[u8] = &[];
        let (protected, unprotected, encrypted_key) = match &self.recipient {
            Recipient::Direct { salt, .. } => {
                (PROTECTED_DIRECT_HKDF, (Value::from(-20), Value::Bytes(salt.to_vec())), none)
            }
            Recipient::Key(Encapsulation::EcdhEs(ephemeral)) => {
                let (x, y) = ephemeral.coordinates();
                (PROTECTED_ECDH_ES, (Value::from(-1), cose_key(x, y)), none)
            }
            Recipient::Key(Encapsulation::RsaOaep(hash, encrypted_key)) => {
                (none, oaep_header(*hash), encrypted_key.as_slice())
            }
        };
        let recipient = cbor::value!(protected, Value::Map(vec![unprotected]), encrypted_key);
        let body = cbor::value!(
            body_protected(&self.recipient),
            iv_header(&ZERO_IV),
            self.ciphertext,
            Value::Array(vec![recipient])
        );
        cbor::encode(&Value::Tag(TAG, Box::new(body)))
    }

    /// Reads the strict form with a [`Recipient::Direct`].
    pub(crate) fn decode_direct(bytes: &[u8]) -> Result<Encrypted, Reason> {
        let (parts, []) = Parts::decode(bytes, PROTECTED_DIRECT_HKDF)?;
        let commitment = parts
            .protected
            .strip_prefix(PROTECTED_COMMITTED)
            .and_then(|c| c.try_into().ok())
            .ok_or(Reason::WrongHeader)?;
        let salt = match parts.recipient_unprotected {
            (label, Value::Bytes(salt)) if label == Value::from(-20) => salt,
            _ => return Err(Reason::WrongHeader),
        };
        let salt = salt.try_into().map_err(|_| Reason::WrongHeader)?;
        let recipient = Recipient::Direct { salt, commitment };
        Ok(Encrypted { recipient, ciphertext: parts.ciphertext })
    }

    /// Reads the strict form with [`Encapsulation::EcdhEs`]; gives the ephemeral key too.
    pub(crate) fn decode_ecdh_es(bytes: &[u8]) -> Result<(Encrypted, P256Public), Reason> {
        let (parts, []) = Parts::decode(bytes, PROTECTED_ECDH_ES)?;
        if parts.protected != PROTECTED_A256GCM {
            return Err(Reason::WrongHeader);
        }
        let (label, key) = parts.recipient_unprotected;
        if label != Value::from(-1) {
            return Err(Reason::WrongHeader);
        }
        let ephemeral = ephemeral_key(key)?;
        let recipient = Recipient::Key(Encapsulation::EcdhEs(ephemeral.clone()));
        Ok((Encrypted { recipient, ciphertext: parts.ciphertext }, ephemeral))
    }

    /// Reads the strict form for a device's key, in the one algorithm that the key has.
    pub(crate) fn decode_for(
        key: &DecryptionPublic,
        bytes: &[u8],
    ) -> Result<(Encrypted, Encapsulation), Reason> {
        match key {
            DecryptionPublic::EcdhEs(_) => {
                let (encrypted, ephemeral) = Encrypted::decode_ecdh_es(bytes)?;
                Ok((encrypted, Encapsulation::EcdhEs(ephemeral)))
            }
            DecryptionPublic::RsaOaep(hash, _) => {
                let (encrypted, found, encrypted_key) = Encrypted::decode_rsa_oaep(bytes)?;
                if found != *hash {
                    return Err(Reason::WrongHeader);
                }
                let below = Encapsulation::decode(key, &encrypted_key[..]);
                Ok((encrypted, below.map_err(|_| Reason::BadKeyLayer)?))
            }
        }
    }

    /// Reads the strict form with [`Encapsulation::RsaOaep`]; gives what is in that too.
    pub(crate) fn decode_rsa_oaep(
        bytes: &[u8],
    ) -> Result<(Encrypted, OaepHash, Box<[u8; RSA_LEN]>), Reason> {
        let (parts, encrypted_key) = Parts::decode(bytes, &[])?;
        let is_this = |hash: &OaepHash| parts.recipient_unprotected == oaep_header(*hash);
        let hash = [OaepHash::Sha256, OaepHash::Sha1].into_iter().find(is_this);
        let hash = hash.filter(|_| parts.protected == PROTECTED_A256GCM);
        let (hash, encrypted_key) = (hash.ok_or(Reason::WrongHeader)?, Box::new(encrypted_key));
        let recipient = Recipient::Key(Encapsulation::RsaOaep(hash, encrypted_key.clone()));
        Ok((Encrypted { recipient, ciphertext: parts.ciphertext }, hash, encrypted_key))
    }
}

/// What all forms have in common.
struct Parts {
    protected: Vec<u8>,
    ciphertext: Vec<u8>,
    recipient_unprotected: (Value, Value),
}

impl Parts {
    /// Gives the recipient's encrypted key besides, which is of `N` bytes.
    fn decode<const N: usize>(
        bytes: &[u8],
        recipient_protected: &[u8],
    ) -> Result<(Parts, [u8; N]), Reason> {
        let mut body = Items::of(untag(bytes, TAG)?, 4)?;
        let protected = body.bytes(usize::MAX)?;
        expect(body.any()?, &iv_header(&ZERO_IV))?;
        let ciphertext = body.bytes(usize::MAX)?;
        let mut recipients = Items::of(body.any()?, 1)?;
        let mut recipient = Items::of(recipients.any()?, 3)?;
        expect(recipient.any()?, &Value::Bytes(recipient_protected.to_vec()))?;
        let recipient_unprotected = match recipient.any()? {
            Value::Map(mut pairs) if pairs.len() == 1 => pairs.remove(0),
            _ => return Err(Reason::WrongHeader),
        };
        let encrypted_key = recipient.fixed()?;
        Ok((Parts { protected, ciphertext, recipient_unprotected }, encrypted_key))
    }
}

fn body_protected(recipient: &Recipient) -> Vec<u8> {
    match recipient {
        Recipient::Direct { commitment, .. } => [PROTECTED_COMMITTED, commitment].concat(),
        Recipient::Key(_) => PROTECTED_A256GCM.to_vec(),
    }
}

pub(crate) fn enc_structure(recipient: &Recipient, external_aad: &[u8]) -> Vec<u8> {
    let protected = ProtectedHeader {
        original_data: Some(body_protected(recipient)),
        header: Default::default(),
    };
    coset::enc_structure_data(EncryptionContext::CoseEncrypt, protected, external_aad)
}

/// {1: alg} (RFC 8230 section 3). It stands unprotected, since RSA protects no header, and is
/// compared.
fn oaep_header(hash: OaepHash) -> (Value, Value) {
    (Value::from(1), Value::from(hash.number()))
}

/// {1: 2, -1: 1, -2: X, -3: Y} (RFC 9053 section 7.1.1).
fn cose_key(x: &[u8], y: &[u8]) -> Value {
    Value::Map(vec![
        (Value::from(1), Value::from(2)),
        (Value::from(-1), Value::from(1)),
        (Value::from(-2), Value::Bytes(x.to_vec())),
        (Value::from(-3), Value::Bytes(y.to_vec())),
    ])
}

/// Reads a COSE_Key that is exactly what [`cose_key`] makes, before its point is looked at.
fn ephemeral_key(found: Value) -> Result<P256Public, Reason> {
    let (x, y) = match found.as_map().map(Vec::as_slice) {
        Some([_, _, (_, Value::Bytes(x)), (_, Value::Bytes(y))]) => (x.clone(), y.clone()),
        _ => return Err(Reason::WrongHeader),
    };
    expect(found, &cose_key(&x, &y))?;
    if x.len() != 32 || y.len() != 32 {
        return Err(Reason::WrongHeader);
    }
    P256Public::from_point(&[&[4][..], &x, &y].concat())
}
