//! M2 and M3: credential activation. Only the chip that holds the claimed EK, with the claimed
//! AK loaded in it, learns the credential (TPM 2.0 Part 1 section 24).

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::Unsigned;
use crate::enrol::ENROL_MAX;
use crate::id::EnrolId;
use crate::keys::P256Public;
use crate::label;
use crate::secret::{Secret, equal, hmac, kdf, sha256};
use crate::server_keys::{by_server, signed_by_server};

const NAME: &str = "M2";
/// The longest TPM2B_ID_OBJECT or TPM2B_ENCRYPTED_SECRET, bytes.
const CREDENTIAL_MAX: usize = 1024;

/// M2: a credential for the AK, encrypted to the EK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Names this enrolment from here on.
    pub enrol_id: EnrolId,
    /// For TPM2_ActivateCredential; the framing is that of [`crate::tpm::make_credential`].
    pub credential_blob: Vec<u8>,
    /// For TPM2_ActivateCredential.
    pub encrypted_secret: Vec<u8>,
}

impl Activation {
    /// M2 in answer to `m1`, to be signed by the server's signing key.
    pub fn unsigned(&self, m1: &[u8]) -> Unsigned {
        let payload =
            cbor::array!(self.enrol_id, self.credential_blob, self.encrypted_secret, sha256(&[m1]));
        Unsigned::new(payload, &by_server(NAME))
    }

    /// The device's check that M2 is the server's answer to `m1`.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadServerSignature`], [`Reason::WrongTranscript`].
    pub fn verify(bytes: &[u8], signing: &P256Public, m1: &[u8]) -> Result<Activation, Reason> {
        let payload = signed_by_server(bytes, NAME, signing)?;
        let mut items = Items::decode(&payload, ENROL_MAX, 4)?;
        let activation = Activation {
            enrol_id: EnrolId(items.fixed()?),
            credential_blob: items.bytes(CREDENTIAL_MAX)?,
            encrypted_secret: items.bytes(CREDENTIAL_MAX)?,
        };
        if items.fixed()? != sha256(&[m1]) {
            return Err(Reason::WrongTranscript);
        }
        Ok(activation)
    }
}

/// M3: the proof that the credential was activated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ActivationProof {
    /// The enrolment.
    pub enrol_id: EnrolId,
    mac: [u8; 32],
}

impl ActivationProof {
    /// Made by the device from the credential, expected by the server from the one it drew.
    pub fn new(
        enrol_id: EnrolId,
        credential: &Secret,
        m0_hash: &[u8; 32],
        m1: &[u8],
        m2: &[u8],
    ) -> ActivationProof {
        let key = kdf(credential, label::ACTIVATE);
        let mac = hmac(&key, &[&enrol_id.0, m0_hash, &sha256(&[m1]), &sha256(&[m2])]);
        ActivationProof { enrol_id, mac }
    }

    /// The bytes of M3.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array!(self.enrol_id, self.mac)
    }

    /// Reads M3.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn decode(bytes: &[u8]) -> Result<ActivationProof, Reason> {
        let mut items = Items::decode(bytes, 128, 2)?;
        Ok(ActivationProof { enrol_id: EnrolId(items.fixed()?), mac: items.fixed()? })
    }

    /// Compares with the expected proof, in constant time.
    ///
    /// # Errors
    /// [`Reason::WrongCredential`].
    pub fn verify(&self, expected: &ActivationProof) -> Result<(), Reason> {
        if self.enrol_id == expected.enrol_id && equal(&self.mac, &expected.mac) {
            Ok(())
        } else {
            Err(Reason::WrongCredential)
        }
    }
}
