//! The server's signed statement about a device: what it knew of the device when it says so.
//!
//! A receipt carries it, so that an auditor who knows only the server's identity can find the
//! device's signing key, and how much the server had seen of the chip behind it.

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::Unsigned;
use crate::id::{DeviceId, KeyId, ServerId};
use crate::keys::{P256Public, SigningPublic};
use crate::serial::HardwareSerial;
use crate::server_keys::{by_server, signed_by_server};

const NAME: &str = "device";
/// The longest statement, bytes.
const STATEMENT_MAX: usize = 8192;
/// The longest EK verdict, bytes of UTF-8.
const VERDICT_MAX: usize = 4096;

/// What the server states about a device.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceStatement {
    /// Who states.
    pub server_id: ServerId,
    /// About whom.
    pub device_id: DeviceId,
    /// The hardware serial, as the server has verified it.
    pub serial: HardwareSerial,
    /// Its enrolment.
    pub generation: u32,
    /// Its rotation.
    pub keyset: u32,
    /// Verifies the device's signatures.
    pub signing: SigningPublic,
    /// Names the key that the device opens messages with.
    pub decryption: KeyId,
    /// The assurance class, in its stable word.
    pub assurance: String,
    /// How the endorsement key was verified, line by line.
    pub verdict: String,
    /// When the device was enrolled in this generation, unix seconds by the server's clock.
    pub enrolled_s: u64,
}

impl DeviceStatement {
    /// The statement, to be signed by the server's signing key.
    pub fn unsigned(&self) -> Unsigned {
        let payload = cbor::array!(
            self.server_id,
            self.device_id,
            self.serial.as_bytes(),
            self.generation,
            self.keyset,
            self.signing.to_item(),
            self.decryption,
            self.assurance,
            self.verdict,
            self.enrolled_s
        );
        Unsigned::new(payload, &by_server(NAME))
    }

    /// Verifies a statement.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadServerSignature`].
    pub fn verify(bytes: &[u8], signing: &P256Public) -> Result<DeviceStatement, Reason> {
        let payload = signed_by_server(bytes, NAME, signing)?;
        let mut items = Items::decode(&payload, STATEMENT_MAX, 10)?;
        Ok(DeviceStatement {
            server_id: ServerId(items.fixed()?),
            device_id: DeviceId(items.fixed()?),
            serial: HardwareSerial::from_bytes(items.fixed()?),
            generation: items.uint()?,
            keyset: items.uint()?,
            signing: SigningPublic::from_item(items.any()?)?,
            decryption: KeyId(items.fixed()?),
            assurance: items.text(16)?,
            verdict: items.text(VERDICT_MAX)?,
            enrolled_s: items.uint()?,
        })
    }
}

/// Never shows the serial.
impl std::fmt::Debug for DeviceStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceStatement({}, generation {})", self.device_id, self.generation)
    }
}
