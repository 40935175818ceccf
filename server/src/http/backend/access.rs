//! Who may call a route: checked before its handler is reached.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::error;
use super::Access;
use crate::app::{App, Error, api_keys};

/// A route's demand.
#[derive(Clone)]
pub(super) struct Guard {
    pub app: Arc<App>,
    pub access: Access,
}

/// Lets a request through with its [`api_keys::Backend`] as an extension, or refuses it.
pub(super) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let Access::Key(scope) = guard.access else { return next.run(request).await };
    let backend = match backend(&guard.app, request.headers().clone()).await {
        Ok(Some(backend)) => backend,
        Ok(None) => {
            let text = "send an API key that is in force as `Authorization: Bearer KEY`";
            return error::problem(StatusCode::UNAUTHORIZED, "unauthorised", text);
        }
        Err(failed) => return error::api_reply::<()>(Err(failed)),
    };
    if !backend.has(scope) {
        let text = format!("this API key has not the scope {}", scope.word());
        return error::problem(StatusCode::FORBIDDEN, "forbidden", &text);
    }
    request.extensions_mut().insert(backend);
    next.run(request).await
}

async fn backend(app: &App, headers: HeaderMap) -> Result<Option<api_keys::Backend>, Error> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match value.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(key) => api_keys::check(&app.store, key.trim()).await,
        None => Ok(None),
    }
}
