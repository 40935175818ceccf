//! The keys in a claim, and the server's whole check of them (docs/scheme.md section 3, checks 1
//! and 4 to 6).

use crate::Reason;
use crate::cbor;
use crate::id::ServerId;
use crate::label;
use crate::secret::sha256;
use crate::serial::HardwareSerial;
use crate::tpm::{
    Certification, DeviceKeyClaims, EndorsementKey, Role, VerifiedDeviceKeys, verify_device_keys,
};

/// The keys of a chip as it marshals them (TPMT_PUBLIC, TPMS_ATTEST, TPMT_SIGNATURE); what
/// they are worth, [`crate::tpm`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedKeys {
    /// The endorsement key.
    pub ek_public: Vec<u8>,
    /// The storage root key.
    pub srk_public: Vec<u8>,
    /// The attestation key.
    pub ak_public: Vec<u8>,
    /// The signing key.
    pub signing: ClaimedKey,
    /// The decryption key.
    pub decryption: ClaimedKey,
    /// The serial key.
    pub serial: ClaimedKey,
}

/// A key that the AK has certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedKey {
    /// TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl ClaimedKeys {
    /// Checks that the stated serial is the one of the claimed endorsement key: cheap, and before
    /// anything is looked up by it.
    ///
    /// # Errors
    /// Those of [`EndorsementKey::parse`], and [`Reason::WrongSerial`].
    pub fn check_serial(&self, stated: &HardwareSerial) -> Result<EndorsementKey, Reason> {
        let ek = EndorsementKey::parse(&self.ek_public)?;
        if ek.serial() == *stated { Ok(ek) } else { Err(Reason::WrongSerial) }
    }

    /// Checks every public area and every certification, made for this challenge, this server
    /// and this serial.
    ///
    /// # Errors
    /// Those of [`verify_device_keys`].
    pub fn verify(
        &self,
        m0_hash: &[u8; 32],
        server_id: &ServerId,
        serial: &HardwareSerial,
    ) -> Result<VerifiedDeviceKeys, Reason> {
        let claims = DeviceKeyClaims {
            ek_public: &self.ek_public,
            srk_public: &self.srk_public,
            ak_public: &self.ak_public,
            signing_public: &self.signing.public,
            decryption_public: &self.decryption.public,
            serial_public: &self.serial.public,
            certify_signing: self.signing.certification(),
            certify_decryption: self.decryption.certification(),
            certify_serial: self.serial.certification(),
        };
        verify_device_keys(&claims, |role, ak_name, name| {
            certify_extra_data(
                role,
                m0_hash,
                server_id,
                serial,
                ak_name.as_bytes(),
                name.as_bytes(),
            )
        })
    }
}

impl ClaimedKey {
    fn certification(&self) -> Certification<'_> {
        Certification { attest: &self.attest, signature: &self.signature }
    }
}

/// extraData of the certification of one key at enrolment. The Names are those of TPM 2.0 Part 1
/// section 16: the algorithm's number and the digest.
pub fn certify_extra_data(
    role: Role,
    m0_hash: &[u8; 32],
    server_id: &ServerId,
    serial: &HardwareSerial,
    ak_name: &[u8],
    object_name: &[u8],
) -> [u8; 32] {
    sha256(&[&cbor::array!(
        label::CERTIFY,
        role.word(),
        m0_hash,
        server_id,
        serial.as_bytes(),
        ak_name,
        object_name
    )])
}
