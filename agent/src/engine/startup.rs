//! Brings chip, state and epoch together: at the start, and whenever something was amiss.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand_core::OsRng;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use twinseal_hardware::{AuthValue, ChipKeys};
use twinseal_scheme::epoch::judge::{self, CounterRecord, CounterState};
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochOpening};

use super::sealing::{Lane, OpenEpoch};
use super::{Engine, Origins, lock};
use crate::store::{Device, Epoch, Standing};
use crate::{Caller, Error, Kind, State};

/// How long to wait before the first try to settle things again, and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often the chip is looked at while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What ends an epoch, and can be mended by an enrolment.
const CHANGES: [Kind; 3] = [Kind::ChipCleared, Kind::ChipReplaced, Kind::ChipRolledBack];

/// Epochs after which nothing of a trade can arrive any more.
const EPOCHS_REMEMBERED: u64 = judge::EPOCHS_CLOSED_KEPT + 1;

impl Engine {
    /// Settles things whenever they are unsettled, until the task is aborted.
    pub(crate) async fn keep_settled(self: Arc<Engine>) {
        let mut pause = PAUSE_MIN;
        loop {
            let unsettled = self.unsettled.notified();
            match self.settle().await {
                Ok(again) => {
                    pause = PAUSE_MIN;
                    let look = Instant::now() + LOOK_EVERY;
                    let _ = timeout_at(again.map_or(look, |at| at.min(look)), unsettled).await;
                }
                Err(_) => {
                    // What people can mend is looked at again, as is what mends itself; sooner
                    // when somebody asks for something.
                    sleep(PAUSE_MIN).await;
                    let _ = timeout(pause, unsettled).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Logs in to the token, and goes on with whatever waited for that.
    pub(crate) async fn unlock(&self, caller: &Caller, pin: AuthValue) -> Result<(), Error> {
        if !self.is_token() {
            return Err(Error::new(Kind::InvalidArgument, "a TPM has no PIN")
                .and("see `twinseal status` for what it wants"));
        }
        self.hardware.lane(caller.uid.into()).log_in(pin).await?;
        tracing::info!(uid = caller.uid, "the token was given its PIN");
        // What else may be amiss the state says.
        let _ = self.settle().await;
        Ok(())
    }

    /// Does whatever is to be done so that trades can be made. What fails leaves the agent in a
    /// state that says so. Gives the time to look again, where that is known.
    pub(crate) async fn settle(&self) -> Result<Option<Instant>, Error> {
        let mut lane = self.lane.lock().await;
        let settled = self.settle_lane(&mut lane).await;
        if let Err(error) = &settled {
            tracing::warn!(kind = error.kind.name(), "not settled: {error}");
            if CHANGES.contains(&error.kind) {
                self.end_epoch(&mut lane);
            }
            // Whatever else hinders the chip, nothing can be done without it.
            let state = State::of_error(error.kind).unwrap_or(State::ChipAbsent);
            match self.store.run(|tx| tx.enrolment()).await {
                Ok(Some(enrolment)) if CHANGES.contains(&error.kind) => {
                    self.show_enrolment(Some(&enrolment));
                }
                _ => self.set_state(state, error.to_string()),
            }
        }
        self.end_granted_job(settled.as_ref().map(drop));
        settled
    }

    async fn settle_lane(&self, lane: &mut Lane) -> Result<Option<Instant>, Error> {
        self.is_amiss.store(false, Ordering::SeqCst);
        let (device, enrolment, pending) =
            self.store.run(|tx| Ok((tx.device()?, tx.enrolment()?, tx.pending()?))).await?;
        self.set_pending(pending);
        *lock(&self.origins) = Origins {
            of_device: device.as_ref().map(|device| device.origin.clone()),
            of_enrolment: enrolment.as_ref().map(|enrolment| enrolment.link.url.clone()),
        };
        let Some(device) = device else {
            self.chip().lockout().await?;
            self.sweep().await;
            self.show_enrolment(enrolment.as_ref());
            return Ok(None);
        };
        self.show(&device);
        match device.standing {
            Standing::Active => {}
            Standing::Suspended => return Err(Kind::Suspended.into()),
            Standing::Revoked => return Err(Kind::Revoked.into()),
        }
        let counted = self.recognise(&device).await?;
        self.sweep().await;
        if counted != device.counter.intended {
            // Nobody else has any business with this counter: begin anew, and say what it was.
            self.end_epoch(lane);
        }
        if lock(&self.open_epoch).is_none() {
            let reopen_at = lock(&self.contact).reopen_at(Instant::now());
            if reopen_at.is_some() {
                self.set_state(
                    State::Active,
                    "the server refused this start; another try follows".to_owned(),
                );
                return Ok(reopen_at);
            }
            let epoch = self.make_epoch(device, counted).await?;
            self.begin_epoch(lane, epoch);
        }
        self.seal_anew(lane).await?;
        self.do_what_is_due(lane).await?;
        let notes = self.notes().await?;
        // What was noted meanwhile was perhaps seen later, and is looked at next.
        let is_well = || !self.is_amiss.load(Ordering::SeqCst);
        self.set_state_if(is_well, State::Active, format!("ready for trades{notes}"));
        self.work.send_replace(());
        Ok(None)
    }

    /// Whether this is still the chip of the enrolment, in the state that it was left in; gives
    /// the value of its counter.
    async fn recognise(&self, device: &Device) -> Result<u64, Error> {
        let chip = self.chip();
        let keys = match &device.keys {
            ChipKeys::Tpm(keys) => keys,
            // Its counter is the agent's own record.
            ChipKeys::Token(_) => {
                match self.epoch() {
                    Ok(_) => chip.lockout().await.map(drop)?,
                    Err(_) => chip.recognise(&device.keys).await?,
                }
                return Ok(device.counter.intended);
            }
        };
        // Only this chip, uncleared, has a counter that is read under its authValue. Where that
        // fails, the keys say what has happened.
        if self.epoch().is_ok()
            && let Ok(Some(counted)) = chip.counter(keys).await
        {
            return Ok(counted);
        }
        chip.recognise(keys).await?;
        chip.counter(keys).await?.ok_or_else(|| {
            Error::new(Kind::ChipCleared, "the chip has lost the counter of this enrolment")
        })
    }

    /// What people should know although all is well.
    async fn notes(&self) -> Result<String, Error> {
        let mut notes = String::new();
        let found = lock(&self.open_epoch).as_ref().map(|open| open.found);
        if found == Some(CounterState::DiskRolledBack) {
            notes += "; the chip has counted further than the state folder knows: was it restored from a backup?";
        }
        if self.chip().lockout().await?.locked_out {
            notes += "; the chip is locked out after wrong authorisations, which stops others but not this agent";
        }
        Ok(notes)
    }

    /// Shows people what is known of the enrolment.
    fn show(&self, device: &Device) {
        let mut status = lock(&self.status);
        status.assurance.clone_from(&device.assurance);
        status.server_id = device.bond.server_id.to_string();
        status.last_contact = device.last_contact;
    }

    /// Counts the counter up, which is a TPM's or the record itself, and begins the epoch that it stands for.
    async fn make_epoch(&self, device: Device, counted: u64) -> Result<OpenEpoch, Error> {
        let chip = self.chip();
        let found = judge::counter(device.counter, counted);
        match found {
            CounterState::Agrees => {}
            CounterState::DiskRolledBack => {
                tracing::warn!("the chip has counted further than the state folder knows");
            }
            CounterState::ChipRolledBack => return Err(Kind::ChipRolledBack.into()),
        }
        let intended = counted + 1;
        let record = CounterRecord { intended, opened: false };
        self.store.run(move |tx| tx.put_counter(record)).await?;
        if let ChipKeys::Tpm(keys) = &device.keys
            && chip.increment_counter(keys).await? != intended
        {
            return Err(Error::new(Kind::Internal, "somebody else counts the chip's counter")
                .and("find out who uses this agent's keys"));
        }
        let number = intended.checked_sub(device.base).ok_or(Kind::ChipRolledBack)?;
        let (envelope, keys) = self.epoch_open(&device, number).await?;
        let epoch = Epoch {
            generation: device.bond.generation,
            epoch: number,
            sequence: keys.sequence,
            answer_key: keys.answer_key(),
        };
        let receipts_kept = self.config.limits.receipts_kept;
        let keep = self.store.run(move |tx| {
            tx.begin_epoch(&epoch, &envelope)?;
            tx.put_counter(CounterRecord { intended, opened: true })?;
            tx.forget_trades(number.saturating_sub(EPOCHS_REMEMBERED), receipts_kept)?;
            tx.pending()
        });
        self.set_pending(keep.await?);
        tracing::info!(epoch = number, "an epoch begins");
        let Device { bond, keys: device_keys, server_keys, .. } = device;
        Ok(OpenEpoch { bond, keys, device_keys, server_keys, found })
    }

    /// The epoch-open, and the epoch's keys: what only the right chip can make.
    async fn epoch_open(
        &self,
        device: &Device,
        number: u64,
    ) -> Result<(Vec<u8>, EpochKeys), Error> {
        let chip = self.chip();
        let z = chip.decapsulate_serial(&device.keys, &device.encapsulation).await?;
        let chain = ChainKey::of_bond(&z, &device.bond).ratchet(number)?;
        let opening = EpochOpening::draw(&device.server_keys, &mut OsRng)?;
        let extra_data = opening.extra_data(&device.bond, number);
        let attest = match &device.keys {
            ChipKeys::Tpm(keys) => {
                let word = chip.certify(keys, &keys.signing, extra_data).await?;
                Some((word.attest, word.signature))
            }
            ChipKeys::Token(_) => None,
        };
        let unsigned = opening.seal(&device.bond, &chain, attest, &mut OsRng)?;
        let signature = chip.sign(device.keys.signing(), unsigned.digest()).await?;
        Ok(unsigned.finish(&signature)?)
    }
}
