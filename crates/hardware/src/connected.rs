//! A chip that is connected to when it is needed, and once more when the connection turns out to
//! be gone: the same for both kinds of chip.

use crate::error::Error;

/// How one sort of chip is reached.
pub(crate) trait Connect {
    /// What works on the chip.
    type Connection;

    /// Makes a new connection.
    fn connect(&mut self) -> Result<Self::Connection, Error>;

    /// Whether after this error a connection is of no use any more.
    fn is_gone(error: &Error) -> bool;

    /// Whether what has failed with this error may succeed on a new connection. `was_connected`:
    /// the one on which it failed was not new.
    fn may_pass(error: &Error, was_connected: bool) -> bool;

    /// Ends a connection that is gone.
    fn end(&mut self, connection: Self::Connection, _error: &Error) {
        drop(connection);
    }
}

/// The chip behind `C`, connected to or not.
pub(crate) struct Connected<C: Connect> {
    way: C,
    connection: Option<C::Connection>,
}

impl<C: Connect> Connected<C> {
    pub(crate) fn by(way: C) -> Self {
        Self { way, connection: None }
    }

    /// The way to it.
    pub(crate) fn way_mut(&mut self) -> &mut C {
        &mut self.way
    }

    /// The connection, where there is one.
    pub(crate) fn connection(&self) -> Option<&C::Connection> {
        self.connection.as_ref()
    }

    /// Ends the connection, and begins anew with the next request.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Does `work`, and once more on a new connection when the old one turns out to be gone: the
    /// chip was reset or replugged, or what stands between has ended. `work` must be such that
    /// doing it twice does no harm.
    pub(crate) fn run<T>(
        &mut self,
        work: impl Fn(&mut C::Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let was_connected = self.connection.is_some();
        match self.attempt(&work) {
            Err(error) if C::may_pass(&error, was_connected) => self.attempt(work),
            result => result,
        }
    }

    /// Does `work` once. After an error it may have been done or not.
    pub(crate) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut C::Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.way.connect()?,
        };
        let result = work(&mut connection);
        match &result {
            Err(error) if C::is_gone(error) => self.way.end(connection, error),
            _ => self.connection = Some(connection),
        }
        result
    }
}
