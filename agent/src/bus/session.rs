//! Who calls: connections to the bus, and the users behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, OwnedUniqueName, UniqueName};

use crate::Caller;

/// Calls of one user that are worked on at a time. With more, the next is refused as busy, so
/// that one user cannot fill the agent's memory.
const CALLS_PER_USER: usize = 256;

/// A connection that has called, as long as it lives.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its unique name. The bus never gives it out again.
    pub name: OwnedUniqueName,
    /// The user, as the bus recorded it when the connection was made.
    pub uid: u32,
    /// The user's groups, from the same source; empty when the bus does not know all of them.
    pub groups: Arc<[u32]>,
    gone: watch::Receiver<bool>,
}

impl Session {
    /// The same for the agent.
    pub fn caller(&self) -> Caller {
        Caller { uid: self.uid, gids: self.groups.to_vec(), connection: self.name.to_string() }
    }

    /// Whether the connection has left the bus.
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Resolves when the connection has left the bus.
    pub async fn gone(&self) {
        // It fails only when there is no table any more, and so no connection.
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

/// All connections that have called and still live.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    entries: Mutex<HashMap<OwnedUniqueName, Arc<Entry>>>,
    calls: Mutex<HashMap<u32, Weak<Semaphore>>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    session: OnceCell<Session>,
    gone: watch::Sender<bool>,
}

impl Sessions {
    /// Notes that a connection has called. It costs no time, so it can be done in the order of
    /// arrival: what the bus says later about this connection finds the entry.
    pub(super) fn note(&self, name: &UniqueName<'_>) -> Arc<Entry> {
        let mut entries = locked(&self.entries);
        let entry = entries.entry(name.to_owned().into()).or_insert_with(|| {
            Arc::new(Entry { session: OnceCell::new(), gone: watch::Sender::new(false) })
        });
        Arc::clone(entry)
    }

    /// Who is behind a connection that was noted; asks the bus the first time.
    ///
    /// # Errors
    /// When the bus does not say: then the connection has left, or is nobody.
    pub(super) async fn identify(
        &self,
        bus: &Connection,
        name: &UniqueName<'_>,
        entry: &Entry,
    ) -> zbus::Result<Session> {
        let gone = entry.gone.subscribe();
        let session = entry.session.get_or_try_init(|| identify(bus, name, gone));
        session.await.cloned()
    }

    /// A place for one call of this user; `None` when all are taken.
    pub(super) fn admit(&self, uid: u32) -> Option<OwnedSemaphorePermit> {
        let mut calls = locked(&self.calls);
        let places = calls.get(&uid).and_then(Weak::upgrade).unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(CALLS_PER_USER));
            calls.retain(|_, places| places.strong_count() > 0);
            calls.insert(uid, Arc::downgrade(&places));
            places
        });
        places.try_acquire_owned().ok()
    }

    /// Forgets a connection that has left; everything that waits for [`Session::gone`] goes on.
    pub(super) fn leave(&self, name: &UniqueName<'_>) -> Option<Session> {
        let entry = locked(&self.entries).remove(name.as_str())?;
        entry.gone.send_replace(true);
        entry.session.get().cloned()
    }

    /// The connections of one user.
    pub(super) fn of_user(&self, uid: u32) -> Vec<OwnedUniqueName> {
        let entries = locked(&self.entries);
        let sessions = entries.values().filter_map(|entry| entry.session.get());
        sessions.filter(|session| session.uid == uid).map(|session| session.name.clone()).collect()
    }
}

async fn identify(
    bus: &Connection,
    name: &UniqueName<'_>,
    gone: watch::Receiver<bool>,
) -> zbus::Result<Session> {
    let bus = DBusProxy::new(bus).await?;
    let credentials = bus.get_connection_credentials(BusName::Unique(name.to_owned())).await?;
    let uid = credentials.unix_user_id().filter(|uid| *uid != u32::MAX);
    Ok(Session {
        name: name.to_owned().into(),
        uid: uid.ok_or_else(|| zbus::Error::Failure("the bus knows no user".to_owned()))?,
        groups: credentials.into_unix_group_ids().unwrap_or_default().into(),
        gone,
    })
}

/// The tables are whole between any two statements, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
