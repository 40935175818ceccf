//! What operators decide about devices.

use std::collections::BTreeMap;

use twinseal_scheme::ek::Authorities;
use twinseal_scheme::enrol::{DeviceState, UserInfo};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::serial::HardwareSerial;

use super::{App, Error};
use crate::store::{Caller, Device, Entry};

impl App {
    /// Expects a chip, with what is known of its owner: "the server center records the serial and
    /// the user information beforehand". It admits one enrolment, also of a chip that was revoked.
    ///
    /// # Errors
    /// [`Error::Conflict`] `serial-live`; [`twinseal_scheme::Reason::BadUserInfo`].
    pub async fn register(
        &self,
        caller: &Caller,
        serial: &HardwareSerial,
        user_info: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let user_info = UserInfo::new(user_info)?;
        let mut write = self.store.write(caller).await?;
        let devices = write.devices_of(serial).await?;
        if let Some(live) = devices.iter().find(|device| is_trading(device.state)) {
            let text = format!("this chip is device {} already", live.id);
            return Err(Error::Conflict("serial-live", text));
        }
        write.put_registration(serial, &user_info).await?;
        Ok(write.commit(Entry::new("device.register", "a serial")).await?)
    }

    /// Lets a device in that waits for approval.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] `not-awaiting`.
    pub async fn approve(&self, caller: &Caller, id: &DeviceId) -> Result<Device, Error> {
        self.change_state(caller, id, "device.approve", DeviceState::Active, |device| {
            let state = device.state;
            if state == DeviceState::Awaiting {
                return Ok(());
            }
            let text = format!("the device is {}, not awaiting approval", state.word());
            Err(Error::Conflict("not-awaiting", text))
        })
        .await
    }

    /// Lets a device enrol again that cannot prove itself with its old key: its chip was cleared,
    /// or its agent has lost its state. Its chip still has to prove itself. It goes on under the
    /// next generation, active, and also out of a quarantine.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] `revoked`, `awaiting`.
    pub async fn readmit(&self, caller: &Caller, id: &DeviceId) -> Result<Device, Error> {
        let mut write = self.store.write(caller).await?;
        let device = write.device(id).await?.ok_or(Error::NotFound("device"))?;
        let next = match device.state {
            DeviceState::Active | DeviceState::Quarantined => None,
            DeviceState::Revoked => Some("register its serial: it will be another device"),
            DeviceState::Awaiting => Some("approve or revoke it first"),
        };
        if let Some(next) = next {
            let word = device.state.word();
            return Err(Error::Conflict(word, format!("the device is {word}: {next}")));
        }
        write.put_registration(&device.serial, &device.user_info).await?;
        write.commit(Entry::of("device.readmit", *id, "once")).await?;
        Ok(device)
    }

    /// Ends a device's enrolment for ever. Its chip needs to be registered to enrol again.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] `revoked`.
    pub async fn revoke(&self, caller: &Caller, id: &DeviceId) -> Result<Device, Error> {
        self.change_state(caller, id, "device.revoke", DeviceState::Revoked, |device| {
            if device.state != DeviceState::Revoked {
                return Ok(());
            }
            Err(Error::Conflict("revoked", "the device is revoked already".to_owned()))
        })
        .await
    }

    /// Trusts a root for EK certificates, or supplies an intermediate one; gives its id.
    ///
    /// # Errors
    /// [`twinseal_scheme::Reason::EkCertForm`], [`twinseal_scheme::Reason::EkCertTrailing`].
    pub async fn add_ek_certificate(
        &self,
        caller: &Caller,
        der: &[u8],
        is_root: bool,
    ) -> Result<String, Error> {
        let mut authorities = Authorities::new();
        authorities.add_root(der)?;
        let mut write = self.store.write(caller).await?;
        let kind = if is_root { "root" } else { "intermediate" };
        let id = write.put_ek_certificate(kind, der).await?;
        write.commit(Entry::new("ek-roots.add", format!("{kind} {id}"))).await?;
        Ok(id)
    }

    async fn change_state(
        &self,
        caller: &Caller,
        id: &DeviceId,
        action: &'static str,
        state: DeviceState,
        may: impl FnOnce(&Device) -> Result<(), Error>,
    ) -> Result<Device, Error> {
        let mut write = self.store.write(caller).await?;
        let device = write.device(id).await?.ok_or(Error::NotFound("device"))?;
        may(&device)?;
        write.set_state(id, state).await?;
        write.commit(Entry::of(action, *id, state.word())).await?;
        Ok(Device { state, ..device })
    }
}

/// A chip in quarantine may be registered: that is how its re-enrolment is approved.
fn is_trading(state: DeviceState) -> bool {
    matches!(state, DeviceState::Active | DeviceState::Awaiting)
}
