//! M1: what the device claims to be, sealed to the server's encryption key:
//! `Ea(Key41 + S43 + m4)` of the patent, with everything that proves it.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::encrypt::Encrypted;
use crate::cose::kdf::Parties;
use crate::cose::sign1::{Signed, Unsigned};
use crate::enrol::challenge::{AcceptedChallenge, Challenge};
use crate::enrol::{ClaimedHardware, ENROL_MAX, UserInfo, VERSION};
use crate::id::{DeviceId, ServerId};
use crate::keys::{DecryptionPublic, Encapsulation, P256Public, SigningAlgorithm, SigningPublic};
use crate::label;
use crate::message::KeyLayer;
use crate::secret::{Secret, sha256};
use crate::serial::HardwareSerial;
use crate::server_keys::by_device;

const RE_ENROL_NAME: &str = "re_enrol";
/// The longest enrolment code, bytes.
pub(crate) const CODE_MAX: usize = 64;
/// The longest proof of a re-enrolment, bytes.
const PROOF_MAX: usize = 1024;

/// The claim of a device.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The hardware serial as the device computes it; the server computes it again.
    pub serial: HardwareSerial,
    /// Who the device belongs to.
    pub user_info: UserInfo,
    /// The code of an enrolment link.
    pub code: Option<String>,
    /// When this device was enrolled here before and can prove it.
    pub re_enrolment: Option<ReEnrolment>,
    /// Its chip.
    pub hardware: ClaimedHardware,
}

/// The claim to have been a certain device before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReEnrolment {
    /// The device id of before.
    pub device_id: DeviceId,
    /// Its generation.
    pub generation: u32,
    /// COSE_Sign1 by its signing key; see [`re_enrolment_proof`].
    pub proof: Vec<u8>,
}

impl ReEnrolment {
    /// Whether it is about this device, in this generation.
    pub fn is_of(&self, device_id: &DeviceId, generation: u32) -> bool {
        self.device_id == *device_id && self.generation == generation
    }
}

impl Claim {
    /// Seals M1, to be durable before it is sent.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn seal(
        &self,
        challenge: &AcceptedChallenge,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let plaintext = self.encode(&challenge.nonce_s);
        let server_id = challenge.server_keys.server_id();
        let aad = aad(&challenge.m0);
        let layer = KeyLayer { parties: parties(&server_id), aad: &aad };
        let to = DecryptionPublic::EcdhEs(challenge.server_keys.encryption.clone());
        let sealed = layer.seal(&to, &plaintext, rng)?;
        let m1 = cbor::array!(VERSION, challenge.m0, sealed);
        if m1.len() > ENROL_MAX { Err(Reason::TooLarge) } else { Ok(m1) }
    }

    fn encode(&self, nonce_s: &[u8; 32]) -> Vec<u8> {
        let re_enrolment =
            self.re_enrolment.as_ref().map(|r| cbor::value!(r.device_id, r.generation, r.proof));
        cbor::array!(
            nonce_s,
            self.serial.as_bytes(),
            self.user_info.encode(),
            self.code,
            re_enrolment,
            self.hardware.encode()
        )
    }

    fn decode(bytes: &[u8], nonce_s: &[u8; 32]) -> Result<Claim, Reason> {
        let mut items = Items::decode(bytes, ENROL_MAX, 6)?;
        if items.fixed()? != *nonce_s {
            return Err(Reason::WrongNonce);
        }
        let serial = HardwareSerial::from_bytes(items.fixed()?);
        let user_info = UserInfo::decode(items.any()?)?;
        let code = if items.null() { None } else { Some(items.text(CODE_MAX)?) };
        if code.as_deref() == Some("") {
            return Err(Reason::WrongShape);
        }
        let re_enrolment = match items.null() {
            true => None,
            false => {
                let mut r = Items::of(items.any()?, 3)?;
                Some(ReEnrolment {
                    device_id: DeviceId(r.fixed()?),
                    generation: r.uint()?,
                    proof: r.bytes(PROOF_MAX)?,
                })
            }
        };
        let hardware = ClaimedHardware::decode(items.any()?)?;
        Ok(Claim { serial, user_info, code, re_enrolment, hardware })
    }
}

/// M1 as the server reads it, up to the point where its encryption key must agree.
pub struct ClaimOpening {
    m0: Vec<u8>,
    nonce_s: [u8; 32],
    encrypted: Encrypted,
    ephemeral: P256Public,
}

impl ClaimOpening {
    /// Recognises the server's own challenge, before anything costs a private-key operation.
    ///
    /// # Errors
    /// The reasons of form and of [`Challenge::recognise`].
    pub fn begin(m1: &[u8], signing: &P256Public, now: u64) -> Result<ClaimOpening, Reason> {
        let mut items = Items::decode(m1, ENROL_MAX, 3)?;
        if items.uint::<u64>()? != u64::from(VERSION) {
            return Err(Reason::WrongVersion);
        }
        let m0 = items.bytes(ENROL_MAX)?;
        let nonce_s = Challenge::recognise(&m0, signing, now)?;
        let (encrypted, ephemeral) = Encrypted::decode_ecdh_es(&items.bytes(ENROL_MAX)?)?;
        Ok(ClaimOpening { m0, nonce_s, encrypted, ephemeral })
    }

    /// The nonce, to be used once.
    pub fn nonce_s(&self) -> &[u8; 32] {
        &self.nonce_s
    }

    /// SHA-256 of M0.
    pub fn m0_hash(&self) -> [u8; 32] {
        sha256(&[&self.m0])
    }

    /// The point that the server's encryption key must agree with.
    pub fn ephemeral(&self) -> &P256Public {
        &self.ephemeral
    }

    /// Opens the claim: `z` is the X coordinate of ECDH(encryption key, ephemeral).
    ///
    /// # Errors
    /// The reasons of form, [`Reason::BadKeyLayer`], [`Reason::WrongNonce`].
    pub fn finish(self, z: &Secret, server_id: &ServerId) -> Result<Claim, Reason> {
        let aad = aad(&self.m0);
        let layer = KeyLayer { parties: parties(server_id), aad: &aad };
        let encapsulation = Encapsulation::EcdhEs(self.ephemeral);
        Claim::decode(&layer.open(&self.encrypted, &encapsulation, z)?, &self.nonce_s)
    }
}

/// What the old signing key signs, with its algorithm, to prove a re-enrolment. `name` is what
/// [`crate::enrol::VerifiedHardware::name`] gives of the new keys.
pub fn re_enrolment_proof(
    algorithm: SigningAlgorithm,
    m0_hash: &[u8; 32],
    device_id: &DeviceId,
    generation: u32,
    serial: &HardwareSerial,
    name: &[u8],
) -> Unsigned {
    let payload =
        cbor::array!(label::RE_ENROL, m0_hash, device_id, generation, serial.as_bytes(), name);
    Unsigned::with(algorithm, payload, &by_device(RE_ENROL_NAME))
}

/// Verifies the proof of a re-enrolment with the old signing key: it must say exactly what
/// `expected`, made by [`re_enrolment_proof`] from the server's records, says.
///
/// # Errors
/// The reasons of form, and [`Reason::BadReEnrolment`].
pub fn verify_re_enrolment_proof(
    proof: &[u8],
    old_signing: &SigningPublic,
    expected: &Unsigned,
) -> Result<(), Reason> {
    let signed = Signed::decode(proof)?;
    let payload = signed.verify(old_signing, &by_device(RE_ENROL_NAME), Reason::BadReEnrolment)?;
    if payload == expected.payload() { Ok(()) } else { Err(Reason::BadReEnrolment) }
}

fn aad(m0: &[u8]) -> Vec<u8> {
    cbor::array!(label::ENROL, sha256(&[m0]))
}

fn parties(server_id: &ServerId) -> Parties<'_> {
    Parties { sender: None, receiver: &server_id.0 }
}
