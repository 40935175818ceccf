//! Whose turn it is: a bounded queue that is fair between callers.
//!
//! Every caller has a lane of his own. The owner thread takes one request from each lane in turn,
//! so a caller with a thousand waiting requests delays another's single one by at most one request
//! for each other caller.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;
use crate::error::Error;

/// Who is asking: any number that is the same for the same party, such as a UID.
pub type Caller = u64;

pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    filled: Condvar,
    limits: Limits,
}

/// A place in the queue. It stays valid after the request has been taken out; then it names none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    caller: Caller,
    number: u64,
}

struct State<J> {
    lanes: HashMap<Caller, VecDeque<(u64, J)>>,
    /// The callers who have something waiting, each once, the next to be served in front.
    turns: VecDeque<Caller>,
    waiting: usize,
    next_number: u64,
    closed: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                lanes: HashMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
                next_number: 0,
                closed: false,
            }),
            filled: Condvar::new(),
            limits,
        }
    }

    /// Puts a request behind the others of the same caller.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue or the caller's lane is full, [`Error::Cancelled`] when the
    /// queue is closed.
    pub(crate) fn push(&self, caller: Caller, job: J) -> Result<Ticket, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Cancelled);
        }
        if state.waiting >= self.limits.waiting {
            return Err(Error::Busy);
        }
        let number = state.next_number;
        let lane = state.lanes.entry(caller).or_default();
        let first = lane.is_empty();
        if lane.len() >= self.limits.waiting_per_caller {
            return Err(Error::Busy);
        }
        lane.push_back((number, job));
        state.next_number += 1;
        state.waiting += 1;
        if first {
            state.turns.push_back(caller);
        }
        drop(state);
        self.filled.notify_one();
        Ok(Ticket { caller, number })
    }

    /// Takes a waiting request out; does nothing when it is no longer waiting.
    pub(crate) fn remove(&self, ticket: Ticket) {
        let mut state = self.lock();
        let Some(lane) = state.lanes.get_mut(&ticket.caller) else {
            return;
        };
        // Numbers only grow along a lane.
        let Ok(place) = lane.binary_search_by_key(&ticket.number, |(number, _)| *number) else {
            return;
        };
        lane.remove(place);
        if lane.is_empty() {
            state.lanes.remove(&ticket.caller);
            state.turns.retain(|caller| *caller != ticket.caller);
        }
        state.waiting -= 1;
    }

    /// The next request in turn; waits for one. `None` once the queue is closed.
    pub(crate) fn pop(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.take_turn() {
                return Some(job);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets nobody in any more and drops whatever waits.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.turns.clear();
        state.waiting = 0;
        let dropped = std::mem::take(&mut state.lanes);
        drop(state);
        drop(dropped);
        self.filled.notify_all();
    }

    /// A panic elsewhere cannot leave the state half changed, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn take_turn(&mut self) -> Option<J> {
        let caller = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&caller)?;
        let (_, job) = lane.pop_front()?;
        if lane.is_empty() {
            self.lanes.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        self.waiting -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn queue(waiting: usize, waiting_per_caller: usize) -> Queue<(Caller, u32)> {
        Queue::new(Limits { waiting, waiting_per_caller, ..Limits::default() })
    }

    fn fill(queue: &Queue<(Caller, u32)>, caller: Caller, count: u32) -> Vec<Ticket> {
        (0..count).map(|n| queue.push(caller, (caller, n)).unwrap()).collect()
    }

    #[test]
    fn callers_take_turns_and_each_keeps_his_order() {
        let queue = queue(100, 100);
        fill(&queue, 1, 3);
        fill(&queue, 2, 1);
        fill(&queue, 3, 2);
        let order: Vec<_> = (0..6).map(|_| queue.pop().unwrap()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2)]);
    }

    #[test]
    fn a_late_single_request_waits_for_one_of_a_thousand() {
        let queue = queue(2000, 1000);
        fill(&queue, 1, 1000);
        queue.pop().unwrap();
        fill(&queue, 2, 1);
        let place = (0..).find(|_| queue.pop().unwrap().0 == 2).unwrap();
        assert!(place <= 1, "served after {place} others");
    }

    #[test]
    fn a_full_lane_is_busy_and_others_are_let_in() {
        let queue = queue(4, 3);
        let tickets = fill(&queue, 1, 3);
        assert_eq!(queue.push(1, (1, 9)).unwrap_err(), Error::Busy);
        fill(&queue, 2, 1);
        assert_eq!(queue.push(2, (2, 9)).unwrap_err(), Error::Busy);
        queue.remove(*tickets.first().unwrap());
        queue.push(2, (2, 1)).unwrap();
    }

    #[test]
    fn a_removed_request_is_never_served_and_leaves_no_empty_turn() {
        let queue = queue(100, 100);
        let first = fill(&queue, 1, 3);
        let second = fill(&queue, 2, 1);
        queue.remove(*first.get(1).unwrap());
        queue.remove(*second.first().unwrap());
        queue.remove(*second.first().unwrap());
        fill(&queue, 2, 1);
        let order: Vec<_> = (0..3).map(|_| queue.pop().unwrap()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 2)]);
        assert_eq!(queue.lock().waiting, 0);
        assert!(queue.lock().lanes.is_empty() && queue.lock().turns.is_empty());
    }

    #[test]
    fn a_closed_queue_drops_what_waits_and_refuses_more() {
        let queue = queue(100, 100);
        let ticket = *fill(&queue, 1, 1).first().unwrap();
        queue.close();
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.push(1, (1, 1)).unwrap_err(), Error::Cancelled);
        queue.remove(ticket);
    }
}
