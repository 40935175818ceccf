//! Enrolment, step by step: each answer is verified, the next message is made with the chip and
//! is durable before it is offered to the courier. A crash goes on with the same bytes.

mod grant;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use twinseal_hardware::{ChipKeys, Ek, Lane as Chip};
use twinseal_scheme::Reason;
use twinseal_scheme::enrol::{Request, UserInfo};
use twinseal_scheme::link::Link;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::tpm::EndorsementKey;

use super::carrier::{SlotName, Worth};
use super::leftovers::DrawnIds;
use super::{Engine, lock};
use crate::store::Enrolment;
use crate::{Caller, CarryKind, Error, JobId, Kind, State};

/// How long the caller waits for the keys. D-Bus gives him 25 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// A job's steps: challenge, claim, activation, confirmation.
const STEPS: u32 = 4;

impl Engine {
    /// Begins an enrolment: chooses the EK, makes the keys, keeps them.
    pub(crate) async fn enrol(
        self: Arc<Engine>,
        caller: &Caller,
        link: &str,
        user_info: UserInfo,
    ) -> Result<JobId, Error> {
        self.enrol_with(caller, link.parse()?, user_info).await
    }

    /// Enrols again with the server of before, on behalf of whom the device belongs to: as its
    /// next generation where the chip is the same, as another device where it is not.
    pub(crate) async fn recover(
        self: Arc<Engine>,
        caller: &Caller,
        link: &str,
    ) -> Result<JobId, Error> {
        let device = self.store.run(|tx| tx.device()).await?.ok_or(Kind::NotEnrolled)?;
        let server_id = device.bond.server_id;
        let link = match link {
            "" => Link {
                url: device.origin,
                server_id,
                least_sequence: device.server_keys.sequence,
                code: None,
            },
            link => link.parse()?,
        };
        if link.server_id != server_id {
            return Err(Error::new(Kind::InvalidArgument, "this link is another server's")
                .and("ask the operator of the server that this device is enrolled with"));
        }
        self.enrol_with(caller, link, device.user_info).await
    }

    async fn enrol_with(
        self: Arc<Engine>,
        caller: &Caller,
        link: Link,
        user_info: UserInfo,
    ) -> Result<JobId, Error> {
        if lock(&self.jobs).enrolment().is_some() {
            return Err(Error::new(Kind::Busy, "an enrolment is under way")
                .and("wait for it, or cancel its job"));
        }
        // Of two at once, the first to get here is under way.
        let job = lock(&self.jobs).begin_enrolment(caller.uid, STEPS);
        let (engine, uid) = (Arc::clone(&self), caller.uid);
        let begin = tokio::spawn(async move {
            let begun = engine.begin_enrolment(uid, job, link, user_info).await;
            if let Err(error) = &begun
                && lock(&engine.jobs).enrolment() == Some(job)
            {
                engine.note(error);
                engine.end_job(Err(error.clone()));
            }
            begun
        });
        match tokio::time::timeout(PATIENCE, begin).await {
            Ok(begun) => begun.unwrap_or_else(|_| Err(Kind::Internal.into())).map(|()| job),
            // The chip is still looking for primes; the job tells how it ends.
            Err(_) => Ok(job),
        }
    }

    async fn begin_enrolment(
        &self,
        uid: u32,
        job: JobId,
        link: Link,
        user_info: UserInfo,
    ) -> Result<(), Error> {
        let begun = self.make_and_keep(uid, job, link, user_info).await;
        // What failed, or the enrolment before, may have left keys in a token.
        self.sweep().await;
        lock(&self.origins).of_enrolment = Some(begun?);
        if self.epoch().is_err() {
            self.set_state(State::Enrolling, "an enrolment is under way".to_owned());
        }
        self.clear_slot(SlotName::Enrolment);
        Ok(())
    }

    /// Gives the URL that the enrolment goes to.
    async fn make_and_keep(
        &self,
        uid: u32,
        job: JobId,
        link: Link,
        user_info: UserInfo,
    ) -> Result<String, Error> {
        let drawn = match self.is_token() {
            true => Some(self.draw_ids().await?),
            false => None,
        };
        let (keys, certificates) = self.new_keys(drawn.as_ref()).await?;
        if lock(&self.jobs).enrolment() != Some(job) {
            return Err(Kind::Cancelled.into());
        }
        let mut nonce = [0; 32];
        OsRng.fill_bytes(&mut nonce);
        let enrolment = Enrolment {
            uid,
            link,
            user_info,
            keys,
            certificates,
            nonce,
            m0: vec![],
            m1: vec![],
            m2: vec![],
            m3: vec![],
            m4: vec![],
            m5: vec![],
            base: 0,
        };
        let origin = enrolment.link.url.clone();
        let keep = self.store.run(move |tx| {
            if let Some(before) = tx.enrolment()? {
                tx.leave_over(&before.keys)?;
            }
            tx.keep_of_token(&enrolment.keys)?;
            tx.put_enrolment(&enrolment)
        });
        keep.await?;
        Ok(origin)
    }

    /// The keys that the chip makes for an enrolment, and the certificates that come with them.
    async fn new_keys(
        &self,
        drawn: Option<&DrawnIds<'_, 3>>,
    ) -> Result<(ChipKeys, Vec<Vec<u8>>), Error> {
        let chip = self.chip();
        if let Some(drawn) = drawn {
            // A token without a serial number of its own can be no device.
            self.serial(&chip).await?;
            return Ok((ChipKeys::from(&chip.create_token_keys(drawn.ids).await?), Vec::new()));
        }
        // Its certificate may have been written a moment ago.
        chip.forget().await?;
        let ek = self.endorsement_key(&chip).await?;
        let keys = chip.create_keys(&ek).await?;
        let certificates = ek.certificate.into_iter().chain(ek.intermediates).collect();
        Ok((ChipKeys::Tpm(keys), certificates))
    }

    /// The hardware serial of the chip.
    pub(crate) async fn serial(&self, chip: &Chip) -> Result<HardwareSerial, Error> {
        if self.is_token() {
            return Ok(chip.token_identity().await?.serial()?);
        }
        let ek = self.endorsement_key(chip).await?;
        Ok(EndorsementKey::parse(&ek.public)?.serial())
    }

    /// The endorsement key that the device goes by: the one of the last enrolment, as long as it
    /// is this chip's; else the configured or the best one.
    pub(crate) async fn endorsement_key(&self, chip: &Chip) -> Result<Ek, Error> {
        let device = self.store.run(|tx| tx.device()).await?;
        if let Some(ChipKeys::Tpm(keys)) = device.map(|device| device.keys) {
            let ek = chip.endorsement_key(Some(keys.ek_kind)).await;
            if let Ok(ek) = ek
                && ek.public == keys.ek_public
            {
                return Ok(ek);
            }
        }
        Ok(chip.endorsement_key(self.config.hardware.ek).await?)
    }

    /// After a start in the middle of an enrolment.
    pub(super) fn show_enrolment(&self, enrolment: Option<&Enrolment>) {
        let Some(enrolment) = enrolment else {
            let text = Error::from(Kind::NotEnrolled).to_string();
            return self.set_state(State::NotEnrolled, text);
        };
        let mut jobs = lock(&self.jobs);
        if jobs.enrolment().is_none() && self.current_status().state != State::AwaitingApproval {
            jobs.begin_enrolment(enrolment.uid, STEPS);
        }
        drop(jobs);
        if self.current_status().state != State::AwaitingApproval {
            self.set_state(State::Enrolling, "an enrolment is under way".to_owned());
        }
    }

    /// Stops the enrolment, as long as the server has not granted it.
    pub(crate) async fn cancel(&self, caller: &Caller, job: JobId) -> Result<(), Error> {
        lock(&self.jobs).one(caller, job)?;
        let is_open = {
            let jobs = lock(&self.jobs);
            jobs.enrolment() == Some(job) && !jobs.is_granted()
        };
        if is_open {
            self.abandon_enrolment(Kind::Cancelled.into()).await?;
        }
        Ok(())
    }

    async fn abandon_enrolment(&self, error: Error) -> Result<(), Error> {
        let end = self.store.run(|tx| {
            if let Some(before) = tx.enrolment()? {
                tx.leave_over(&before.keys)?;
            }
            tx.end_enrolment()
        });
        end.await?;
        self.sweep().await;
        lock(&self.origins).of_enrolment = None;
        self.end_job(Err(error));
        self.clear_slot(SlotName::Enrolment);
        self.unsettled.notify_one();
        Ok(())
    }

    /// Ends the job when it has taken longer than the server remembers it. What was sent may
    /// still be granted.
    pub(crate) fn time_out_enrolment(&self, job: JobId) {
        if lock(&self.jobs).enrolment() == Some(job) {
            let error = match lock(&self.jobs).is_granted() {
                true => Error::new(Kind::Timeout, "the device is enrolled, and its chip not ready")
                    .and("see what the agent's state says"),
                false => Error::new(Kind::Timeout, "the server has not answered for ten minutes")
                    .and("see whether the courier reaches it, and enrol again"),
            };
            self.end_job(Err(error));
        }
    }

    /// The message that is durable and unanswered.
    pub(super) async fn enrolment_request(&self) -> Result<Option<(CarryKind, Vec<u8>)>, Error> {
        let Some(enrolment) = self.store.run(|tx| tx.enrolment()).await? else { return Ok(None) };
        let request = Request { nonce_d: enrolment.nonce };
        let stages = [
            (CarryKind::Confirm, enrolment.m5),
            (CarryKind::Activate, enrolment.m3),
            (CarryKind::Claim, enrolment.m1),
            (CarryKind::Challenge, request.encode()),
        ];
        Ok(stages.into_iter().find(|(_, message)| !message.is_empty()))
    }

    pub(super) async fn enrolment_answered(
        &self,
        kind: CarryKind,
        request: &[u8],
        body: &[u8],
    ) -> Result<Worth, Error> {
        let asked = self.enrolment_request().await?;
        let enrolment = self.store.run(|tx| tx.enrolment()).await?;
        let (Some(asked), Some(mut enrolment)) = (asked, enrolment) else {
            return Ok(Worth::Proven);
        };
        if asked != (kind, request.to_vec()) {
            // Begun anew meanwhile.
            return Ok(Worth::Proven);
        }
        let went_on = match kind {
            CarryKind::Challenge => self.claim(&mut enrolment, body).await,
            CarryKind::Claim => self.activate(&mut enrolment, body).await,
            CarryKind::Activate => self.confirm(&mut enrolment, body).await,
            _ => return self.granted(enrolment, body).await,
        };
        match went_on {
            Ok(step) => {
                self.store.run(move |tx| tx.put_enrolment(&enrolment)).await?;
                lock(&self.jobs).step(step);
                Ok(Worth::Proven)
            }
            // An answer that does not verify proves nothing, a chip that does not work does.
            Err(Failure::Answer(reason)) => {
                tracing::warn!(code = reason.code(), "an answer to an enrolment does not verify");
                Ok(Worth::Nothing)
            }
            Err(Failure::Here(error)) => Err(error),
        }
    }

    /// One of the four words. Before M5 nothing is lost by giving up; after it the server may
    /// have granted already, so the same bytes are sent until they are answered.
    pub(super) async fn enrolment_refused(
        &self,
        kind: CarryKind,
        word: &[u8],
    ) -> Result<Worth, Error> {
        match (kind, word) {
            // The server has forgotten, which it does after some minutes: begin again.
            (CarryKind::Claim | CarryKind::Activate, b"stale") => {
                let again = self.store.run(|tx| {
                    let Some(mut enrolment) = tx.enrolment()? else { return Ok(()) };
                    OsRng.fill_bytes(&mut enrolment.nonce);
                    for message in
                        [&mut enrolment.m0, &mut enrolment.m1, &mut enrolment.m2, &mut enrolment.m3]
                    {
                        message.clear();
                    }
                    tx.put_enrolment(&enrolment)
                });
                again.await?;
            }
            (
                CarryKind::Challenge | CarryKind::Claim | CarryKind::Activate,
                b"rejected" | b"malformed",
            ) => {
                let error = Error::new(Kind::Rejected, "the server refuses this enrolment")
                    .and("ask its operator, whose log says why, for a new link");
                self.abandon_enrolment(error).await?;
            }
            _ => {}
        }
        Ok(Worth::Nothing)
    }
}

/// Why a step was not done.
enum Failure {
    /// The answer does not verify.
    Answer(Reason),
    /// Chip or store failed.
    Here(Error),
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure::Answer(reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Here(error)
    }
}

impl From<twinseal_hardware::Error> for Failure {
    fn from(error: twinseal_hardware::Error) -> Failure {
        Failure::Here(error.into())
    }
}
