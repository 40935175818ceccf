//! The server's last word: what it grants, and how the agent becomes that device.

use std::time::Duration;

use tokio::time::Instant;
use twinseal_hardware::ChipKeys;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::{Grant, GrantKey, Offer, Standing as Granted};
use twinseal_scheme::epoch::judge::CounterRecord;

use super::Failure;
use super::steps::accepted;
use crate::chip_keys::{PublicKeys, serial_of};
use crate::engine::carrier::{SlotName, Worth};
use crate::engine::contact::Contact;
use crate::engine::{Engine, lock, now};
use crate::store::{Device, Enrolment, Standing, Tx};
use crate::{Error, Kind, State};

/// Between questions whether an operator has approved.
const APPROVAL_PAUSE: Duration = Duration::from_secs(2);

impl Engine {
    /// G.
    pub(super) async fn granted(&self, enrolment: Enrolment, body: &[u8]) -> Result<Worth, Error> {
        let (device, standing) = match self.device_of_grant(&enrolment, body).await {
            Ok(granted) => granted,
            Err(Failure::Answer(reason)) => {
                tracing::warn!(code = reason.code(), "a grant does not verify");
                return Ok(Worth::Nothing);
            }
            Err(Failure::Here(error)) => return Err(error),
        };
        match standing {
            Granted::Active => self.become_device(device).await.map(|()| Worth::Proven),
            Granted::AwaitingApproval => {
                let error = Error::from(Kind::AwaitingApproval);
                if self.epoch().is_err() {
                    self.set_state(State::AwaitingApproval, error.to_string());
                }
                self.end_job(Err(error));
                Ok(Worth::Later(APPROVAL_PAUSE))
            }
            Granted::Denied => {
                let error = Error::new(Kind::Rejected, "the operator denied this device")
                    .and("ask him why");
                self.abandon_enrolment(error).await.map(|()| Worth::Proven)
            }
        }
    }

    /// Verifies G, and makes the device that it grants.
    async fn device_of_grant(
        &self,
        enrolment: &Enrolment,
        body: &[u8],
    ) -> Result<(Device, Granted), Failure> {
        let challenge = accepted(enrolment)?;
        let server_signing = &challenge.server_keys.signing;
        let public = PublicKeys::of(&enrolment.keys)?;
        let offer = Offer::verify(&enrolment.m4, server_signing, &enrolment.m3, &public.serial)?;
        let key = GrantKey::new(&self.first_chain_key(enrolment, &offer).await?);
        let grant = Grant::open(body, &key, &enrolment.m5, server_signing)?;
        let (keys, serial) = (&enrolment.keys, serial_of(&enrolment.keys)?);
        let server_id = enrolment.link.server_id;
        grant.agrees_with(&offer, &server_id, &serial, &public.ids())?;
        let bond = Bond {
            server_id,
            device_id: offer.device_id,
            serial,
            generation: offer.generation,
            keyset: 1,
            signing: public.signing,
            decryption: public.decryption,
        };
        let device = Device {
            bond,
            encapsulation: offer.encapsulation,
            base: enrolment.base,
            keys: keys.clone(),
            user_info: enrolment.user_info.clone(),
            origin: enrolment.link.url.clone(),
            assurance: grant.assurance,
            statement: challenge.statement,
            server_keys: challenge.server_keys,
            standing: Standing::Active,
            counter: CounterRecord { intended: enrolment.base, opened: true },
            last_contact: now(),
        };
        Ok((device, grant.standing))
    }

    /// Puts the new device into the place of the old one. What was not answered is sealed again
    /// for the same server, and is void for another.
    async fn become_device(&self, device: Device) -> Result<(), Error> {
        let mut lane = self.lane.lock().await;
        let keys = device.keys.clone();
        let serial = device.bond.serial;
        let keep = self.store.run(move |tx| {
            let old = tx.device()?;
            if let Some(old) = &old
                && old.bond.serial == device.bond.serial
            {
                tx.leave_over(&old.keys)?;
            }
            tx.end_enrolment()?;
            tx.put_device(&device)?;
            let is_same = old.as_ref().is_none_or(|old| {
                old.bond.server_id == device.bond.server_id
                    && old.bond.device_id == device.bond.device_id
            });
            match is_same {
                true => tx.seal_all_anew()?,
                false => refuse_everything(tx)?,
            }
            Ok(old)
        });
        let old = keep.await?;
        self.end_epoch(&mut lane);
        *lock(&self.contact) = Contact::new(Instant::now());
        drop(lane);
        self.news.send_replace(());
        if let Some(old) = old
            && old.bond.serial == serial
        {
            self.clean_up(&old.keys, &keys).await;
        }
        lock(&self.jobs).grant();
        if self.settle().await.is_err() {
            self.unsettled.notify_one();
        }
        self.clear_slot(SlotName::Fetch);
        Ok(())
    }
}

impl Engine {
    /// Takes out of the chip what an enrolment that is over has left there.
    async fn clean_up(&self, old: &ChipKeys, new: &ChipKeys) {
        match (old, new) {
            // In another chip its place may be somebody else's, and in a cleared one the new one's.
            (ChipKeys::Tpm(old), ChipKeys::Tpm(new))
                if !old.counter.is_at_place_of(&new.counter) =>
            {
                if let Err(error) = self.chip().undefine_counter(old).await {
                    tracing::warn!("the counter of the old enrolment stays in the chip: {error}");
                }
            }
            _ => self.sweep().await,
        }
    }
}

/// What another server, or another device of it, cannot take.
fn refuse_everything(tx: &Tx<'_>) -> Result<(), Error> {
    tx.empty_outbox()?;
    for mut row in tx.trades_going_on()? {
        row.trade.refuse();
        tx.put_trade(&row, 0)?;
    }
    Ok(())
}
