//! `twinseal-server device`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::serial::HardwareSerial;

use super::Common;
use super::output::{Failure, Output};
use crate::app::{App, Error};
use crate::http::device_json;
use crate::store::{self, DeviceFilter};

#[derive(Subcommand)]
pub(super) enum Device {
    /// Expect a chip: its device may enrol once, without a code
    Register {
        /// Its hardware serial, as `twinseal hardware` prints it on the device
        #[arg(long)]
        serial: String,
        /// What is known of its owner: a JSON object of strings; counts more than what it says
        #[arg(long, value_name = "FILE")]
        user_info: Option<PathBuf>,
    },
    /// List devices, and serials that are expected
    List {
        /// Only with this user information: name=value, or a value under any name
        #[arg(long, value_name = "TERM")]
        find: Option<String>,
        /// Only of this hardware serial
        #[arg(long)]
        serial: Option<String>,
        /// Only in this state: awaiting, active, quarantined, revoked
        #[arg(long)]
        state: Option<String>,
    },
    /// Show a device, with how its endorsement key was verified
    Show(Which),
    /// Let a device in that waits, after comparing the short check with the one it shows
    Approve(Which),
    /// Let a device enrol again, once, that has lost the key of before: its chip was cleared, or
    /// its agent's state is gone; `twinseal recover` there does it
    Readmit(Which),
    /// End a device's enrolment for ever
    Revoke(Which),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// Device id
    device: Option<String>,
    /// Hardware serial, instead of the id
    #[arg(long)]
    serial: Option<String>,
}

impl Device {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let app = common.app().await?;
        match self {
            Device::Register { serial, user_info } => {
                let serial = parse_serial(&serial)?;
                let user_info = user_info.map(read_user_info).transpose()?.unwrap_or_default();
                app.register(&common.caller(), &serial, user_info).await?;
                let check = serial.short_check();
                Ok(Output::new(format!("Expected: {check}"), json!({ "short_check": check })))
            }
            Device::List { find, serial, state } => list(&app, find, serial, state).await,
            Device::Show(which) => Ok(shown(&which.find(&app).await?)),
            Device::Approve(which) => {
                let device = which.find(&app).await?;
                Ok(shown(&app.approve(&common.caller(), &device.id).await?))
            }
            Device::Readmit(which) => {
                let device = which.find(&app).await?;
                Ok(shown(&app.readmit(&common.caller(), &device.id).await?))
            }
            Device::Revoke(which) => {
                let device = which.find(&app).await?;
                Ok(shown(&app.revoke(&common.caller(), &device.id).await?))
            }
        }
    }
}

impl Which {
    /// The device; of a chip's devices, the one that is alive, else the last one.
    async fn find(&self, app: &App) -> Result<store::Device, Failure> {
        let mut tx = app.store.read().await.map_err(Error::from)?;
        let found = match (&self.device, &self.serial) {
            (Some(id), _) => match id.parse::<DeviceId>() {
                Ok(id) => tx.device(&id).await.map_err(Error::from)?,
                Err(_) => None,
            },
            (None, Some(serial)) => {
                let of = tx.devices_of(&parse_serial(serial)?).await.map_err(Error::from)?;
                let live = of.iter().find(|device| device.state != DeviceState::Revoked).cloned();
                live.or(of.into_iter().last())
            }
            (None, None) => None,
        };
        Ok(found.ok_or(Error::NotFound("device"))?)
    }
}

async fn list(
    app: &App,
    find: Option<String>,
    serial: Option<String>,
    state: Option<String>,
) -> Result<Output, Failure> {
    let state = state.map(|word| {
        DeviceState::from_word(&word).ok_or_else(|| {
            Failure::new("invalid", format!("{word:?} is no state"), "See `device list --help`.")
        })
    });
    let serial = serial.as_deref().map(parse_serial).transpose()?;
    let everything = find.is_none() && state.is_none();
    let state = state.transpose()?;
    let filter = DeviceFilter { serial, term: find, state, after: None, limit: u32::MAX };
    let mut tx = app.store.read().await.map_err(Error::from)?;
    let devices = tx.devices(&filter).await.map_err(Error::from)?;
    let mut rows: Vec<(String, Value)> =
        devices.iter().map(|device| (line(device), device_json(device))).collect();
    if everything {
        let expected = tx.registrations().await.map_err(Error::from)?;
        let wanted = expected.into_iter().filter(|e| serial.is_none_or(|s| s == e.serial));
        rows.extend(wanted.map(|expected| {
            let check = expected.serial.short_check();
            let json = json!({
                "serial": expected.serial.to_text(),
                "short_check": check,
                "state": "expected",
                "user_info": expected.user_info.entries(),
            });
            (format!("{:32}  expected     {check}", "-"), json)
        }));
    }
    let none = "No devices. Make a link for one with `twinseal-server code create`.";
    Ok(Output::list("devices", none, rows))
}

fn line(device: &store::Device) -> String {
    let alarm = device.alarm.as_ref().map_or(String::new(), |alarm| format!("  alarm {alarm}"));
    format!(
        "{}  {:11}  {}  {}{alarm}",
        device.id,
        device.state.word(),
        device.serial.short_check(),
        device.assurance
    )
}

fn shown(device: &store::Device) -> Output {
    let mut text = format!(
        "device       {}\nstate        {}\nserial       {}\nshort check  {}\nassurance    {}\n\
         generation   {}\n",
        device.id,
        device.state.word(),
        device.serial.to_text(),
        device.serial.short_check(),
        device.assurance,
        device.generation,
    );
    if let Some(alarm) = &device.alarm {
        text.push_str(&format!("alarm        {alarm}\n"));
    }
    for (name, value) in device.user_info.entries() {
        text.push_str(&format!(
            "user info    {} = {}\n",
            name.escape_debug(),
            value.escape_debug()
        ));
    }
    for line in device.verdict.lines() {
        text.push_str(&format!("EK           {}\n", line.escape_debug()));
    }
    Output::new(text.trim_end(), device_json(device))
}

fn parse_serial(text: &str) -> Result<HardwareSerial, Failure> {
    HardwareSerial::from_text(text).map_err(|error| {
        Failure::new("serial", error.to_string(), "Copy what `twinseal hardware` prints there.")
    })
}

fn read_user_info(path: PathBuf) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |message: String| {
        let next = "Give a JSON object of strings, as {\"name\": \"till 7\"}.";
        Failure::new("user-info", format!("{}: {message}", path.display()), next)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}
