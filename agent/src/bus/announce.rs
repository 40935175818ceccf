//! What happens in the agent, as signals to whom it concerns.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use twinseal_client::{AGENT_INTERFACE, JOB_INTERFACE, ROOT_PATH, TRADE_INTERFACE};
use zbus::names::UniqueName;

use super::refusal::Refusal;
use super::service::Signals;
use super::tree::{job_path, object_path, trade_path};
use crate::Event;

/// Announces until the agent is no more.
pub(super) async fn run(mut events: Receiver<Event>, signals: Signals) {
    loop {
        match events.recv().await {
            Ok(event) => announce(event, &signals).await,
            // Whoever misses a signal still finds everything by asking.
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "signals were not sent"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn announce(event: Event, signals: &Signals) {
    match event {
        Event::TradeOffered { connection, uid, trade, service } => {
            let (Ok(name), Ok(path)) =
                (UniqueName::try_from(connection), object_path(trade_path(uid, trade)))
            else {
                return;
            };
            let body = (path, service);
            signals.to_session(&name, ROOT_PATH, AGENT_INTERFACE, "TradeOffered", &body).await;
        }
        Event::Message { uid, trade, index } => {
            let (path, body) = (trade_path(uid, trade), (u64::from(index),));
            signals.to_user(uid, &path, TRADE_INTERFACE, "Message", &body).await;
        }
        Event::Closed { uid, trade } => {
            signals.to_user(uid, &trade_path(uid, trade), TRADE_INTERFACE, "Closed", &()).await;
        }
        Event::JobCompleted { uid, job, result } => {
            let error = result.err().map(|error| Refusal::from(error).into_parts());
            let path = job_path(uid, job);
            let body = error.unwrap_or_default();
            signals.to_user(uid, &path, JOB_INTERFACE, "Completed", &body).await;
        }
        Event::StateChanged(_) => {}
    }
}
