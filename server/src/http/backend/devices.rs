//! `/api/v1/devices`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::serial::HardwareSerial;

use super::input::{self, Options};
use super::{PAGE, PAGE_MAX, output};
use crate::app::{App, Error};
use crate::http::error::api_reply;
use crate::store::DeviceFilter;

/// What to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    serial: Option<String>,
    find: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/v1/devices`.
pub(super) async fn list(State(app): State<Arc<App>>, Options(list): Options<List>) -> Response {
    api_reply(found(&app, list).await.map(Json))
}

/// `GET /api/v1/devices/{device}`.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let show = async {
        let device = app.store.read().await?.device(&input::device(&id)?).await?;
        Ok(Json(output::device(&device.ok_or(Error::NotFound("device"))?)))
    };
    api_reply(show.await)
}

async fn found(app: &App, list: List) -> Result<serde_json::Value, Error> {
    let filter = filter(list)?;
    let devices = app.store.read().await?.devices(&filter).await?;
    let next = devices.last().filter(|_| devices.len() == filter.limit as usize);
    let next = next.map(|device| device.id.to_string());
    let devices: Vec<_> = devices.iter().map(output::device).collect();
    Ok(json!({ "devices": devices, "next": next }))
}

fn filter(list: List) -> Result<DeviceFilter, Error> {
    let serial = list.serial.as_deref().map(HardwareSerial::from_text).transpose();
    let no_state = || Error::Invalid("no such state".to_owned());
    let state = |word| DeviceState::from_word(word).ok_or_else(no_state);
    Ok(DeviceFilter {
        serial: serial.map_err(|error| Error::Invalid(error.to_string()))?,
        term: list.find,
        state: list.state.as_deref().map(state).transpose()?,
        after: list.after.as_deref().map(input::device).transpose()?,
        limit: list.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
    })
}
