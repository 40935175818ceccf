//! What is known of a chip's keys without asking it.

use twinseal_hardware::{ChipKeys, DeviceKeys};
use twinseal_scheme::Reason;
use twinseal_scheme::id::KeyId;
use twinseal_scheme::keys::{DecryptionPublic, P256Public, SigningPublic};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::tpm::{EndorsementKey, Name, Public};

/// The public halves of signing, decryption and serial key.
pub(crate) struct PublicKeys {
    pub signing: SigningPublic,
    pub decryption: DecryptionPublic,
    pub serial: DecryptionPublic,
}

impl PublicKeys {
    pub(crate) fn of(keys: &ChipKeys) -> Result<PublicKeys, Reason> {
        Ok(match keys {
            ChipKeys::Tpm(keys) => PublicKeys {
                signing: SigningPublic::from_area(&Public::parse(keys.signing.public())?)?,
                decryption: DecryptionPublic::from_area(&Public::parse(keys.decryption.public())?)?,
                serial: DecryptionPublic::EcdhEs(point_of(keys.serial.public())?),
            },
            ChipKeys::Token(keys) => PublicKeys {
                signing: keys.signing.public().clone(),
                decryption: keys.decryption.public().clone(),
                serial: keys.serial.public().clone(),
            },
        })
    }

    pub(crate) fn ids(&self) -> [KeyId; 3] {
        [self.signing.id(), self.decryption.id(), self.serial.id()]
    }
}

/// The hardware serial of the chip that made them.
pub(crate) fn serial_of(keys: &ChipKeys) -> Result<HardwareSerial, Reason> {
    match keys {
        ChipKeys::Tpm(keys) => Ok(EndorsementKey::parse(&keys.ek_public)?.serial()),
        ChipKeys::Token(keys) => keys.identity.serial(),
    }
}

/// What the proof of a re-enrolment calls them by.
pub(crate) fn name_of(keys: &ChipKeys) -> Result<Vec<u8>, Reason> {
    match keys {
        ChipKeys::Tpm(keys) => Ok(ak_name(keys)?.as_bytes().to_vec()),
        ChipKeys::Token(keys) => Ok(keys.signing.public().id().0.to_vec()),
    }
}

pub(crate) fn ak_name(keys: &DeviceKeys) -> Result<Name, Reason> {
    Ok(Public::parse(keys.attestation.public())?.name().clone())
}

fn point_of(public: &[u8]) -> Result<P256Public, Reason> {
    let public = Public::parse(public)?;
    let (_, point) = public.key().point().ok_or(Reason::UnknownKey)?;
    P256Public::from_point(point)
}
