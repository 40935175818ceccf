//! The engine: what the agent does, apart from who asks for it.
//!
//! One lane seals (`sealing`), since a number in it is used once. What arrives (`delivery`) and
//! what is answered (`answers`) changes trades in the same lane. What waits for the outside is
//! offered by the `carrier`. The `startup` brings chip, state and epoch together, again and
//! again until it succeeds.

mod answers;
mod attempts;
mod carrier;
mod contact;
mod delivery;
mod enrolment;
mod holdings;
mod inspect;
mod keys;
mod leftovers;
mod offers;
mod progress;
mod receipts;
mod sealing;
mod startup;
mod trades;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use twinseal_hardware::{Hardware, Lane as Chip};

use self::attempts::Attempts;
use self::carrier::Carrier;
use self::contact::Contact;
pub use self::holdings::Holdings;
use self::holdings::KnownHoldings;
use self::keys::KnownKeys;
use self::offers::Listeners;
use self::progress::Jobs;
use self::sealing::{Lane, OpenEpoch};
pub(crate) use self::trades::Opening;
use crate::access::Access;
use crate::store::Store;
use crate::{Config, Error, Event, Kind, State, Status};

/// The chip's lane for what nobody in particular asked for. User ids have 32 bits.
const OWN_LANE: u64 = u64::MAX;

/// Events that a slow subscriber may be behind.
const EVENTS_KEPT: usize = 1024;

/// Everything that one agent is.
pub(crate) struct Engine {
    config: Config,
    pub(crate) access: Access,
    store: Store,
    pub(crate) hardware: Hardware,
    pub(crate) events: broadcast::Sender<Event>,
    status: Mutex<Status>,
    origins: Mutex<Origins>,
    jobs: Mutex<Jobs>,
    listeners: Mutex<Listeners>,
    lane: tokio::sync::Mutex<Lane>,
    /// Changed only by who holds the lane.
    open_epoch: Mutex<Option<Arc<OpenEpoch>>>,
    carrier: Mutex<Carrier>,
    /// Held while something to carry is chosen.
    choosing: tokio::sync::Mutex<()>,
    contact: Mutex<Contact>,
    attempts: Mutex<Attempts>,
    known_keys: Mutex<KnownKeys>,
    /// Held while something is made in a token.
    making: tokio::sync::Mutex<()>,
    known_holdings: Mutex<KnownHoldings>,
    /// A trade has changed.
    news: watch::Sender<()>,
    /// There is, or may be, something to carry.
    work: watch::Sender<()>,
    /// Something is not as it should be: settle it.
    unsettled: Notify,
    /// Something has been noted since things began to be settled.
    is_amiss: AtomicBool,
}

/// Servers' URLs, out of the enrolment links.
#[derive(Default)]
struct Origins {
    of_device: Option<String>,
    /// While an enrolment is under way.
    of_enrolment: Option<String>,
}

impl Engine {
    pub(crate) fn new(config: Config) -> Result<Engine, Error> {
        let access = Access::read(&config)?;
        let store = Store::open(&config)?;
        let hardware = config.hardware.open()?;
        Ok(Engine {
            access,
            store,
            hardware,
            events: broadcast::channel(EVENTS_KEPT).0,
            status: Mutex::new(first_status()),
            origins: Mutex::default(),
            jobs: Mutex::default(),
            listeners: Mutex::default(),
            lane: tokio::sync::Mutex::default(),
            open_epoch: Mutex::default(),
            carrier: Mutex::default(),
            choosing: tokio::sync::Mutex::default(),
            contact: Mutex::new(Contact::new(Instant::now())),
            attempts: Mutex::default(),
            known_keys: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            known_holdings: Mutex::default(),
            news: watch::channel(()).0,
            work: watch::channel(()).0,
            unsettled: Notify::new(),
            is_amiss: AtomicBool::new(false),
            config,
        })
    }

    pub(crate) fn is_token(&self) -> bool {
        self.config.hardware.is_token()
    }

    /// The chip, for what nobody in particular asked for.
    pub(crate) fn chip(&self) -> Chip {
        self.hardware.lane(OWN_LANE)
    }

    pub(crate) fn current_status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Where everything is carried to now.
    pub(crate) fn current_origin(&self) -> Option<String> {
        let origins = lock(&self.origins);
        origins.of_enrolment.as_ref().or(origins.of_device.as_ref()).cloned()
    }

    /// Whether what is carried now goes to the server that the device is enrolled with.
    fn is_carried_home(&self) -> bool {
        self.current_origin() == lock(&self.origins).of_device
    }

    fn set_state(&self, state: State, message: String) {
        self.set_state_if(|| true, state, message);
    }

    /// Where somebody else may set it at the same time: `may` is asked when nobody can.
    fn set_state_if(&self, may: impl FnOnce() -> bool, state: State, message: String) {
        let mut status = lock(&self.status);
        if !may() {
            return;
        }
        let is_new = status.state != state;
        (status.state, status.message) = (state, message);
        drop(status);
        if is_new {
            tracing::info!(state = state.word(), "the agent's state has changed");
            self.tell(Event::StateChanged(state));
        }
    }

    /// Sets the state that an error stands for, if it stands for one.
    pub(crate) fn note(&self, error: &Error) {
        if let Some(state) = State::of_error(error.kind) {
            // A kind's own words say less than what stands there already.
            if self.current_status().state != state || *error != Error::from(error.kind) {
                self.is_amiss.store(true, Ordering::SeqCst);
                self.set_state(state, error.to_string());
            }
            self.unsettled.notify_one();
        }
    }

    fn set_pending(&self, pending: u32) {
        lock(&self.status).pending = pending;
        self.work.send_replace(());
    }

    fn tell(&self, event: Event) {
        // Nobody need listen.
        let _ = self.events.send(event);
    }
}

/// What was held by a panicking thread is still good: nothing here is left half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix seconds, for people; nothing is decided by it.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn first_status() -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION"),
        state: State::NotEnrolled,
        message: Error::from(Kind::NotEnrolled).to_string(),
        assurance: String::new(),
        server_id: String::new(),
        pending: 0,
        last_contact: 0,
        max_message: u32::try_from(twinseal_scheme::trade::PAYLOAD_LEN_MAX).unwrap_or(u32::MAX),
    }
}
