//! What back ends send: JSON, or a raw payload with everything else in the query.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{Uri, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use twinseal_scheme::id::{DeviceId, TradeId};

use super::super::{error, request};
use crate::app::{App, Error, Message};

const JSON: &str = "application/json";
/// What stands for no content type in HTTP.
pub(super) const UNTYPED: &str = "application/octet-stream";

/// A body that was read within its limits.
pub(super) struct Input {
    content_type: String,
    uri: Uri,
    bytes: Bytes,
}

impl FromRequest<Arc<App>> for Input {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Input, Response> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (content_type, uri) = (content_type.to_owned(), request.uri().clone());
        let size_max = app.limits.backend_body_max;
        match request::body(request, size_max, &app.limits).await {
            Ok(bytes) => Ok(Input { content_type, uri, bytes }),
            Err(refused) => Err(error::api_reply::<()>(Err(refused))),
        }
    }
}

impl Input {
    /// Whether the payload is the body itself.
    pub(super) fn is_raw(&self) -> bool {
        self.content_type.split(';').next().map(str::trim) != Some(JSON)
    }

    /// A JSON object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.is_raw() {
            return Err(Error::Invalid(format!("send a JSON object as {JSON}")));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Options, and an application's message.
    pub(super) fn message<T: DeserializeOwned>(&self) -> Result<(T, Message), Error> {
        if self.is_raw() {
            let Query(options) = Query::try_from_uri(&self.uri)
                .map_err(|error| Error::Invalid(error.body_text()))?;
            let content_type = match self.content_type.as_str() {
                UNTYPED => String::new(),
                typed => typed.to_owned(),
            };
            return Ok((options, Message { content_type, payload: self.bytes.to_vec() }));
        }
        let mut object: Map<String, Value> = self.json()?;
        let message = Message {
            content_type: text(&mut object, "content_type")?.unwrap_or_default(),
            payload: decoded(&text(&mut object, "payload")?.unwrap_or_default())?,
        };
        let options = serde_json::from_value(Value::Object(object));
        Ok((options.map_err(|error| Error::Invalid(error.to_string()))?, message))
    }
}

/// The options in a query, with an error in our own form.
pub(super) struct Options<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Options<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Response> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(options)) => Ok(Options(options)),
            Err(wrong) => Err(error::api_reply::<()>(Err(Error::Invalid(wrong.body_text())))),
        }
    }
}

/// A device id in a path.
pub(super) fn device(text: &str) -> Result<DeviceId, Error> {
    text.parse().map_err(|_| Error::NotFound("device"))
}

/// A trade id in a path.
pub(super) fn trade(text: &str) -> Result<TradeId, Error> {
    text.parse().map_err(|_| Error::NotFound("trade"))
}

/// How long a caller wants to wait.
pub(super) fn wait(wait_ms: Option<u32>, otherwise: Duration) -> Duration {
    wait_ms.map_or(otherwise, |wait_ms| Duration::from_millis(wait_ms.into()))
}

fn text(object: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::Invalid(format!("{name} is not a string"))),
    }
}

fn decoded(base64: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(base64).map_err(|_| Error::Invalid("payload is not base64".to_owned()))
}
