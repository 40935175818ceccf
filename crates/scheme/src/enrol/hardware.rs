//! What a claim says of its chip: a TPM's certified keys, or a token's signed ones.

use ciborium::value::Value;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::enrol::claimed_keys::{ClaimedKey, ClaimedKeys};
use crate::enrol::token::{ClaimedToken, STATEMENT_MAX, TokenKeys};
use crate::id::ServerId;
use crate::keys::{DecryptionPublic, SigningPublic};
use crate::serial::HardwareSerial;
use crate::tpm::VerifiedDeviceKeys;

/// The longest TPM structure in a claim, bytes.
const STRUCTURE_MAX: usize = 2048;
/// The longest EK certificate as read from the chip, bytes.
const CERTIFICATE_MAX: usize = 8192;
/// Certificates at the most.
const CERTIFICATES_MAX: usize = 8;
/// The first item of a TPM's claim.
const TPM: u8 = 1;
/// The first item of a token's claim.
const TOKEN: u8 = 2;

/// The chip of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimedHardware {
    /// A TPM.
    Tpm(Box<ClaimedTpm>),
    /// A PKCS#11 token.
    Token(ClaimedToken),
}

/// What a TPM claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTpm {
    /// The EK's certificate, and intermediate ones, as read from the chip.
    pub certificates: Vec<Vec<u8>>,
    /// The chip's public areas and certifications.
    pub keys: ClaimedKeys,
}

/// The keys of a claim that were verified.
#[derive(Clone, Debug)]
pub enum VerifiedHardware {
    /// Of a TPM.
    Tpm(Box<VerifiedDeviceKeys>),
    /// Of a token.
    Token(Box<TokenKeys>),
}

impl ClaimedHardware {
    /// Checks that the stated serial is this chip's: cheap, and before anything is looked up by
    /// it.
    ///
    /// # Errors
    /// Those of [`ClaimedKeys::check_serial`] and [`ClaimedToken::check_serial`].
    pub fn check_serial(&self, stated: &HardwareSerial) -> Result<(), Reason> {
        match self {
            ClaimedHardware::Tpm(tpm) => tpm.keys.check_serial(stated).map(drop),
            ClaimedHardware::Token(token) => token.check_serial(stated),
        }
    }

    /// Checks every key, made for this challenge, this server and this serial.
    ///
    /// # Errors
    /// Those of [`ClaimedKeys::verify`] and [`ClaimedToken::verify`].
    pub fn verify(
        &self,
        m0_hash: &[u8; 32],
        server_id: &ServerId,
        serial: &HardwareSerial,
    ) -> Result<VerifiedHardware, Reason> {
        match self {
            ClaimedHardware::Tpm(tpm) => {
                let keys = tpm.keys.verify(m0_hash, server_id, serial)?;
                Ok(VerifiedHardware::Tpm(Box::new(keys)))
            }
            ClaimedHardware::Token(token) => {
                let keys = token.verify(m0_hash, server_id, serial)?;
                Ok(VerifiedHardware::Token(Box::new(keys)))
            }
        }
    }

    pub(super) fn encode(&self) -> Value {
        let tpm = match self {
            ClaimedHardware::Token(token) => return cbor::value!(TOKEN, token.statement()),
            ClaimedHardware::Tpm(tpm) => tpm,
        };
        let certificates = tpm.certificates.iter().map(cbor::Item::item).collect();
        let key = |k: &ClaimedKey| cbor::value!(k.public, k.attest, k.signature);
        let keys = &tpm.keys;
        cbor::value!(
            TPM,
            keys.ek_public,
            Value::Array(certificates),
            keys.srk_public,
            keys.ak_public,
            key(&keys.signing),
            key(&keys.decryption),
            key(&keys.serial)
        )
    }

    pub(super) fn decode(value: Value) -> Result<ClaimedHardware, Reason> {
        let kind = value.as_array().and_then(|items| items.first()).and_then(Value::as_integer);
        if kind == Some(TOKEN.into()) {
            let mut items = Items::of(value, 2)?;
            items.any()?;
            let statement = items.bytes(STATEMENT_MAX)?;
            return Ok(ClaimedHardware::Token(ClaimedToken::new(statement)));
        }
        Ok(ClaimedHardware::Tpm(Box::new(ClaimedTpm::decode(Items::of(value, 8)?)?)))
    }
}

impl ClaimedTpm {
    fn decode(mut items: Items) -> Result<ClaimedTpm, Reason> {
        if items.uint::<u8>()? != TPM {
            return Err(Reason::WrongShape);
        }
        let ek_public = items.bytes(STRUCTURE_MAX)?;
        let certificates = items.list(CERTIFICATES_MAX)?.into_iter().map(|c| match c {
            Value::Bytes(c) if c.len() <= CERTIFICATE_MAX => Ok(c),
            _ => Err(Reason::WrongShape),
        });
        let certificates = certificates.collect::<Result<_, _>>()?;
        let keys = ClaimedKeys {
            ek_public,
            srk_public: items.bytes(STRUCTURE_MAX)?,
            ak_public: items.bytes(STRUCTURE_MAX)?,
            signing: certified_key(&mut items)?,
            decryption: certified_key(&mut items)?,
            serial: certified_key(&mut items)?,
        };
        Ok(ClaimedTpm { certificates, keys })
    }
}

impl VerifiedHardware {
    /// Verifies what the device sends.
    pub fn signing(&self) -> SigningPublic {
        match self {
            VerifiedHardware::Tpm(keys) => keys.signing.key.clone(),
            VerifiedHardware::Token(keys) => keys.signing.clone(),
        }
    }

    /// Encrypts what the device receives.
    pub fn decryption(&self) -> DecryptionPublic {
        match self {
            VerifiedHardware::Tpm(keys) => keys.decryption.key.clone(),
            VerifiedHardware::Token(keys) => keys.decryption.clone(),
        }
    }

    /// The serial key. A TPM's always agrees.
    pub fn serial(&self) -> DecryptionPublic {
        match self {
            VerifiedHardware::Tpm(keys) => DecryptionPublic::EcdhEs(keys.serial.clone()),
            VerifiedHardware::Token(keys) => keys.serial.clone(),
        }
    }

    /// What a re-enrolment's proof calls the new keys by: the AK's Name, or the key id of a
    /// token's signing key.
    pub fn name(&self) -> Vec<u8> {
        match self {
            VerifiedHardware::Tpm(keys) => keys.ak_name.as_bytes().to_vec(),
            VerifiedHardware::Token(keys) => keys.signing.id().0.to_vec(),
        }
    }
}

fn certified_key(items: &mut Items) -> Result<ClaimedKey, Reason> {
    let mut key = Items::of(items.any()?, 3)?;
    Ok(ClaimedKey {
        public: key.bytes(STRUCTURE_MAX)?,
        attest: key.bytes(STRUCTURE_MAX)?,
        signature: key.bytes(STRUCTURE_MAX)?,
    })
}
