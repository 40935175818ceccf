//! The items of an agent, several at a time, through every outage.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use twinseal_client::{CourierProxy, ErrorKind, MAX_WAIT_MS, Options};
use zbus::connection::Builder;

use crate::backoff::Backoff;
use crate::carrier::{Carrier, Kind, Outcome};
use crate::config::{BadConfig, Config};

/// The agent has three sorts of items that do not wait for one another: enrolment, messages, and
/// the fetch that the server holds.
const IN_FLIGHT: usize = 3;

const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The bus and the agent are on this machine: it costs little to look often.
const LONGEST_WAIT_FOR_AGENT: Duration = Duration::from_secs(2);

/// Carries for the agent on the system bus until the future is dropped. An item that is under way
/// then is offered by the agent again.
///
/// # Errors
/// [`BadConfig`]; everything else passes, and is waited for.
pub async fn run(config: &Config) -> Result<Infallible, BadConfig> {
    let carrier = Carrier::new(config)?;
    let gate = Arc::new(Gate::new(config.backoff_max()));
    let mut waits = Backoff::new(FIRST_WAIT, LONGEST_WAIT_FOR_AGENT.min(config.backoff_max()));
    loop {
        let ended = match Builder::system().build().await {
            Ok(bus) => {
                let lane = Lane { bus, carrier: carrier.clone(), gate: Arc::clone(&gate) };
                lane.run_all(config.server.as_deref(), &mut waits).await
            }
            Err(error) => error,
        };
        report(&ended);
        sleep(waits.failed()).await;
    }
}

#[derive(Clone)]
struct Lane {
    bus: zbus::Connection,
    carrier: Carrier,
    gate: Arc<Gate>,
}

impl Lane {
    /// All lanes, until one fails: then the agent or the bus has gone, and with this connection
    /// every item that was under way goes back to the agent.
    async fn run_all(&self, server: Option<&str>, waits: &mut Backoff) -> zbus::Error {
        let courier = match CourierProxy::new(&self.bus).await {
            Ok(courier) => courier,
            Err(error) => return error,
        };
        // The first question tells whether there is an agent that lets us carry.
        if let Err(error) = courier.origin().await {
            return error;
        }
        tracing::info!("carrying");
        waits.succeeded();
        let lanes = [(); IN_FLIGHT].map(|()| Box::pin(self.run_one(&courier, server)));
        let [first, second, third] = lanes;
        tokio::select! {
            Err(error) = first => error,
            Err(error) = second => error,
            Err(error) = third => error,
        }
    }

    async fn run_one(
        &self,
        courier: &CourierProxy<'_>,
        server: Option<&str>,
    ) -> zbus::Result<Infallible> {
        loop {
            let (id, kind, body) = courier.next(MAX_WAIT_MS, Options::new()).await?;
            if id == 0 {
                continue;
            }
            self.gate.pass().await;
            let origin = match server {
                Some(server) => server.to_owned(),
                None => courier.origin().await?,
            };
            let outcome = match Kind::of_word(&kind) {
                Some(kind) => self.carrier.carry(&origin, kind, body).await,
                None => Outcome::Unreachable(format!("no way for items of kind {kind:?}")),
            };
            self.note(&kind, &outcome);
            let (word, answer) = outcome.to_answer();
            taken(courier.answer(id, word, answer, Options::new()).await)?;
        }
    }

    fn note(&self, kind: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Answered(body) => tracing::debug!(kind, bytes = body.len(), "answered"),
            Outcome::Refused(word) => tracing::info!(kind, word, "refused"),
            Outcome::Unreachable(reason) => tracing::warn!(kind, reason, "unreachable"),
        }
        self.gate.note(!matches!(outcome, Outcome::Unreachable(_)));
    }
}

/// An answer that comes too late for the agent is no fault of the connection.
fn taken(answer: zbus::Result<()>) -> zbus::Result<()> {
    match answer {
        Err(error) if kind_of(&error) == Some(ErrorKind::NotFound) => {
            tracing::info!("the agent does not wait for this answer any more");
            Ok(())
        }
        other => other,
    }
}

fn kind_of(error: &zbus::Error) -> Option<ErrorKind> {
    match error {
        zbus::Error::MethodError(name, _, _) => ErrorKind::from_dbus_name(name),
        _ => None,
    }
}

fn report(error: &zbus::Error) {
    let next = match error {
        zbus::Error::MethodError(name, _, _) if name.ends_with(".AccessDenied") => {
            "run the courier as a user of the group twinseal-courier"
        }
        _ if kind_of(error) == Some(ErrorKind::NotAllowed) => {
            "run the courier as a user of the group twinseal-courier"
        }
        _ => "trying again until the agent is there",
    };
    tracing::warn!(%error, next, "no agent to carry for");
}

/// Shut for a while when the server cannot be reached, for all lanes together.
#[derive(Debug)]
struct Gate {
    shut_until: watch::Sender<Instant>,
    waits: Mutex<Backoff>,
}

impl Gate {
    fn new(longest: Duration) -> Self {
        Self {
            shut_until: watch::Sender::new(Instant::now()),
            waits: Mutex::new(Backoff::new(FIRST_WAIT.min(longest), longest)),
        }
    }

    /// Until it is open.
    async fn pass(&self) {
        let mut shut_until = self.shut_until.subscribe();
        loop {
            let until = *shut_until.borrow_and_update();
            if until <= Instant::now() {
                return;
            }
            let _ = timeout_at(until, shut_until.changed()).await;
        }
    }

    fn note(&self, reached: bool) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if reached {
            waits.succeeded();
            self.shut_until.send_replace(now);
        } else if *self.shut_until.borrow() <= now {
            // Lanes that fail together are one failure.
            self.shut_until.send_replace(now + waits.failed());
        }
    }
}
