//! `/api/v1/trades`, and the trades and exchanges of a device.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::{Index, Service};

use super::input::{self, Input, Options};
use super::{PAGE, PAGE_MAX, output};
use crate::app::api_keys::Backend;
use crate::app::{App, Error, Message, Opening};
use crate::http::error::{COSE, api_reply};
use crate::store::TradeFilter;

/// How long an exchange waits for its reply unless it is told.
const EXCHANGE_WAIT: Duration = Duration::from_secs(20);

type Caller = (State<Arc<App>>, Extension<Backend>);

/// What to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    device: Option<String>,
    service: Option<String>,
    stage: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A trade to open.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    service: String,
    outer: Option<String>,
    trade: Option<String>,
    #[serde(default, deserialize_with = "number")]
    wait_ms: Option<u32>,
}

/// A message to send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    #[serde(default, deserialize_with = "number")]
    index: Option<u32>,
}

/// Which messages to get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    after: Option<u32>,
    limit: Option<u32>,
    wait_ms: Option<u32>,
}

/// `GET /api/v1/trades`.
pub(super) async fn list(
    (State(app), Extension(backend)): Caller,
    Options(list): Options<List>,
) -> Response {
    let list = async {
        let (trades, next) = app.trades(&backend, &filter(list)?).await?;
        let next = next.map(|(device, trade)| format!("{device}.{trade}"));
        let trades: Vec<_> = trades.iter().map(output::trade).collect();
        Ok(Json(json!({ "trades": trades, "next": next })))
    };
    api_reply(list.await)
}

/// `POST /api/v1/devices/{device}/trades`.
pub(super) async fn open(
    (State(app), Extension(backend)): Caller,
    Path(device): Path<String>,
    input: Input,
) -> Response {
    let open = async {
        let opening = opening(&device, &input.json()?, None)?;
        let stored = app.open_trade(&backend, &opening).await?;
        Ok((StatusCode::CREATED, Json(output::trade(&stored))))
    };
    api_reply(open.await)
}

/// `POST /api/v1/devices/{device}/exchange`.
pub(super) async fn exchange(
    (State(app), Extension(backend)): Caller,
    Path(device): Path<String>,
    input: Input,
) -> Response {
    let exchange = async {
        let (options, message): (Open, _) = input.message()?;
        let opening = opening(&device, &options, Some(message))?;
        let wait = input::wait(options.wait_ms, EXCHANGE_WAIT);
        let (stored, reply) = app.exchange(&backend, &opening, wait).await?;
        Ok(match reply {
            None => (StatusCode::ACCEPTED, Json(output::trade(&stored))).into_response(),
            Some(reply) if input.is_raw() => output::raw(&reply),
            Some(reply) => Json(with_reply(&stored, &reply)).into_response(),
        })
    };
    api_reply(exchange.await)
}

/// `GET /api/v1/devices/{device}/trades/{trade}`.
pub(super) async fn show(
    (State(app), Extension(backend)): Caller,
    Path((device, trade)): Path<(String, String)>,
) -> Response {
    let show = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        Ok(Json(output::trade(&app.trade(&backend, &device, &trade).await?)))
    };
    api_reply(show.await)
}

/// `POST /api/v1/devices/{device}/trades/{trade}/messages`.
pub(super) async fn send(
    (State(app), Extension(backend)): Caller,
    Path((device, trade)): Path<(String, String)>,
    input: Input,
) -> Response {
    let send = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        let (options, message): (Send, _) = input.message()?;
        let index = app.send(&backend, &device, &trade, options.index, message).await?;
        Ok((StatusCode::CREATED, Json(json!({ "index": index.number() }))))
    };
    api_reply(send.await)
}

/// `GET /api/v1/devices/{device}/trades/{trade}/messages`.
pub(super) async fn messages(
    (State(app), Extension(backend)): Caller,
    Path((device, trade)): Path<(String, String)>,
    Options(get): Options<Get>,
) -> Response {
    let messages = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        let limit = get.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX) as usize;
        let (after, wait) = (get.after.unwrap_or(0), input::wait(get.wait_ms, Duration::ZERO));
        let messages = app.messages(&backend, &device, &trade, after, limit, wait).await?;
        let messages: Vec<_> = messages.iter().map(|(c, at)| output::message(c, *at)).collect();
        Ok(Json(json!({ "messages": messages })))
    };
    api_reply(messages.await)
}

/// `GET /api/v1/devices/{device}/trades/{trade}/messages/{index}`.
pub(super) async fn payload(
    (State(app), Extension(backend)): Caller,
    Path((device, trade, index)): Path<(String, String, String)>,
) -> Response {
    let payload = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        let index = index.parse().map_err(|_| Error::NotFound("message"))?;
        let index = Index::new(index).map_err(|_| Error::NotFound("message"))?;
        Ok(output::raw(&app.message_at(&backend, &device, &trade, index).await?))
    };
    api_reply(payload.await)
}

/// `POST /api/v1/devices/{device}/trades/{trade}/close`.
pub(super) async fn close(
    (State(app), Extension(backend)): Caller,
    Path((device, trade)): Path<(String, String)>,
) -> Response {
    let close = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        Ok(Json(output::trade(&app.close_trade(&backend, &device, &trade).await?)))
    };
    api_reply(close.await)
}

/// `GET /api/v1/devices/{device}/trades/{trade}/receipt`.
pub(super) async fn receipt(
    (State(app), Extension(backend)): Caller,
    Path((device, trade)): Path<(String, String)>,
) -> Response {
    let receipt = async {
        let (device, trade) = (input::device(&device)?, input::trade(&trade)?);
        let receipt = app.receipt(&backend, &device, &trade).await?;
        Ok(([(header::CONTENT_TYPE, COSE)], receipt))
    };
    api_reply(receipt.await)
}

fn opening(device: &str, open: &Open, request: Option<Message>) -> Result<Opening, Error> {
    let outer = open.outer.as_deref().map_or(Some(Outer::Serial), Outer::of_word);
    Ok(Opening {
        device: input::device(device)?,
        service: Service::new(&open.service)?,
        outer: outer.ok_or(Error::Invalid("outer is serial or key".to_owned()))?,
        trade: open.trade.as_deref().map(input::trade).transpose()?,
        request,
    })
}

fn filter(list: List) -> Result<TradeFilter, Error> {
    let after = match list.after.as_deref().map(|after| after.split_once('.')) {
        None => None,
        Some(Some((device, trade))) => Some((input::device(device)?, input::trade(trade)?)),
        Some(None) => return Err(Error::Invalid("after is what next was".to_owned())),
    };
    Ok(TradeFilter {
        device: list.device.as_deref().map(input::device).transpose()?,
        service: list.service,
        stage: list.stage,
        after,
        limit: list.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
    })
}

fn with_reply(
    stored: &crate::store::StoredTrade,
    reply: &twinseal_scheme::trade::Content,
) -> Value {
    let mut value = output::trade(stored);
    value["reply"] = output::message(reply, stored.changed_at);
    value
}

/// A number, also as the text that it is in a query.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u32),
        Text(String),
    }
    match Option::deserialize(from)? {
        None => Ok(None),
        Some(Number::Number(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
