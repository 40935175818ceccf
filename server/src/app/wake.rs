//! Waking those who wait for something to happen to a device or a trade.
//!
//! Only a hint: whoever is woken looks into the database again, and looks there now and then
//! anyway, because another replica may have done what he waits for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long nobody looks for himself.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Those who wait, by what they wait for.
pub(super) struct Wakes<K>(Mutex<HashMap<K, Weak<Notify>>>);

/// One who waits. What happens after it was made is not missed.
pub(super) struct Waiter {
    notify: Arc<Notify>,
}

impl<K: Eq + Hash> Wakes<K> {
    pub(super) fn new() -> Wakes<K> {
        Wakes(Mutex::new(HashMap::new()))
    }

    /// Begins to wait: call it before looking.
    pub(super) fn waiter(&self, key: K) -> Waiter {
        let mut wakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.retain(|_, notify| notify.strong_count() > 0);
        let notify = wakes.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        wakes.insert(key, Arc::downgrade(&notify));
        Waiter { notify }
    }

    /// Wakes everybody who waits for this.
    pub(super) fn wake(&self, key: &K) {
        let wakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = wakes.get(key).and_then(Weak::upgrade) {
            // A permit is kept for one who looks at this moment.
            notify.notify_one();
            notify.notify_waiters();
        }
    }
}

impl Waiter {
    /// Waits until woken, until it is time to look, or until the deadline; false at the deadline.
    pub(super) async fn wait(&self, deadline: Instant) -> bool {
        let look = deadline.min(Instant::now() + LOOK_EVERY);
        let _ = tokio::time::timeout_at(look, self.notify.notified()).await;
        Instant::now() < deadline
    }
}
