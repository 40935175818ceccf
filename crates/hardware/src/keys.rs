//! Keys at rest: what the agent stores, and what only the true chip can load again.
//!
//! Public areas are TPMT_PUBLIC as TPM 2.0 Library Part 2, section 12.2.4 marshals them, without
//! the length of a TPM2B_PUBLIC. The Name of such a key is its name algorithm's identifier and
//! the hash of exactly these bytes (Part 1, section 16).
//!
//! None of these types implements `Serialize`: secrets leave through `to_bytes` and nowhere else,
//! for a file that only the agent can read.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::application::TpmApplicationKey;
use crate::at_rest::{Reader, Writer};
use crate::error::Error;

/// Which endorsement key, by the templates of the TCG EK Credential Profile (version 2.5, annex B).
///
/// "Low range" templates are authorised by policy A alone, those of the "high range" by policy B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EkKind {
    /// ECC NIST P-256, template L-2.
    EccP256,
    /// ECC NIST P-256, template H-2.
    EccP256High,
    /// ECC NIST P-384, template H-3.
    EccP384,
    /// RSA 2048, template L-1.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA 2048, template H-1.
    #[serde(rename = "rsa-2048-high")]
    Rsa2048High,
    /// RSA 3072, template H-6.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
}

impl EkKind {
    /// Every kind, the preferred first.
    pub const ALL: [Self; 6] = [
        Self::EccP256,
        Self::EccP256High,
        Self::EccP384,
        Self::Rsa2048,
        Self::Rsa2048High,
        Self::Rsa3072,
    ];
}

/// What the signing and the decryption key are. All others are of elliptic curves always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFamily {
    /// P-256.
    #[default]
    Ecc,
    /// RSA-2048.
    Rsa,
}

/// The endorsement key that was chosen, and what its maker says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ek {
    /// Which it is.
    pub kind: EkKind,
    /// Its TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// Its certificate as it stands in NV: DER, perhaps with padding behind, unchecked. `None`
    /// where the chip holds none.
    pub certificate: Option<Vec<u8>>,
    /// The DER certificates found in NV from index 0x01c00100 on, in that order, unchecked.
    pub intermediates: Vec<Vec<u8>>,
}

/// Everything that a chip holds for one enrolment, as it is kept between two starts.
///
/// Cheap to clone. It is worth nothing without the chip.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Which endorsement key the enrolment goes by.
    pub ek_kind: EkKind,
    /// TPMT_PUBLIC of the endorsement key.
    pub ek_public: Vec<u8>,
    /// TPMT_PUBLIC of the storage root key, the parent of the signing and the decryption key.
    pub srk_public: Vec<u8>,
    /// The attestation key: restricted, ECDSA P-256 with SHA-256.
    pub attestation: PrimaryKey,
    /// The serial key: ECDH P-256, from the seed of the endorsement key.
    pub serial: PrimaryKey,
    /// The signing key: ECDSA P-256, or RSA-2048 with PSS or PKCS #1 v1.5, with SHA-256.
    pub signing: ChildKey,
    /// The decryption key: ECDH P-256, or RSA-2048 with OAEP and SHA-256.
    pub decryption: ChildKey,
    /// Where the epochs are counted.
    pub counter: Counter,
}

/// A key of the endorsement hierarchy: the chip makes it again from its seed and from `unique`.
#[derive(Clone)]
pub struct PrimaryKey(pub(crate) Arc<Primary>);

pub(crate) struct Primary {
    pub(crate) role: PrimaryRole,
    pub(crate) unique: [u8; 32],
    pub(crate) public: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrimaryRole {
    Attestation,
    Serial,
}

/// A key below the storage root key: the wrapped blob and the random value that authorises it.
#[derive(Clone)]
pub struct ChildKey(pub(crate) Arc<Child>);

pub(crate) struct Child {
    /// TPMT_PUBLIC of the parent.
    pub(crate) parent: Vec<u8>,
    pub(crate) public: Vec<u8>,
    /// Contents of the TPM2B_PRIVATE: encrypted by the parent.
    pub(crate) private: Vec<u8>,
    pub(crate) auth: Zeroizing<Vec<u8>>,
}

/// A monotonic counter in the chip's NV memory and the random value that authorises it.
#[derive(Clone)]
pub struct Counter {
    pub(crate) index: u32,
    pub(crate) auth: Zeroizing<[u8; 32]>,
}

/// A key that the attestation key can certify.
#[derive(Clone, Debug)]
pub enum Key {
    /// The signing or the decryption key.
    Child(ChildKey),
    /// The serial key.
    Primary(PrimaryKey),
    /// An application's.
    Application(TpmApplicationKey),
}

impl From<&ChildKey> for Key {
    fn from(key: &ChildKey) -> Self {
        Key::Child(key.clone())
    }
}

impl From<&TpmApplicationKey> for Key {
    fn from(key: &TpmApplicationKey) -> Self {
        Key::Application(key.clone())
    }
}

impl From<&PrimaryKey> for Key {
    fn from(key: &PrimaryKey) -> Self {
        Key::Primary(key.clone())
    }
}

impl Counter {
    /// Whether both have the same place in the chip. Then only one of them can exist: the other
    /// went with a TPM2_Clear, or is in another chip.
    pub fn is_at_place_of(&self, other: &Counter) -> bool {
        self.index == other.index
    }
}

impl PrimaryKey {
    /// Its TPMT_PUBLIC.
    pub fn public(&self) -> &[u8] {
        &self.0.public
    }
}

impl ChildKey {
    /// Its TPMT_PUBLIC.
    pub fn public(&self) -> &[u8] {
        &self.0.public
    }

    /// The key for a file that only the agent can read. It holds the authorisation in clear.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(b"twinseal key 1");
        self.0.write(&mut writer);
        writer.finish()
    }

    /// What [`ChildKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(b"twinseal key 1", bytes)?;
        let key = Child::read(&mut reader)?;
        reader.finish()?;
        Ok(Self(Arc::new(key)))
    }
}

impl Child {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.field(&self.parent);
        writer.field(&self.public);
        writer.field(&self.private);
        writer.field(&self.auth);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            parent: reader.field()?.to_vec(),
            public: reader.field()?.to_vec(),
            private: reader.field()?.to_vec(),
            auth: Zeroizing::new(reader.field()?.to_vec()),
        })
    }
}

impl DeviceKeys {
    /// The keys for a file that only the agent can read. It holds authorisations in clear.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(b"twinseal device keys 1");
        let kind = EkKind::ALL.iter().position(|kind| *kind == self.ek_kind);
        // The position in a table of six; it is always there.
        writer.field(&[u8::try_from(kind.unwrap_or_default()).unwrap_or_default()]);
        writer.field(&self.ek_public);
        writer.field(&self.srk_public);
        for primary in [&self.attestation, &self.serial] {
            writer.field(&primary.0.unique);
            writer.field(&primary.0.public);
        }
        self.signing.0.write(&mut writer);
        self.decryption.0.write(&mut writer);
        writer.field(&self.counter.index.to_be_bytes());
        writer.field(self.counter.auth.as_slice());
        writer.finish()
    }

    /// What [`DeviceKeys::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(b"twinseal device keys 1", bytes)?;
        let [kind] = reader.array()?;
        let primary = |reader: &mut Reader<'_>, role| {
            Ok::<_, Error>(PrimaryKey(Arc::new(Primary {
                role,
                unique: reader.array()?,
                public: reader.field()?.to_vec(),
            })))
        };
        let keys = Self {
            ek_kind: *EkKind::ALL
                .get(usize::from(kind))
                .ok_or(Error::Misuse("stored keys with an unknown EK"))?,
            ek_public: reader.field()?.to_vec(),
            srk_public: reader.field()?.to_vec(),
            attestation: primary(&mut reader, PrimaryRole::Attestation)?,
            serial: primary(&mut reader, PrimaryRole::Serial)?,
            signing: ChildKey(Arc::new(Child::read(&mut reader)?)),
            decryption: ChildKey(Arc::new(Child::read(&mut reader)?)),
            counter: Counter {
                index: u32::from_be_bytes(reader.array()?),
                auth: Zeroizing::new(reader.array()?),
            },
        };
        reader.finish()?;
        Ok(keys)
    }
}

macro_rules! redacted {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
redacted!(DeviceKeys PrimaryKey ChildKey Counter);

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn child(seed: u8) -> ChildKey {
        ChildKey(Arc::new(Child {
            parent: vec![seed; 70],
            public: vec![seed + 1; 80],
            private: vec![seed + 2; 120],
            auth: Zeroizing::new(vec![seed + 3; 32]),
        }))
    }

    fn keys() -> DeviceKeys {
        let primary = |role, seed| {
            PrimaryKey(Arc::new(Primary { role, unique: [seed; 32], public: vec![seed + 1; 90] }))
        };
        DeviceKeys {
            ek_kind: EkKind::EccP384,
            ek_public: vec![1; 300],
            srk_public: vec![2; 70],
            attestation: primary(PrimaryRole::Attestation, 3),
            serial: primary(PrimaryRole::Serial, 5),
            signing: child(7),
            decryption: child(11),
            counter: Counter { index: 0x0180_0000, auth: Zeroizing::new([15; 32]) },
        }
    }

    #[test]
    fn stored_keys_come_back_as_they_were() {
        let stored = keys().to_bytes();
        let read = DeviceKeys::from_bytes(&stored).unwrap();
        assert_eq!(read.to_bytes(), stored);
        assert_eq!(read.ek_kind, EkKind::EccP384);
        assert_eq!(read.serial.0.role, PrimaryRole::Serial);
        assert_eq!(*read.counter.auth, [15; 32]);
        let key = ChildKey::from_bytes(&child(7).to_bytes()).unwrap();
        assert_eq!(key.to_bytes(), child(7).to_bytes());
    }

    #[test]
    fn every_cut_and_every_tail_is_refused() {
        let stored = keys().to_bytes();
        for length in 0..stored.len() {
            let cut = stored.get(..length).unwrap();
            assert_eq!(DeviceKeys::from_bytes(cut).unwrap_err().code(), "misuse");
        }
        let mut longer = stored.to_vec();
        longer.push(0);
        assert_eq!(DeviceKeys::from_bytes(&longer).unwrap_err().code(), "misuse");
        assert_eq!(
            ChildKey::from_bytes(&stored).unwrap_err().code(),
            "misuse",
            "one kind of file is not read as the other"
        );
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        assert_eq!(format!("{:?}", keys()), "DeviceKeys(..)");
        assert_eq!(format!("{:?}", Key::from(&child(1))), "Child(ChildKey(..))");
    }
}
