//! `/api/v1/inbox`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;

use super::input::{self, Input, Options};
use super::{PAGE, PAGE_MAX, output};
use crate::app::api_keys::Backend;
use crate::app::{App, Error};
use crate::http::error::api_reply;

/// Positions that are acknowledged at once.
const POSITIONS_MAX: usize = 1000;

/// What to get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    after: Option<i64>,
    limit: Option<u32>,
    wait_ms: Option<u32>,
}

/// What to acknowledge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledge {
    positions: Vec<i64>,
}

/// `GET /api/v1/inbox`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(backend): Extension<Backend>,
    Options(get): Options<Get>,
) -> Response {
    let messages = async {
        let (after, wait) = (get.after.unwrap_or(0), input::wait(get.wait_ms, Duration::ZERO));
        let limit = get.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX) as usize;
        let messages = app.inbox(&backend, after, limit, wait).await?;
        let messages: Vec<_> = messages.iter().map(output::inbox_message).collect();
        Ok(Json(json!({ "messages": messages })))
    };
    api_reply(messages.await)
}

/// `POST /api/v1/inbox/acknowledge`.
pub(super) async fn acknowledge(
    State(app): State<Arc<App>>,
    Extension(backend): Extension<Backend>,
    input: Input,
) -> Response {
    let acknowledge = async {
        let Acknowledge { positions } = input.json()?;
        if positions.len() > POSITIONS_MAX {
            return Err(Error::Invalid(format!("at most {POSITIONS_MAX} positions at once")));
        }
        app.acknowledge_inbox(&backend, &positions).await?;
        Ok(Json(json!({})))
    };
    api_reply(acknowledge.await)
}
