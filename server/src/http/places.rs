//! Places for connections. When all are taken, a newcomer gets the place of the connection that
//! has kept the server waiting longest: whoever only holds connections keeps nobody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// A connection has begun to keep the server waiting.
    waits: Arc<Notify>,
}

#[derive(Default)]
struct Taken {
    last: u64,
    by_number: HashMap<u64, Arc<Place>>,
}

/// What one connection does. It begins with keeping the server waiting.
pub(super) struct Place {
    waiting_since: Mutex<Option<Instant>>,
    ended: Notify,
    waits: Arc<Notify>,
}

/// A place that is free again when this is dropped.
pub(super) struct Holding {
    pub(super) place: Arc<Place>,
    number: u64,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Places> {
        Arc::new(Places {
            free: Arc::new(Semaphore::new(max)),
            taken: Mutex::default(),
            waits: Arc::new(Notify::new()),
        })
    }

    /// A place, as soon as one is free or can be taken from another. `None` when there will be
    /// no more.
    pub(super) async fn take(self: &Arc<Places>) -> Option<Holding> {
        loop {
            let waits = self.waits.notified();
            let free = self.free.clone();
            if free.available_permits() == 0 && !self.end_one() {
                // Everybody is being worked for.
                tokio::select! {
                    permit = free.acquire_owned() => return Some(self.hold(permit.ok()?)),
                    () = waits => continue,
                }
            }
            return Some(self.hold(free.acquire_owned().await.ok()?));
        }
    }

    fn hold(self: &Arc<Places>, permit: OwnedSemaphorePermit) -> Holding {
        let place = Arc::new(Place {
            waiting_since: Mutex::new(Some(Instant::now())),
            ended: Notify::new(),
            waits: self.waits.clone(),
        });
        let mut taken = locked(&self.taken);
        taken.last += 1;
        let number = taken.last;
        taken.by_number.insert(number, place.clone());
        Holding { place, number, places: self.clone(), _permit: permit }
    }

    /// Ends the connection that has kept the server waiting longest, if one does.
    fn end_one(&self) -> bool {
        let mut taken = locked(&self.taken);
        let waiting = taken
            .by_number
            .iter()
            .filter_map(|(number, place)| Some(((*locked(&place.waiting_since))?, *number)));
        let Some((_, number)) = waiting.min() else { return false };
        if let Some(place) = taken.by_number.remove(&number) {
            place.ended.notify_one();
        }
        true
    }
}

impl Place {
    /// A request is here as a whole, and is worked on.
    pub(super) fn works(&self) {
        *locked(&self.waiting_since) = None;
    }

    /// It is answered; the next one is waited for.
    pub(super) fn waits(&self) {
        *locked(&self.waiting_since) = Some(Instant::now());
        self.waits.notify_one();
    }

    /// Resolves when another is to have the place.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        locked(&self.places.taken).by_number.remove(&self.number);
    }
}

/// What is locked here is whole between any two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn is_ended(holding: &Holding) -> bool {
        !locked(&holding.places.taken).by_number.contains_key(&holding.number)
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_who_has_waited_longest() {
        let places = Places::new(3);
        let [first, second, third] =
            [places.take().await, places.take().await, places.take().await].map(Option::unwrap);
        first.place.works();
        first.place.waits();
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.take().await.unwrap() }
        });
        second.place.ended().await;
        assert!(!is_ended(&first) && !is_ended(&third));
        drop(second);
        newcomer.await.unwrap();
    }

    #[tokio::test]
    async fn who_is_worked_for_is_not_ended_until_he_waits() {
        let places = Places::new(1);
        let only = places.take().await.unwrap();
        only.place.works();
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.take().await.unwrap() }
        });
        while Arc::strong_count(&places) < 3 {
            tokio::task::yield_now().await;
        }
        assert!(!is_ended(&only));
        only.place.waits();
        only.place.ended().await;
        drop(only);
        newcomer.await.unwrap();
    }
}
