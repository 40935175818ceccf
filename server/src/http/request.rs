//! What every request goes through: a span, and a bounded body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::{HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::timeout;
use tracing::Instrument;
use twinseal_scheme::Reason;

use super::Limits;
use super::places::Place;
use crate::app::Error;

/// A span for each request. The route stands for the path, which may hold ids.
pub(super) async fn span(request: Request, next: Next) -> Response {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!("request", number, method = %request.method(), route);
    let begun = Instant::now();
    let place = request.extensions().get::<Arc<Place>>().cloned();
    async {
        if request.body().is_end_stream() {
            place.iter().for_each(|place| place.works());
        }
        let response = next.run(request).await;
        place.iter().for_each(|place| place.waits());
        let took_us = begun.elapsed().as_micros() as u64;
        tracing::debug!(status = response.status().as_u16(), took_us, "answered");
        response
    }
    .instrument(span)
    .await
}

/// Reads a body of at most `size_max` bytes, in bounded time.
pub(super) async fn body(
    request: Request,
    size_max: usize,
    limits: &Limits,
) -> Result<axum::body::Bytes, Error> {
    let (head, body) = request.into_parts();
    match timeout(limits.body_timeout, to_bytes(body, size_max)).await {
        Ok(Ok(bytes)) => {
            head.extensions.get::<Arc<Place>>().iter().for_each(|place| place.works());
            Ok(bytes)
        }
        // Too large, cut off, or too slow: to the peer it is all the same.
        _ => Err(Error::Refused(Reason::TooLarge)),
    }
}
