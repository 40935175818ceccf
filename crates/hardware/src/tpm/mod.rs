//! A TPM 2.0 through tpm2-tss, the only place that knows of it.
//!
//! One [`Tpm`] lives on the owner thread. It connects when it must, and what it does is spread
//! over the files here by the phase of a device's life; each adds methods to `Connection`.

mod application;
mod connection;
mod counter;
mod describe;
mod endorsement;
mod enrolment;
mod failure;
mod slots;
mod template;
mod work;

use crate::config::Config;
use crate::error::Error;
use connection::Connection;

/// The log target of the TSS crate. It reports as errors whatever a chip refuses, also where a
/// refusal is what was asked about; what matters of it comes as [`Error`].
pub const TSS_LOG_TARGET: &str = "tss_esapi";

/// A TPM that is connected to when it is needed.
pub(crate) struct Tpm {
    config: Config,
    connection: Option<Connection>,
}

impl Tpm {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, connection: None }
    }

    /// Takes out of the chip what is loaded, and begins anew with the next request.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Does `work`, and once more on a new connection when the old one turns out to be gone: the
    /// chip was reset or replugged, or its resource manager restarted. A new connection may meet
    /// a fault that passes, too: it is made anew once. `work` must be such that doing it twice
    /// does no harm.
    pub(crate) fn run<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let was_connected = self.connection.is_some();
        match self.attempt(&work) {
            Err(Error::Absent { .. }) => self.attempt(work),
            Err(error) if was_connected && failure::wants_new_connection(&error) => {
                self.attempt(work)
            }
            result => result,
        }
    }

    /// Does `work` once. After an error it may have been done or not.
    pub(crate) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = match self.connection.take() {
            Some(connection) => self.connection.insert(connection),
            None => self.connection.insert(Connection::open(&self.config)?),
        };
        let result = work(connection);
        if result.as_ref().is_err_and(failure::wants_new_connection) {
            self.connection = None;
        }
        result
    }
}
