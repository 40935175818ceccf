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
use crate::connected::{Connect, Connected};
use crate::error::Error;
use connection::Connection;

/// The log target of the TSS crate. It reports as errors whatever a chip refuses, also where a
/// refusal is what was asked about; what matters of it comes as [`Error`].
pub const TSS_LOG_TARGET: &str = "tss_esapi";

/// A TPM that is connected to when it is needed.
pub(crate) type Tpm = Connected<Config>;

impl Connect for Config {
    type Connection = Connection;

    fn connect(&mut self) -> Result<Connection, Error> {
        Connection::open(self)
    }

    fn is_gone(error: &Error) -> bool {
        failure::wants_new_connection(error)
    }

    /// A new connection may meet a fault that passes, too.
    fn may_pass(error: &Error, was_connected: bool) -> bool {
        matches!(error, Error::Absent { .. }) || (was_connected && Self::is_gone(error))
    }
}
