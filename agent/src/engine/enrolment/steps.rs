//! What the chip does for each message of an enrolment.

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use twinseal_hardware::{self as hardware, ChipKeys, DeviceKeys, Key, TokenKeys};
use twinseal_scheme::enrol::{
    self as scheme, AcceptedChallenge, Activation, ActivationProof, Challenge, Claim,
    ClaimedHardware, ClaimedKey, ClaimedKeys, ClaimedToken, ClaimedTpm, Confirmation,
    ConfirmationKey, CredentialContext, CredentialOpening, Offer, ReEnrolment, Request,
    certify_extra_data, re_enrolment_proof,
};
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::link::Link;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::tpm::{Public, Role};
use twinseal_scheme::{Reason, Secret};

use super::Failure;
use crate::chip_keys::{PublicKeys, ak_name, name_of, serial_of};
use crate::engine::Engine;
use crate::store::Enrolment;

impl Engine {
    /// M0 to M1.
    pub(super) async fn claim(&self, enrolment: &mut Enrolment, m0: &[u8]) -> Result<u32, Failure> {
        enrolment.m0 = m0.to_vec();
        let challenge = accepted(enrolment)?;
        let serial = serial_of(&enrolment.keys)?;
        let claim = Claim {
            serial,
            user_info: enrolment.user_info.clone(),
            code: enrolment.link.code.clone(),
            re_enrolment: self.re_enrolment(enrolment, &challenge, &serial).await?,
            hardware: self.claimed(enrolment, &challenge, &serial).await?,
        };
        enrolment.m1 = claim.seal(&challenge, &mut OsRng)?;
        Ok(1)
    }

    /// The chip's word on its keys.
    async fn claimed(
        &self,
        enrolment: &Enrolment,
        challenge: &AcceptedChallenge,
        serial: &HardwareSerial,
    ) -> Result<ClaimedHardware, Failure> {
        Ok(match &enrolment.keys {
            ChipKeys::Tpm(keys) => ClaimedHardware::Tpm(Box::new(ClaimedTpm {
                certificates: enrolment.certificates.clone(),
                keys: self.certified(enrolment, keys, challenge, serial).await?,
            })),
            ChipKeys::Token(keys) => {
                ClaimedHardware::Token(self.signed(enrolment, keys, challenge).await?)
            }
        })
    }

    /// A token cannot certify: its signing key signs.
    async fn signed(
        &self,
        enrolment: &Enrolment,
        keys: &TokenKeys,
        challenge: &AcceptedChallenge,
    ) -> Result<ClaimedToken, Failure> {
        let PublicKeys { signing, decryption, serial } = PublicKeys::of(&enrolment.keys)?;
        let identity = keys.identity.clone();
        let claimed = scheme::TokenKeys { identity, signing, decryption, serial };
        let unsigned = claimed.unsigned(&challenge.m0_hash(), &enrolment.link.server_id)?;
        let signature = self.chip().sign(&keys.signing, unsigned.digest()).await?;
        Ok(ClaimedToken::new(unsigned.finish(&signature)))
    }

    /// A TPM certifies the three keys.
    async fn certified(
        &self,
        enrolment: &Enrolment,
        keys: &DeviceKeys,
        challenge: &AcceptedChallenge,
        serial: &HardwareSerial,
    ) -> Result<ClaimedKeys, Failure> {
        let ak = ak_name(keys)?;
        let certify = async |role: Role, key: Key, public: &[u8]| {
            let name = Public::parse(public)?;
            let extra_data = certify_extra_data(
                role,
                &challenge.m0_hash(),
                &enrolment.link.server_id,
                serial,
                ak.as_bytes(),
                name.name().as_bytes(),
            );
            let word = self.chip().certify(keys, key, extra_data).await?;
            let (attest, signature) = (word.attest, word.signature);
            Ok::<_, Failure>(ClaimedKey { public: public.to_vec(), attest, signature })
        };
        let (signing, decryption) = (keys.signing.public(), keys.decryption.public());
        Ok(ClaimedKeys {
            ek_public: keys.ek_public.clone(),
            srk_public: keys.srk_public.clone(),
            ak_public: keys.attestation.public().to_vec(),
            signing: certify(Role::Signing, (&keys.signing).into(), signing).await?,
            decryption: certify(Role::Decryption, (&keys.decryption).into(), decryption).await?,
            serial: certify(Role::Serial, (&keys.serial).into(), keys.serial.public()).await?,
        })
    }

    /// The proof to have been the same device before, where the old key still signs.
    async fn re_enrolment(
        &self,
        enrolment: &Enrolment,
        challenge: &AcceptedChallenge,
        serial: &HardwareSerial,
    ) -> Result<Option<ReEnrolment>, Failure> {
        let Some(device) = self.store.run(|tx| tx.device()).await? else { return Ok(None) };
        let bond = &device.bond;
        if bond.server_id != enrolment.link.server_id || bond.serial != *serial {
            return Ok(None);
        }
        let name = name_of(&enrolment.keys)?;
        let (device_id, generation) = (bond.device_id, bond.generation);
        let m0_hash = challenge.m0_hash();
        let unsigned = re_enrolment_proof(
            bond.signing.algorithm(),
            &m0_hash,
            &device_id,
            generation,
            serial,
            &name,
        );
        match self.chip().sign(device.keys.signing(), unsigned.digest()).await {
            Ok(signature) => {
                let proof = unsigned.finish(&signature);
                Ok(Some(ReEnrolment { device_id, generation, proof }))
            }
            // After TPM2_Clear the old key is gone; the operator decides then.
            Err(hardware::Error::Changed(_) | hardware::Error::Rejected { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// M2 to M3: only the chip that was claimed opens the credential.
    pub(super) async fn activate(
        &self,
        enrolment: &mut Enrolment,
        m2: &[u8],
    ) -> Result<u32, Failure> {
        let challenge = accepted(enrolment)?;
        let activation = Activation::verify(m2, &challenge.server_keys.signing, &enrolment.m1)?;
        let enrol_id = activation.enrol_id;
        let credential = self.credential(enrolment, activation).await?;
        let m0_hash = challenge.m0_hash();
        let proof = ActivationProof::new(enrol_id, &credential, &m0_hash, &enrolment.m1, m2);
        (enrolment.m2, enrolment.m3) = (m2.to_vec(), proof.encode());
        Ok(2)
    }

    async fn credential(
        &self,
        enrolment: &Enrolment,
        activation: Activation,
    ) -> Result<Secret, Failure> {
        let Activation { enrol_id, credential_blob, encrypted_secret } = activation;
        let keys = match &enrolment.keys {
            ChipKeys::Tpm(keys) => {
                return Ok(self.chip().activate(keys, credential_blob, encrypted_secret).await?);
            }
            ChipKeys::Token(keys) => keys,
        };
        let public = PublicKeys::of(&enrolment.keys)?;
        let opening = CredentialOpening::begin(&public.decryption, &credential_blob)?;
        let z = self.chip().decapsulate(&keys.decryption, opening.encapsulation()).await?;
        let (server_id, m1) = (&enrolment.link.server_id, &enrolment.m1);
        Ok(opening.finish(&z, &CredentialContext { server_id, enrol_id: &enrol_id, m1 })?)
    }

    /// M4 to M5: the serial key agrees on CK_0, the counter gets its base.
    pub(super) async fn confirm(
        &self,
        enrolment: &mut Enrolment,
        m4: &[u8],
    ) -> Result<u32, Failure> {
        let challenge = accepted(enrolment)?;
        let public = PublicKeys::of(&enrolment.keys)?;
        let server_signing = &challenge.server_keys.signing;
        let offer = Offer::verify(m4, server_signing, &enrolment.m3, &public.serial)?;
        enrolment.m4 = m4.to_vec();
        let chain = self.first_chain_key(enrolment, &offer).await?;
        enrolment.base = match &enrolment.keys {
            ChipKeys::Tpm(keys) => self.chip().define_counter(keys).await?,
            // A token has none: epochs are counted from 0 in the agent's own record.
            ChipKeys::Token(_) => 0,
        };
        let hash = |message: &Vec<u8>| Sha256::digest(message).into();
        let Enrolment { m0, m1, m2, m3, m4, .. } = &*enrolment;
        let confirmation = Confirmation {
            enrol_id: offer.enrol_id,
            epoch_base: enrolment.base,
            mac: ConfirmationKey::new(&chain).confirm(&[m0, m1, m2, m3, m4].map(hash)),
        };
        let unsigned = confirmation.unsigned(public.signing.algorithm());
        let signature = self.chip().sign(enrolment.keys.signing(), unsigned.digest()).await?;
        enrolment.m5 = unsigned.finish(&signature);
        Ok(3)
    }

    pub(super) async fn first_chain_key(
        &self,
        enrolment: &Enrolment,
        offer: &Offer,
    ) -> Result<ChainKey, Failure> {
        let chip = self.chip();
        let z = chip.decapsulate_serial(&enrolment.keys, &offer.encapsulation).await?;
        let serial = serial_of(&enrolment.keys)?;
        let server_id = &enrolment.link.server_id;
        Ok(ChainKey::first(&z, server_id, &offer.device_id, &serial, offer.generation))
    }
}

pub(super) fn accepted(enrolment: &Enrolment) -> Result<AcceptedChallenge, Reason> {
    let request = Request { nonce_d: enrolment.nonce };
    let Link { server_id, least_sequence, .. } = &enrolment.link;
    Challenge::accept(&enrolment.m0, &request, server_id, *least_sequence)
}
