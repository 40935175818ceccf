//! What back ends get.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use twinseal_scheme::direction::Direction;
use twinseal_scheme::trade::{Content, Kind, MessageType};

use super::input::UNTYPED;
use crate::app::InboxMessage;
use crate::store::{Device, StoredTrade, stage_word};

pub(crate) fn device(device: &Device) -> Value {
    json!({
        "device": device.id.to_string(),
        "serial": device.serial.to_text(),
        "short_check": device.serial.short_check(),
        "generation": device.generation,
        "state": device.state.word(),
        "assurance": device.assurance,
        "user_info": device.user_info.entries(),
        "verdict": device.verdict.lines().collect::<Vec<_>>(),
        "alarm": device.alarm,
        "enrolled_at": device.enrolled_at,
        "changed_at": device.changed_at,
    })
}

pub(super) fn trade(stored: &StoredTrade) -> Value {
    let trade = &stored.trade;
    json!({
        "device": stored.device.to_string(),
        "trade": trade.id().to_string(),
        "service": trade.service().as_str(),
        "kind": trade.kind().map(|kind| match kind {
            Kind::Trade => "trade",
            Kind::Exchange => "exchange",
        }),
        "opener": match trade.opener() {
            Direction::Up => "device",
            Direction::Down => "server",
        },
        "outer": trade.outer().word(),
        "stage": stage_word(trade.stage()),
        "sent": trade.sent().count,
        "received": trade.received().count,
        "opened_at": stored.opened_at,
        "changed_at": stored.changed_at,
    })
}

pub(super) fn message(content: &Content, at: u64) -> Value {
    json!({
        "index": content.index.number(),
        "type": match content.message_type {
            MessageType::Request => "request",
            MessageType::Reply => "reply",
            _ => "data",
        },
        "content_type": content.content_type,
        "payload": STANDARD.encode(&content.payload),
        "at": at,
    })
}

pub(super) fn inbox_message(message: &InboxMessage) -> Value {
    let InboxMessage { delivery, content, assurance } = message;
    let mut value = self::message(content, delivery.at);
    value["position"] = delivery.position.into();
    value["device"] = delivery.device.to_string().into();
    value["trade"] = delivery.trade.to_string().into();
    value["service"] = delivery.service.clone().into();
    value["assurance"] = assurance.clone().into();
    value
}

/// A payload as it is. A device has chosen its type, so no browser may guess another or show it.
pub(super) fn raw(content: &Content) -> Response {
    let untyped = HeaderValue::from_static(UNTYPED);
    let content_type = match content.content_type.as_str() {
        "" => untyped,
        typed => HeaderValue::from_str(typed).unwrap_or(untyped),
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ];
    (StatusCode::OK, headers, content.payload.clone()).into_response()
}
