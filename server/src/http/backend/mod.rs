//! The back-end side: JSON under `/api/v1/`, each route with the scope that it needs.

mod access;
mod devices;
mod inbox;
mod input;
mod output;
mod trades;

pub(crate) use output::device as device_json;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Router, middleware};

use super::{error, request};
use crate::app::App;
use crate::app::api_keys::Scope;

/// The contract of this side (OpenAPI 3.1), written by hand; a test compares it with [`ROUTES`].
const OPENAPI: &str = include_str!("openapi.json");

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// An API key with this scope.
    Key(Scope),
}

/// One method of one path.
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, its parameters in braces.
    pub path: &'static str,
    /// What it asks of its caller. There is no other way into a handler than through this table.
    pub access: Access,
    handler: fn() -> MethodRouter<Arc<App>>,
}

/// Entries of a list, unless the caller asks for fewer or more.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 100;

const fn route(
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, access, handler }
}

const DEVICES: Access = Access::Key(Scope::DevicesRead);
const READ: Access = Access::Key(Scope::TradesRead);
const WRITE: Access = Access::Key(Scope::TradesWrite);

/// Every route of the back-end side.
pub const ROUTES: &[Route] = &[
    route("GET", "/healthz", Access::Open, || get(healthy)),
    route("GET", "/readyz", Access::Open, || get(ready)),
    route("GET", "/openapi.json", Access::Open, || get(openapi)),
    route("GET", "/api/v1/devices", DEVICES, || get(devices::list)),
    route("GET", "/api/v1/devices/{device}", DEVICES, || get(devices::show)),
    route("POST", "/api/v1/devices/{device}/exchange", WRITE, || post(trades::exchange)),
    route("POST", "/api/v1/devices/{device}/trades", WRITE, || post(trades::open)),
    route("GET", "/api/v1/devices/{device}/trades/{trade}", READ, || get(trades::show)),
    route("POST", "/api/v1/devices/{device}/trades/{trade}/messages", WRITE, || post(trades::send)),
    route("GET", "/api/v1/devices/{device}/trades/{trade}/messages", READ, || {
        get(trades::messages)
    }),
    route("GET", "/api/v1/devices/{device}/trades/{trade}/messages/{index}", READ, || {
        get(trades::payload)
    }),
    route("POST", "/api/v1/devices/{device}/trades/{trade}/close", WRITE, || post(trades::close)),
    route("GET", "/api/v1/devices/{device}/trades/{trade}/receipt", READ, || get(trades::receipt)),
    route("GET", "/api/v1/trades", READ, || get(trades::list)),
    route("GET", "/api/v1/inbox", READ, || get(inbox::get)),
    route("POST", "/api/v1/inbox/acknowledge", WRITE, || post(inbox::acknowledge)),
];

pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let guard = access::Guard { app: app.clone(), access: route.access };
        let guard = middleware::from_fn_with_state(guard, access::check);
        router = router.route(route.path, (route.handler)().layer(guard));
    }
    let not_found = || async { error::problem(StatusCode::NOT_FOUND, "not-found", "no such path") };
    router.fallback(not_found).layer(middleware::from_fn(request::span)).with_state(app)
}

async fn healthy() -> &'static str {
    "ok"
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    error::api_reply(app.is_ready().await.map(|()| "ok"))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
