//! The back-end side: JSON under `/api/v1/`, each route with the scope that it needs.

mod access;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
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

/// Every route of the back-end side.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/healthz", access: Access::Open, handler: || get(healthy) },
    Route { method: "GET", path: "/readyz", access: Access::Open, handler: || get(ready) },
    Route { method: "GET", path: "/openapi.json", access: Access::Open, handler: || get(openapi) },
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
