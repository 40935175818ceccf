//! The epoch-open: seq 0 of an epoch. It brings the epoch secret, and the chip's word that the
//! epoch is new.
//!
//! Its order is always `key`, so that the server verifies the signature before it walks the
//! ratchet for anybody. It is sealed without the epoch secret that it carries.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::bond::Bond;
use crate::cbor::{self, Items};
use crate::epoch::{ChainKey, EpochKeys, EpochSecret};
use crate::id::KeyId;
use crate::keys::{KEM_CIPHERTEXT_LEN, P256Private, P256Public};
use crate::label;
use crate::message::{Envelope, Outer, UnsignedUp, open_opening, seal_up, verify_opening};
use crate::secret::{Secret, sha256};
use crate::server_keys::ServerKeys;
use crate::tpm::Certification;

/// The longest attest or attest signature, bytes.
const ATTEST_MAX: usize = 1024;
/// The longest epoch-open content, bytes.
const CONTENT_MAX: usize = 4096;

/// What an epoch-open says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOpen {
    /// The device's ephemeral key.
    pub epoch_key: P256Public,
    /// ML-KEM-768 ciphertext, 1,088 bytes.
    pub kem_ciphertext: Vec<u8>,
    /// The server's P-256 encryption key that was used.
    pub p256_id: KeyId,
    /// The server's ML-KEM key that was used.
    pub kem_id: KeyId,
    /// TPM2_Certify of the signing key by the AK, and its signature (TPMS_ATTEST and
    /// TPMT_SIGNATURE, marshalled). Nothing for a token, which cannot certify.
    pub attest: Option<(Vec<u8>, Vec<u8>)>,
}

impl EpochOpen {
    /// extraData that the attest must carry: it ties the chip's clock to this very epoch.
    pub fn extra_data(&self, bond: &Bond, sequence: u64, epoch: u64) -> [u8; 32] {
        sha256(&[&cbor::array!(
            label::EPOCH_ATTEST,
            bond.server_id,
            sequence,
            bond.device_id,
            bond.serial.as_bytes(),
            bond.generation,
            epoch,
            self.epoch_key.point(),
            sha256(&[&self.kem_ciphertext]),
            self.p256_id,
            self.kem_id
        )])
    }

    /// The attest of a device with a TPM, for [`crate::tpm::verify_epoch_attest`].
    ///
    /// # Errors
    /// [`Reason::AttestMissing`].
    pub fn certification(&self) -> Result<Certification<'_>, Reason> {
        let (attest, signature) = self.attest.as_ref().ok_or(Reason::AttestMissing)?;
        Ok(Certification { attest, signature })
    }

    fn encode(&self) -> Vec<u8> {
        let attest =
            self.attest.as_ref().map(|(attest, signature)| cbor::value!(attest, signature));
        cbor::array!(self.epoch_key.point(), self.kem_ciphertext, self.p256_id, self.kem_id, attest)
    }

    fn decode(bytes: &[u8]) -> Result<EpochOpen, Reason> {
        let mut items = Items::decode(bytes, CONTENT_MAX, 5)?;
        Ok(EpochOpen {
            epoch_key: P256Public::from_point(&items.fixed::<65>()?)?,
            kem_ciphertext: items.fixed::<KEM_CIPHERTEXT_LEN>()?.to_vec(),
            p256_id: KeyId(items.fixed()?),
            kem_id: KeyId(items.fixed()?),
            attest: match items.null() {
                true => None,
                false => {
                    let mut pair = Items::of(items.any()?, 2)?;
                    Some((pair.bytes(ATTEST_MAX)?, pair.bytes(ATTEST_MAX)?))
                }
            },
        })
    }
}

/// The device's side: an epoch-open in the making.
pub struct EpochOpening {
    open: EpochOpen,
    ecdh: Secret,
    kem: Secret,
    sequence: u64,
}

impl EpochOpening {
    /// Draws the epoch's keys for the server's present encryption keys.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] when a key of the statement cannot be used.
    pub fn draw(
        server_keys: &ServerKeys,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<EpochOpening, Reason> {
        let epoch_key = P256Private::generate(rng);
        let ecdh = epoch_key.agree(&server_keys.encryption)?;
        let (kem_ciphertext, kem) = server_keys.kem.encapsulate()?;
        let open = EpochOpen {
            epoch_key: epoch_key.public().clone(),
            kem_ciphertext,
            p256_id: server_keys.encryption.id(),
            kem_id: server_keys.kem.id(),
            attest: None,
        };
        Ok(EpochOpening { open, ecdh, kem, sequence: server_keys.sequence })
    }

    /// What the AK must certify the signing key with; see [`EpochOpen::extra_data`].
    pub fn extra_data(&self, bond: &Bond, epoch: u64) -> [u8; 32] {
        self.open.extra_data(bond, self.sequence, epoch)
    }

    /// Seals it up to the point where the signing key must sign. `chain` stands at the epoch.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn seal(
        mut self,
        bond: &Bond,
        chain: &ChainKey,
        attest: Option<(Vec<u8>, Vec<u8>)>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<UnsignedEpochOpen, Reason> {
        self.open.attest = attest;
        let keys = EpochKeys::opening(chain, self.sequence);
        let unsigned = seal_up(bond, &keys, Outer::Key, 0, &self.open.encode(), rng)?;
        Ok(UnsignedEpochOpen { unsigned, opening: self, chain: chain.clone() })
    }
}

/// An epoch-open that waits for the chip's signature.
pub struct UnsignedEpochOpen {
    unsigned: UnsignedUp,
    opening: EpochOpening,
    chain: ChainKey,
}

impl UnsignedEpochOpen {
    /// The digest that the device's signing key must sign.
    pub fn digest(&self) -> [u8; 32] {
        self.unsigned.digest()
    }

    /// The envelope, to be durable before anything else of the epoch is sealed, and the keys.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn finish(self, signature: &[u8]) -> Result<(Vec<u8>, EpochKeys), Reason> {
        let envelope = self.unsigned.finish(signature)?;
        let hash = sha256(&[&envelope]);
        let z = EpochSecret::new(&self.opening.ecdh, &self.opening.kem, &hash);
        Ok((envelope, EpochKeys::new(&self.chain, &z, self.opening.sequence, hash)))
    }
}

/// The server's side: an epoch-open whose outer signature was verified.
pub struct VerifiedEpochOpen<'a> {
    bond: &'a Bond,
    envelope: &'a Envelope,
}

impl<'a> VerifiedEpochOpen<'a> {
    /// Verifies the outer signature: the cheap check that comes first, and that needs no chain key.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::WrongRoute`], [`Reason::BadDeviceSignature`].
    pub fn verify(bond: &'a Bond, envelope: &'a Envelope) -> Result<Self, Reason> {
        let route = &envelope.route;
        // The serial layer's keys are not used here; only epoch and sequence count.
        let chain = ChainKey::kept(route.epoch, Secret::new([0; 32]));
        verify_opening(bond, &EpochKeys::opening(&chain, route.sequence), envelope)?;
        Ok(VerifiedEpochOpen { bond, envelope })
    }

    /// Opens the serial layer with the chain key of the epoch: whoever sealed it has the chip.
    /// The attest is the caller's to verify, with [`EpochOpen::extra_data`].
    ///
    /// # Errors
    /// The reasons of form and of layers.
    pub fn open(&self, chain: &ChainKey) -> Result<EpochOpen, Reason> {
        let keys = EpochKeys::opening(chain, self.envelope.route.sequence);
        EpochOpen::decode(&open_opening(self.bond, &keys, self.envelope)?.content)
    }

    /// The epoch's keys: `ecdh` is the X coordinate of ECDH(encryption key, epoch key), `kem`
    /// the decapsulated secret.
    pub fn keys(&self, chain: &ChainKey, ecdh: &Secret, kem: &Secret) -> EpochKeys {
        let z = EpochSecret::new(ecdh, kem, &self.envelope.hash);
        EpochKeys::new(chain, &z, self.envelope.route.sequence, self.envelope.hash)
    }
}
