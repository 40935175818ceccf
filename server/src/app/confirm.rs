//! The end of an enrolment: the device has CK_0, and becomes one of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use twinseal_scheme::Reason;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::judge::{self, Ground};
use twinseal_scheme::enrol::{
    ClaimedHardware, Confirmation, ConfirmationKey, DeviceState, Grant, GrantKey, Standing as Word,
    UserInfo, VerifiedHardware,
};
use twinseal_scheme::id::EnrolId;

use super::admission::{self, Admission};
use super::enrol::OpenedClaim;
use super::{App, Error, ledger};
use crate::store::{
    Attester, Caller, Device, Enrolment, Entry, Standing, StoredGrant, StoredOffer, Write,
};

impl App {
    /// M5 to G. The same M5 asks again, as long as the device is known.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::EnrolmentUnknown`], [`Reason::EnrolmentOther`],
    /// [`Reason::BadDeviceSignature`], [`Reason::WrongConfirmation`], [`Reason::CodeNotGood`],
    /// [`Reason::NotAdmitted`], [`Reason::SerialLive`].
    pub async fn confirm(&self, m5: &[u8]) -> Result<Vec<u8>, Error> {
        let id = Confirmation::route(m5)?;
        let m5_hash = Sha256::digest(m5).into();
        let grant = self.store.read().await?.grant(&id).await?;
        let enrolment = self.live_enrolment(&id).await?;
        let offered = enrolment.and_then(|of| of.offer.clone().map(|offer| (of, offer)));
        let answered = grant.as_ref().map(|grant| grant.m5_hash);
        let is_again = judge::repetition(offered.is_some(), answered, m5_hash)?;
        if let (true, Some(grant)) = (is_again, grant) {
            return self.answer_confirmation(&id, &grant, m5).await;
        }
        let (enrolment, offer) = offered.ok_or(Reason::EnrolmentUnknown)?;
        let opened = Arc::new(self.open_claim(&enrolment.m1, enrolment.created_at).await?);
        let keys = self.verify_keys(&opened).await?;
        let hashes = transcript(&opened, &enrolment, &offer);
        let mac = ConfirmationKey::new(&offer.chain).confirm(&hashes);
        Confirmation::verify(m5, &keys.signing(), &mac)?;

        let grant = StoredGrant {
            device: offer.device,
            generation: offer.generation,
            m5_hash,
            key: GrantKey::new(&offer.chain),
        };
        let admission: Admission = enrolment.admission.parse()?;
        let mut write = self.store.write(&Caller::Device(offer.device)).await?;
        // Another copy of these bytes may have been faster.
        if let Some(grant) = write.grant(&id).await? {
            drop(write);
            judge::repetition(true, Some(grant.m5_hash), m5_hash)?;
            return self.answer_confirmation(&id, &grant, m5).await;
        }
        let device = self.device(&mut write, &opened, &enrolment, &offer, &admission).await?;
        admission::consume(&mut write, &admission, &device.serial, &device.id).await?;
        write.put_device(&device).await.map_err(|error| match error.is_conflict() {
            true => Error::Refused(Reason::SerialLive),
            false => error.into(),
        })?;
        let standing = self.new_standing(&device, &opened, &keys, write.now())?;
        write.add_bond(&standing).await?;
        write.put_chain(&device.id, device.generation, &offer.chain).await?;
        write.end_enrolment(&id, &grant).await?;
        ledger::issue_receipts_again(self, &mut write, &standing).await?;
        write.commit(Entry::of("device.enrol", device.id, enrolment.admission)).await?;
        self.epochs.forget(&device.id);
        self.answer_confirmation(&id, &grant, m5).await
    }

    /// The device that a confirmation makes, or makes anew.
    async fn device(
        &self,
        write: &mut Write<'_>,
        opened: &OpenedClaim,
        enrolment: &Enrolment,
        offer: &StoredOffer,
        admission: &Admission,
    ) -> Result<Device, Error> {
        let before = write.device(&offer.device).await?;
        if before.as_ref().map_or(0, |device| device.generation) + 1 != offer.generation {
            return Err(Error::Refused(Reason::SerialLive));
        }
        if before.as_ref().is_some_and(|device| device.state == DeviceState::Revoked) {
            return Err(Error::Refused(Reason::DeviceRevoked));
        }
        let listed = write.registration(&opened.claim.serial).await?;
        let recorded = listed.map(|listed| listed.user_info).unwrap_or_default();
        let by_hand = admission.ground == Ground::ByHand;
        Ok(Device {
            id: offer.device,
            serial: opened.claim.serial,
            generation: offer.generation,
            state: if by_hand { DeviceState::Awaiting } else { DeviceState::Active },
            assurance: enrolment.assurance.clone(),
            user_info: joined(&opened.claim.user_info, &recorded)?,
            verdict: enrolment.verdict.clone(),
            alarm: None,
            enrolled_at: before.map_or(write.now(), |device| device.enrolled_at),
            changed_at: write.now(),
        })
    }

    fn new_standing(
        &self,
        device: &Device,
        opened: &OpenedClaim,
        keys: &VerifiedHardware,
        now: u64,
    ) -> Result<Standing, Error> {
        Ok(Standing {
            state: device.state,
            bond: Bond {
                server_id: self.server_id(),
                device_id: device.id,
                serial: device.serial,
                generation: device.generation,
                keyset: 1,
                signing: keys.signing(),
                decryption: keys.decryption(),
            },
            serial_key: keys.serial().id(),
            attester: attester(&opened.claim.hardware, keys),
            assurance: device.assurance.clone(),
            verdict: device.verdict.clone(),
            enrolled_at: now,
        })
    }

    async fn answer_confirmation(
        &self,
        id: &EnrolId,
        stored: &StoredGrant,
        m5: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let standing = self.store.read().await?.standing(&stored.device, &self.server_id()).await?;
        let standing = standing.ok_or(Reason::DeviceUnknown)?;
        if standing.bond.generation != stored.generation {
            return Err(Error::Refused(Reason::EnrolmentUnknown));
        }
        let grant = Grant {
            enrol_id: *id,
            server_id: self.server_id(),
            device_id: stored.device,
            serial: standing.bond.serial,
            generation: stored.generation,
            standing: match standing.state {
                DeviceState::Awaiting => Word::AwaitingApproval,
                // Of a quarantine the device hears when it opens an epoch.
                DeviceState::Active | DeviceState::Quarantined => Word::Active,
                DeviceState::Revoked => Word::Denied,
            },
            key_ids: [
                standing.bond.signing.id(),
                standing.bond.decryption.id(),
                standing.serial_key,
            ],
            assurance: standing.assurance,
        };
        let signature = self.secrets.signing.sign(grant.unsigned().to_sign())?;
        Ok(grant.seal(&signature, &stored.key, m5, &mut OsRng)?)
    }
}

fn transcript(opened: &OpenedClaim, enrolment: &Enrolment, offer: &StoredOffer) -> [[u8; 32]; 5] {
    let hash = |bytes: &[u8]| Sha256::digest(bytes).into();
    [opened.m0_hash, hash(&enrolment.m1), hash(&enrolment.m2), hash(&offer.m3), hash(&offer.m4)]
}

/// What verifies the attests of a TPM's epoch-opens. A token attests nothing.
fn attester(claimed: &ClaimedHardware, verified: &VerifiedHardware) -> Option<Attester> {
    let (ClaimedHardware::Tpm(tpm), VerifiedHardware::Tpm(keys)) = (claimed, verified) else {
        return None;
    };
    Some(Attester {
        ak_public: tpm.keys.ak_public.clone(),
        srk_name: keys.srk_name.clone(),
        signing_name: keys.signing.name.clone(),
    })
}

/// What the operator has recorded counts more than what the device says.
fn joined(said: &UserInfo, recorded: &UserInfo) -> Result<UserInfo, Reason> {
    let mut entries: BTreeMap<String, String> = said.entries().clone();
    entries.extend(recorded.entries().clone());
    UserInfo::new(entries)
}
