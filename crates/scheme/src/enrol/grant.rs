//! G: the server's word on how the device stands. It carries the hardware serial, and so is
//! sealed under a key from CK_0: the serial is never on the wire in clear.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::encrypt0;
use crate::cose::sign1::Unsigned;
use crate::enrol::ENROL_MAX;
use crate::epoch::ChainKey;
use crate::id::{DeviceId, EnrolId, KeyId, ServerId};
use crate::keys::{P256Public, Signature};
use crate::label;
use crate::secret::{Secret, kdf, sha256};
use crate::serial::HardwareSerial;
use crate::server_keys::{by_server, signed_by_server};

const NAME: &str = "G";

/// How a device stands after its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An operator has to approve it; the same M5 asks again.
    AwaitingApproval = 0,
    /// It may open its first epoch.
    Active = 1,
    /// The operator said no.
    Denied = 2,
}

/// G.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The enrolment.
    pub enrol_id: EnrolId,
    /// The server.
    pub server_id: ServerId,
    /// The device.
    pub device_id: DeviceId,
    /// The hardware serial that the server has computed and verified.
    pub serial: HardwareSerial,
    /// Counts enrolments of this device.
    pub generation: u32,
    /// How it stands.
    pub standing: Standing,
    /// Key ids of signing, decryption and serial key.
    pub key_ids: [KeyId; 3],
    /// The assurance class, in its stable word.
    pub assurance: String,
}

/// The key that grants of one enrolment are sealed under. The server keeps it, encrypted, until
/// the device has a grant that says active or denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantKey(Secret);

impl GrantKey {
    /// Derives it; `chain` must be CK_0.
    pub fn new(chain: &ChainKey) -> GrantKey {
        GrantKey(kdf(chain.key(), label::GRANT))
    }

    /// A key that was kept.
    pub fn kept(key: Secret) -> GrantKey {
        GrantKey(key)
    }

    /// The key itself, for those who keep it encrypted.
    pub fn expose(&self) -> &Secret {
        &self.0
    }
}

impl Grant {
    /// G, to be signed by the server's signing key.
    pub fn unsigned(&self) -> Unsigned {
        let [signing, decryption, serial] = &self.key_ids;
        let payload = cbor::array!(
            self.enrol_id,
            self.server_id,
            self.device_id,
            self.serial.as_bytes(),
            self.generation,
            self.standing as u8,
            cbor::value!(signing, decryption, serial),
            self.assurance
        );
        Unsigned::new(payload, &by_server(NAME))
    }

    /// Seals the signed grant, in answer to `m5`.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn seal(
        &self,
        signature: &Signature,
        key: &GrantKey,
        m5: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        encrypt0::seal(&key.0, &self.unsigned().finish(signature), &sha256(&[m5]), rng)
    }

    /// The device's reading of the answer to `m5`. What it says must still be compared with what
    /// the device knows: [`Grant::agrees_with`].
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadSerialLayer`], [`Reason::BadServerSignature`].
    pub fn open(
        bytes: &[u8],
        key: &GrantKey,
        m5: &[u8],
        signing: &P256Public,
    ) -> Result<Grant, Reason> {
        let signed = encrypt0::open(&key.0, bytes, &sha256(&[m5]))?;
        Grant::decode(&signed_by_server(&signed, NAME, signing)?)
    }

    /// Whether the grant is for the device that reads it.
    ///
    /// # Errors
    /// [`Reason::WrongTranscript`].
    pub fn agrees_with(
        &self,
        offer: &crate::enrol::Offer,
        server_id: &ServerId,
        serial: &HardwareSerial,
        key_ids: &[KeyId; 3],
    ) -> Result<(), Reason> {
        let agrees = self.enrol_id == offer.enrol_id
            && self.device_id == offer.device_id
            && self.generation == offer.generation
            && self.server_id == *server_id
            && self.serial == *serial
            && self.key_ids == *key_ids;
        if agrees { Ok(()) } else { Err(Reason::WrongTranscript) }
    }

    fn decode(payload: &[u8]) -> Result<Grant, Reason> {
        let mut items = Items::decode(payload, ENROL_MAX, 8)?;
        let enrol_id = EnrolId(items.fixed()?);
        let server_id = ServerId(items.fixed()?);
        let device_id = DeviceId(items.fixed()?);
        let serial = HardwareSerial::from_bytes(items.fixed()?);
        let generation = items.uint()?;
        let standing = match items.uint::<u8>()? {
            0 => Standing::AwaitingApproval,
            1 => Standing::Active,
            2 => Standing::Denied,
            _ => return Err(Reason::WrongShape),
        };
        let mut ids = Items::of(items.any()?, 3)?;
        let key_ids = [KeyId(ids.fixed()?), KeyId(ids.fixed()?), KeyId(ids.fixed()?)];
        let assurance = items.text(16)?;
        Ok(Grant {
            enrol_id,
            server_id,
            device_id,
            serial,
            generation,
            standing,
            key_ids,
            assurance,
        })
    }
}
