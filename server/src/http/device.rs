//! The device side: what couriers carry, `POST /device/v1/<kind>`.
//!
//! The scheme protects itself, so there is no other authentication here, and no reply but
//! bytes for the agent or one of four constant words.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, middleware};
use twinseal_scheme::Reason;

use super::{error, request};
use crate::app::{App, Error, Kind};

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/device/v1/{kind}", post(carry))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn(request::span))
        .with_state(app)
}

async fn carry(
    State(app): State<Arc<App>>,
    Path(kind): Path<String>,
    request: Request,
) -> Response {
    match Kind::of_word(&kind) {
        Some(kind) => error::device_reply(answer(&app, kind, request).await),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn answer(app: &App, kind: Kind, request: Request) -> Result<Vec<u8>, Error> {
    if request.headers().get(header::CONTENT_TYPE).is_none_or(|value| value != error::COSE) {
        return Err(Error::Refused(Reason::WrongShape));
    }
    let body = request::body(request, app.limits.device_body_max, &app.limits).await?;
    app.carry(kind, &body).await
}
