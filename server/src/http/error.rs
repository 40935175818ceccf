//! The one place that maps errors to what a peer is told.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use twinseal_scheme::Outside;

use crate::app::Error;

/// The media type of everything that devices send and receive.
pub(super) const COSE: &str = "application/cose";

/// What a device is told: bytes, or one of four words.
pub(super) fn device_reply(answered: Result<Vec<u8>, Error>) -> Response {
    let outside = match answered {
        Ok(bytes) => return ([(header::CONTENT_TYPE, COSE)], bytes).into_response(),
        Err(error) => {
            log(&error);
            outside(&error)
        }
    };
    let status = match outside {
        Outside::Malformed => StatusCode::BAD_REQUEST,
        Outside::Rejected => StatusCode::FORBIDDEN,
        Outside::Stale => StatusCode::GONE,
        Outside::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, outside.word()).into_response()
}

/// What a back end is told.
pub(super) fn api_reply<T: IntoResponse>(answered: Result<T, Error>) -> Response {
    let error = match answered {
        Ok(answer) => return answer.into_response(),
        Err(error) => error,
    };
    log(&error);
    let (status, code) = match &error {
        Error::Refused(reason) | Error::Hidden(reason) => {
            (refused_status(reason.outside()), reason.code())
        }
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        Error::Conflict(code, _) => (StatusCode::CONFLICT, *code),
        Error::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    problem(status, code, &error.to_string())
}

/// A refusal that has no error behind it.
pub(super) fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

fn outside(error: &Error) -> Outside {
    match error {
        Error::Refused(reason) => reason.outside(),
        Error::Invalid(_) => Outside::Malformed,
        Error::Hidden(_) | Error::NotFound(_) | Error::Conflict(..) => Outside::Rejected,
        Error::Busy | Error::Internal(_) => Outside::Busy,
    }
}

/// A rule of the scheme that a back end's request would break.
fn refused_status(outside: Outside) -> StatusCode {
    match outside {
        Outside::Malformed => StatusCode::BAD_REQUEST,
        Outside::Rejected | Outside::Stale => StatusCode::CONFLICT,
        Outside::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Reasons by their codes; nothing that a peer has written. The chain of causes of a failure of
/// our own is printed in debug form, which escapes.
fn log(error: &Error) {
    match error {
        Error::Refused(reason) | Error::Hidden(reason) => {
            tracing::warn!(reason = reason.code(), "refused")
        }
        Error::Internal(source) => {
            let mut causes = vec![format!("{source:?}")];
            let mut next = source.source();
            while let Some(cause) = next {
                causes.push(format!("{cause:?}"));
                next = cause.source();
            }
            tracing::error!(causes = causes.join(": "), "failed");
        }
        Error::Conflict(code, _) => tracing::warn!(reason = code, "refused"),
        Error::Invalid(_) => tracing::warn!(reason = "invalid", "refused"),
        Error::NotFound(what) => tracing::info!(what, "not found"),
        Error::Busy => tracing::warn!(reason = "busy", "refused"),
    }
}
