//! One thread owns the chip; everybody else hands it requests and awaits the answers.
//!
//! A TPM does one thing at a time and its library's context belongs to one thread, so a queue and
//! a thread lose nothing, and no caller ever blocks an async executor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use twinseal_scheme::wiping_stack;

use crate::config::Limits;
use crate::error::Error;
use crate::queue::{Caller, Queue, Ticket};

/// What a request may leave on the stack, bytes: the TSS library's structures have some thousands.
pub(crate) const REQUEST: usize = 128 * 1024;

type Job<B> = Box<dyn FnOnce(&mut B) + Send>;

/// The thread that owns a `B`, and the queue in front of it. Ends when it is dropped or closed.
pub(crate) struct Owner<B> {
    queue: Arc<Queue<Job<B>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<B: 'static> Owner<B> {
    /// Starts the thread. `make` runs on it, so `B` need not be `Send`; and again after a panic
    /// in a request, whose other effects are unknown.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub(crate) fn start(
        limits: Limits,
        make: impl Fn() -> B + Send + 'static,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(limits));
        let served = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("twinseal-chip".to_owned())
            .spawn(move || serve(&served, make))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Has `work` done on the owner thread when `caller`'s turn comes, and awaits its answer.
    ///
    /// When the returned future is dropped, or `deadline` passes, a request that still waits is
    /// taken out of the queue.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Busy`], [`Error::Deadline`], [`Error::Cancelled`].
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        caller: Caller,
        deadline: Duration,
        work: impl FnOnce(&mut B) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, reply) = oneshot::channel();
        let job: Job<B> = Box::new(move |owned| {
            // Nobody listens any more: do not wear the chip out for it.
            if !answer.is_closed() {
                let _ = answer.send(work(owned));
            }
        });
        let _place = Place { ticket: self.queue.push(caller, job)?, queue: &self.queue };
        match tokio::time::timeout(deadline, reply).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Cancelled),
            Err(_) => Err(Error::Deadline),
        }
    }

    /// Drops what waits, lets the request in work finish, and awaits the end of the thread, which
    /// takes everything it has loaded out of the chip.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl<B> Drop for Owner<B> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A request's place in the queue, given up when the one who asked goes away.
struct Place<'a, J> {
    queue: &'a Queue<J>,
    ticket: Ticket,
}

impl<J> Drop for Place<'_, J> {
    fn drop(&mut self) {
        self.queue.remove(self.ticket);
    }
}

fn serve<B>(queue: &Queue<Job<B>>, make: impl Fn() -> B) {
    let mut owned = make();
    while let Some(job) = queue.pop() {
        let job = AssertUnwindSafe(|| job(&mut owned));
        if wiping_stack::<REQUEST, _>(|| catch_unwind(job)).is_err() {
            tracing::error!("a request to the chip panicked; starting over with a new connection");
            owned = make();
        }
    }
}
