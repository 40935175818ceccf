//! Enrolment, step by step (docs/scheme.md section 4; claims 2 and 19).
//!
//! A request is answered again with the stored answer when the same bytes come again. Nothing
//! that a stranger sends changes anything before his claim has passed every check.

use std::sync::Arc;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_scheme::ek::{self, Assurance, Authorities, EkPolicy, Verdict};
use twinseal_scheme::enrol::judge::{self, Ground};
use twinseal_scheme::enrol::{
    Activation, ActivationProof, Challenge, Claim, ClaimOpening, ClaimedHardware, ClaimedToken,
    ClaimedTpm, CredentialContext, Offer, Request, TokenIdentity, VerifiedHardware,
    re_enrolment_proof, verify_re_enrolment_proof,
};
use twinseal_scheme::id::{DeviceId, EnrolId, ServerId};
use twinseal_scheme::tpm::make_credential;
use twinseal_scheme::{Reason, Secret};

use super::admission::Admitted;
use super::{App, Error};
use crate::clock::now_unix_seconds;
use crate::store::{Caller, Enrolment, EnrolmentLimits, Entry, Standing, StoredOffer};

/// How long a challenge, and an enrolment, may live.
pub(super) const LIFE_SECONDS: u64 = 600;
const LIMITS: EnrolmentLimits =
    EnrolmentLimits { of_serial_max: 8, max: 1024, life_seconds: LIFE_SECONDS };

/// A claim that was opened, and that names its own chip.
pub(super) struct OpenedClaim {
    pub claim: Claim,
    pub m0_hash: [u8; 32],
    nonce_s: [u8; 32],
}

impl App {
    /// Q to M0. No row is written: anybody may ask.
    ///
    /// # Errors
    /// The reasons of form.
    pub async fn challenge(&self, q: &[u8]) -> Result<Vec<u8>, Error> {
        let request = Request::decode(q)?;
        let mut random = [0; 24];
        OsRng.fill_bytes(&mut random);
        let expiry = now_unix_seconds() + LIFE_SECONDS;
        self.sign(Challenge::new(&request, random, expiry, self.statement.clone()).unsigned())
    }

    /// M1 to M2.
    ///
    /// # Errors
    /// The reason of the first check that fails, in the order of docs/scheme.md section 4.
    pub async fn claim(&self, m1: &[u8]) -> Result<Vec<u8>, Error> {
        let m1_hash = Sha256::digest(m1).into();
        if let Some(m2) = self.store.read().await?.stored_m2(&m1_hash).await? {
            return Ok(m2);
        }
        let opened = Arc::new(self.open_claim(m1, now_unix_seconds()).await?);
        let admitted = self.admit(&opened.claim).await?;
        let (keys, assurance, verdict) = self.judge_chip(&opened, &admitted).await?;
        check_proof(&opened, &admitted, &keys)?;

        let mut id = [0; 16];
        OsRng.fill_bytes(&mut id);
        let (enrol_id, secret) = (EnrolId(id), random_secret());
        let activation = activation(&keys, &self.server_id(), enrol_id, m1, &secret)?;
        let m2 = self.sign(activation.unsigned(m1))?;
        let mut write = self.store.write(&Caller::Stranger).await?;
        // Another copy of these bytes may have been faster; its answer is the one that holds.
        if let Some(m2) = write.stored_m2(&m1_hash).await? {
            return Ok(m2);
        }
        judge::nonce(write.use_nonce(&opened.nonce_s, LIFE_SECONDS).await?)?;
        let enrolment = Enrolment {
            id: enrol_id,
            m1: m1.to_vec(),
            m2: m2.clone(),
            credential: secret,
            admission: admitted.admission.to_string(),
            assurance: assurance.word().to_owned(),
            verdict,
            created_at: write.now(),
            offer: None,
        };
        write.add_enrolment(&opened.claim.serial, &m1_hash, &enrolment, LIMITS).await?;
        write.commit(Entry::new("enrol.claim", enrol_id.to_string())).await?;
        Ok(m2)
    }

    /// M3 to M4: the chip has activated the credential.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::EnrolmentUnknown`], [`Reason::EnrolmentOther`],
    /// [`Reason::WrongCredential`].
    pub async fn activate(&self, m3: &[u8]) -> Result<Vec<u8>, Error> {
        let proof = ActivationProof::decode(m3)?;
        let enrolment = self.live_enrolment(&proof.enrol_id).await?;
        let answered = enrolment.as_ref().and_then(|enrolment| enrolment.offer.as_ref());
        let hash = answered.map(|offer| Sha256::digest(&offer.m3).into());
        let is_again = judge::repetition(enrolment.is_some(), hash, Sha256::digest(m3).into())?;
        let enrolment = enrolment.ok_or(Reason::EnrolmentUnknown)?;
        if let (true, Some(offer)) = (is_again, enrolment.offer) {
            return Ok(offer.m4);
        }
        let opened = Arc::new(self.open_claim(&enrolment.m1, enrolment.created_at).await?);
        let (id, credential) = (enrolment.id, &enrolment.credential);
        let expected =
            ActivationProof::new(id, credential, &opened.m0_hash, &enrolment.m1, &enrolment.m2);
        proof.verify(&expected)?;

        let keys = self.verify_keys(&opened).await?;
        let (device, generation) = self.name(&opened.claim).await?;
        let (server_id, serial) = (self.server_id(), opened.claim.serial);
        let (offer, secrets) = Offer::draw(
            &proof,
            device,
            generation,
            &server_id,
            &serial,
            &keys.serial(),
            &mut OsRng,
        )?;
        let m4 = self.sign(offer.unsigned(m3))?;
        let (m3, chain) = (m3.to_vec(), secrets.chain);
        let stored = StoredOffer { device, generation, m3, m4: m4.clone(), chain };
        let mut write = self.store.write(&Caller::Stranger).await?;
        if !write.put_offer(&id, &stored).await? {
            // Another request with the same proof was faster; its answer is the one that holds.
            return Err(Error::Busy);
        }
        write.commit(Entry::new("enrol.activate", id.to_string())).await?;
        Ok(m4)
    }

    /// An enrolment that has not died.
    pub(super) async fn live_enrolment(&self, id: &EnrolId) -> Result<Option<Enrolment>, Error> {
        let oldest = now_unix_seconds().saturating_sub(LIFE_SECONDS);
        Ok(self.store.read().await?.enrolment(id, oldest).await?)
    }

    /// Recognises the challenge, opens the claim, and computes its serial.
    pub(super) async fn open_claim(&self, m1: &[u8], now: u64) -> Result<OpenedClaim, Error> {
        let opening = ClaimOpening::begin(m1, self.secrets.signing.public(), now)?;
        let (nonce_s, m0_hash) = (*opening.nonce_s(), opening.m0_hash());
        let (secrets, server_id) = (self.secrets.clone(), self.server_id());
        let claim = self
            .compute(move || {
                let z = secrets.encryption.agree(opening.ephemeral())?;
                let claim = opening.finish(&z, &server_id)?;
                claim.hardware.check_serial(&claim.serial)?;
                Ok::<_, Reason>(claim)
            })
            .await??;
        Ok(OpenedClaim { claim, m0_hash, nonce_s })
    }

    /// Checks the keys of the chip, and what it certifies or signs of them.
    pub(super) async fn verify_keys(
        &self,
        opened: &Arc<OpenedClaim>,
    ) -> Result<VerifiedHardware, Error> {
        let (opened, server_id) = (opened.clone(), self.server_id());
        let verify = move || {
            let OpenedClaim { claim, m0_hash, .. } = &*opened;
            claim.hardware.verify(m0_hash, &server_id, &claim.serial)
        };
        Ok(self.compute(verify).await??)
    }

    /// The chip's keys, what it is worth, and why. Nobody vouches for a token.
    async fn judge_chip(
        &self,
        opened: &Arc<OpenedClaim>,
        admitted: &Admitted,
    ) -> Result<(VerifiedHardware, Assurance, String), Error> {
        match &opened.claim.hardware {
            ClaimedHardware::Tpm(tpm) => {
                let (assurance, verdict) = self.judge_ek(opened, tpm, admitted).await?;
                Ok((self.verify_keys(opened).await?, assurance, verdict))
            }
            ClaimedHardware::Token(token) => {
                let keys = self.verify_keys(opened).await?;
                let verdict = token_verdict(token, &keys)?;
                Ok((keys, Assurance::Token, verdict))
            }
        }
    }

    /// Judges the EK certificate, and logs why when it is refused: the operator has no other trace.
    async fn judge_ek(
        &self,
        opened: &Arc<OpenedClaim>,
        tpm: &ClaimedTpm,
        admitted: &Admitted,
    ) -> Result<(Assurance, String), Error> {
        let authorities = self.authorities().await?;
        let (serial, policy) = (opened.claim.serial, self.policy.clone());
        let ClaimedTpm { certificates, keys } = tpm.clone();
        let (listed, now_s) = (admitted.is_listed, now_unix_seconds());
        let verdict = self
            .compute(move || {
                let policy = EkPolicy {
                    authorities: &authorities,
                    now_s,
                    accept_expired: policy.accept_expired,
                    denied: &policy.denied,
                    accept_simulator: policy.accept_simulators,
                    listed,
                };
                let ek = keys.check_serial(&serial)?;
                let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
                Ok::<Verdict, Reason>(ek::judge(&ek, &certificates, &policy))
            })
            .await??;
        let outcome = verdict.outcome.inspect_err(|_| {
            verdict.lines.iter().for_each(|line| tracing::info!(line, "endorsement key"));
        })?;
        // A class never rises by itself.
        let before =
            admitted.before.as_ref().filter(|_| admitted.admission.ground == Ground::Proof);
        let before = before.and_then(|before| before.assurance.parse().ok());
        Ok((before.map_or(outcome, |before: Assurance| before.min(outcome)), verdict.to_string()))
    }

    async fn authorities(&self) -> Result<Authorities, Error> {
        let mut authorities = Authorities::new();
        for certificate in self.store.read().await?.ek_certificates().await? {
            match certificate.kind.as_str() {
                "root" => authorities.add_root(&certificate.der)?,
                _ => authorities.add_intermediate(&certificate.der)?,
            }
        }
        Ok(authorities)
    }

    /// The name of a new device, or the next generation of one.
    async fn name(&self, claim: &Claim) -> Result<(DeviceId, u32), Error> {
        let admitted = self.admit(claim).await?;
        Ok(match admitted.before {
            Some(before) => (before.bond.device_id, before.bond.generation + 1),
            None => {
                let mut id = [0; 16];
                OsRng.fill_bytes(&mut id);
                (DeviceId(id), 1)
            }
        })
    }
}

/// M2: what only the claimed chip can activate, or open.
fn activation(
    keys: &VerifiedHardware,
    server_id: &ServerId,
    enrol_id: EnrolId,
    m1: &[u8],
    secret: &Secret,
) -> Result<Activation, Reason> {
    let (credential_blob, encrypted_secret) = match keys {
        VerifiedHardware::Tpm(keys) => {
            let made = make_credential(&keys.ek, &keys.ak_name, secret.expose(), &mut OsRng)?;
            (made.credential_blob, made.encrypted_secret)
        }
        VerifiedHardware::Token(keys) => {
            let context = CredentialContext { server_id, enrol_id: &enrol_id, m1 };
            (context.seal(&keys.decryption, secret, &mut OsRng)?, vec![])
        }
    };
    Ok(Activation { enrol_id, credential_blob, encrypted_secret })
}

/// What the operator reads of a token.
fn token_verdict(token: &ClaimedToken, keys: &VerifiedHardware) -> Result<String, Reason> {
    let TokenIdentity { manufacturer, model, .. } = token.identity()?;
    let plain = |text: &str| text.escape_default().to_string();
    let (manufacturer, model) = (plain(&manufacturer), plain(&model));
    let signing = keys.signing().algorithm().word();
    let [decryption, serial] = [keys.decryption(), keys.serial()].map(|key| key.algorithm().word());
    Ok(format!(
        "note: a PKCS#11 token, which can prove no identity\n\
         note: it calls itself {model} of {manufacturer}\n\
         note: its keys sign by {signing} and decrypt by {decryption}; its serial key is for {serial}\n\
         outcome: {}\n",
        Assurance::Token
    ))
}

/// Whoever was this device before shows it with the signing key of then, if he says that he has
/// it; and he must, unless the operator has readmitted him.
fn check_proof(
    opened: &OpenedClaim,
    admitted: &Admitted,
    keys: &VerifiedHardware,
) -> Result<(), Reason> {
    let Some(Standing { bond, .. }) = &admitted.before else { return Ok(()) };
    let re_enrolment = match &opened.claim.re_enrolment {
        Some(proof) if proof.is_of(&bond.device_id, bond.generation) => proof,
        _ if admitted.admission.ground == Ground::Listed => return Ok(()),
        _ => return Err(Reason::SerialLive),
    };
    let expected = re_enrolment_proof(
        bond.signing.algorithm(),
        &opened.m0_hash,
        &bond.device_id,
        bond.generation,
        &bond.serial,
        &keys.name(),
    );
    verify_re_enrolment_proof(&re_enrolment.proof, &bond.signing, &expected)
}

fn random_secret() -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *bytes);
    Secret::new(*bytes)
}
