//! Bells: who waits for something is woken when it comes.
//!
//! They are for speed only. Another process, or a replica, may change what is waited for without
//! ringing here, so whoever waits also looks by himself once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use twinseal_scheme::id::DeviceId;

use super::Error;

/// How often to look without having been rung.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bell {
    /// Something goes down to a device.
    Down(DeviceId),
    /// Something of a device has come up.
    Up(DeviceId),
    /// Something has come into the inbox.
    Inbox,
}

/// All bells that somebody listens to.
pub(super) struct Bells {
    listened: Mutex<HashMap<Bell, Arc<Notify>>>,
    stopping: watch::Sender<bool>,
}

impl Bells {
    pub(super) fn new() -> Bells {
        Bells { listened: Mutex::default(), stopping: watch::Sender::new(false) }
    }

    /// Ends all waiting, now and from now on.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Wakes whoever waits for this.
    pub(super) fn ring(&self, bell: Bell) {
        if let Some(notify) = self.lock().get(&bell) {
            notify.notify_waiters();
        }
    }

    /// How many wait for this now.
    pub(super) fn listeners(&self, bell: Bell) -> usize {
        // One is the map's own.
        self.lock().get(&bell).map_or(0, |notify| Arc::strong_count(notify) - 1)
    }

    /// Asks `look` until it finds something; `None` when the time is over.
    pub(super) async fn wait<T, F: Future<Output = Result<Option<T>, Error>>>(
        &self,
        bell: Bell,
        time: Duration,
        look: impl Fn() -> F,
    ) -> Result<Option<T>, Error> {
        let end = Instant::now() + time;
        let mut stopping = self.stopping.subscribe();
        let listener = self.listen(bell);
        loop {
            let mut rung = std::pin::pin!(listener.notify.notified());
            // From here on no ring is missed, whatever `look` sees.
            rung.as_mut().enable();
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if Instant::now() >= end || *stopping.borrow() {
                return Ok(None);
            }
            tokio::select! {
                () = rung => (),
                () = sleep_until(end.min(Instant::now() + LOOK_EVERY)) => (),
                _ = stopping.changed() => (),
            }
        }
    }

    fn listen(&self, bell: Bell) -> Listener<'_> {
        let notify = self.lock().entry(bell).or_default().clone();
        Listener { bells: self, bell, notify }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Bell, Arc<Notify>>> {
        self.listened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener<'a> {
    bells: &'a Bells,
    bell: Bell,
    notify: Arc<Notify>,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let mut listened = self.bells.lock();
        // The map's and this one: nobody else listens.
        if Arc::strong_count(&self.notify) == 2 {
            listened.remove(&self.bell);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const BELL: Bell = Bell::Inbox;

    #[tokio::test]
    async fn a_ring_wakes_and_nothing_is_left_behind() {
        let bells = Bells::new();
        let looks = AtomicUsize::new(0);
        // The first look finds nothing, and rings: the second one finds.
        let look = || async {
            match looks.fetch_add(1, Ordering::Relaxed) {
                0 => bells.ring(BELL),
                found => return Ok(Some(found)),
            }
            Ok(None)
        };
        let begun = Instant::now();
        assert_eq!(bells.wait(BELL, LOOK_EVERY, look).await.unwrap(), Some(1));
        assert!(begun.elapsed() < LOOK_EVERY, "it was not rung");
        assert!(bells.lock().is_empty());
    }

    #[tokio::test]
    async fn waiting_ends_with_its_time_and_with_the_server() {
        let bells = Bells::new();
        let nothing = || async { Ok(None::<()>) };
        assert_eq!(bells.wait(BELL, Duration::ZERO, nothing).await.unwrap(), None);
        bells.stop();
        assert_eq!(bells.wait(BELL, Duration::from_secs(600), nothing).await.unwrap(), None);
    }
}
