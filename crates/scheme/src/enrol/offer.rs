//! M4 and M5: the serial key's agreement. From here on only the chip can compute CK_0: the
//! server computes it once, together with the confirmation that it expects, and forgets the
//! ephemeral key, or the secret that it has encrypted by RSA.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::{Signed, Unsigned};
use crate::enrol::{ActivationProof, ENROL_MAX};
use crate::epoch::ChainKey;
use crate::id::{DeviceId, EnrolId, ServerId};
use crate::keys::{
    DecryptionPublic, Encapsulation, P256Public, RSA_LEN, SigningAlgorithm, SigningPublic,
};
use crate::label;
use crate::secret::{Secret, equal, hmac, kdf, sha256};
use crate::serial::HardwareSerial;
use crate::server_keys::{by_device, by_server, signed_by_server};

const OFFER: &str = "M4";
const CONFIRMATION: &str = "M5";

/// M4: the name that the device will have, and what its serial key makes CK_0 of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The enrolment.
    pub enrol_id: EnrolId,
    /// The device's name on the wire.
    pub device_id: DeviceId,
    /// Counts enrolments of this device.
    pub generation: u32,
    /// E. The device keeps it: the serial key makes CK_0 of it again at every start.
    pub encapsulation: Encapsulation,
}

/// What the server keeps, encrypted, of making an offer.
pub struct OfferSecrets {
    /// CK_0.
    pub chain: ChainKey,
}

impl Offer {
    /// Draws E for the device's serial key, in answer to M3, computes CK_0, and wipes whatever
    /// else could compute it.
    ///
    /// # Errors
    /// [`Reason::BadPoint`], [`Reason::UnknownKey`]; neither can happen with a key that was checked.
    pub fn draw(
        proof: &ActivationProof,
        device_id: DeviceId,
        generation: u32,
        server_id: &ServerId,
        serial: &HardwareSerial,
        serial_key: &DecryptionPublic,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Offer, OfferSecrets), Reason> {
        let (encapsulation, z) = Encapsulation::draw(serial_key, [&proof.encode()], rng)?;
        let chain = ChainKey::first(&z, server_id, &device_id, serial, generation);
        let enrol_id = proof.enrol_id;
        Ok((Offer { enrol_id, device_id, generation, encapsulation }, OfferSecrets { chain }))
    }

    /// M4 in answer to `m3`, to be signed by the server's signing key.
    pub fn unsigned(&self, m3: &[u8]) -> Unsigned {
        let payload = cbor::array!(
            self.enrol_id,
            sha256(&[m3]),
            self.device_id,
            self.generation,
            self.encapsulation.bytes()
        );
        Unsigned::new(payload, &by_server(OFFER))
    }

    /// The device's check that M4 is the server's answer to `m3`, with an E for its serial key. E
    /// is checked before the chip sees it.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadServerSignature`], [`Reason::WrongTranscript`], and those
    /// of [`Encapsulation::decode`].
    pub fn verify(
        bytes: &[u8],
        signing: &P256Public,
        m3: &[u8],
        serial_key: &DecryptionPublic,
    ) -> Result<Offer, Reason> {
        let payload = signed_by_server(bytes, OFFER, signing)?;
        let mut items = Items::decode(&payload, ENROL_MAX, 5)?;
        let enrol_id = EnrolId(items.fixed()?);
        if items.fixed()? != sha256(&[m3]) {
            return Err(Reason::WrongTranscript);
        }
        Ok(Offer {
            enrol_id,
            device_id: DeviceId(items.fixed()?),
            generation: items.uint()?,
            encapsulation: Encapsulation::decode(serial_key, &items.bytes(RSA_LEN)?)?,
        })
    }
}

/// The key that confirms a transcript, from CK_0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmationKey(Secret);

impl ConfirmationKey {
    /// Derives it; `chain` must be CK_0.
    pub fn new(chain: &ChainKey) -> ConfirmationKey {
        ConfirmationKey(kdf(chain.key(), label::CONFIRM))
    }

    /// The confirmation of a whole transcript: `hashes` are the SHA-256 of M0 to M4 in order.
    pub fn confirm(&self, hashes: &[[u8; 32]; 5]) -> [u8; 32] {
        hmac(&self.0, &[hashes.as_flattened()])
    }
}

/// M5: the device has CK_0, and signs with its new key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The enrolment.
    pub enrol_id: EnrolId,
    /// The chip's counter now: epoch = counter − base.
    pub epoch_base: u64,
    /// See [`ConfirmationKey::confirm`].
    pub mac: [u8; 32],
}

impl Confirmation {
    /// M5, to be signed by the device's signing key and to be durable before it is sent.
    pub fn unsigned(&self, algorithm: SigningAlgorithm) -> Unsigned {
        let payload = cbor::array!(self.enrol_id, self.epoch_base, self.mac);
        Unsigned::with(algorithm, payload, &by_device(CONFIRMATION))
    }

    /// The enrolment that an M5 says it belongs to: only to find the record that verifies it.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn route(bytes: &[u8]) -> Result<EnrolId, Reason> {
        Ok(Confirmation::decode(Signed::decode(bytes)?.unverified_payload())?.enrol_id)
    }

    /// The server's check: the signature, and the confirmation it expects, in constant time.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadDeviceSignature`], [`Reason::WrongConfirmation`].
    pub fn verify(
        bytes: &[u8],
        signing: &SigningPublic,
        expected_mac: &[u8; 32],
    ) -> Result<Confirmation, Reason> {
        let signed = Signed::decode(bytes)?;
        let aad = by_device(CONFIRMATION);
        let payload = signed.verify(signing, &aad, Reason::BadDeviceSignature)?;
        let confirmation = Confirmation::decode(&payload)?;
        if equal(&confirmation.mac, expected_mac) {
            Ok(confirmation)
        } else {
            Err(Reason::WrongConfirmation)
        }
    }

    fn decode(payload: &[u8]) -> Result<Confirmation, Reason> {
        let mut items = Items::decode(payload, 128, 3)?;
        Ok(Confirmation {
            enrol_id: EnrolId(items.fixed()?),
            epoch_base: items.uint()?,
            mac: items.fixed()?,
        })
    }
}
