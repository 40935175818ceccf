//! A PKCS#11 token through the crate `cryptoki`, the only place that knows of it.
//!
//! One [`Token`] lives on the owner thread, so a module whose call hangs holds up that thread and
//! nobody else: whoever asks meanwhile gets [`Error::Deadline`]. It connects when it must, and
//! what it does is spread over the files here; each adds methods to `Connection`.
//!
//! What a token can do is tried, not believed: every key is used once when it is made and again
//! at each [`recognise`](crate::Lane::recognise), and the result is checked in software.

mod address;
mod connection;
mod failure;
mod keys;
mod making;
mod requests;
mod work;

pub use address::TokenAddress;
pub use failure::TokenFault;
pub use keys::{TokenKey, TokenKeys};

use crate::config::{AuthValue, Limits};
use crate::error::Error;
use connection::{Connection, Module};

/// Everything that is needed to open a token.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Which token, and the module that reaches it.
    pub address: TokenAddress,
    /// The PIN of its user.
    pub pin: AuthValue,
    /// How many requests may wait, and how long.
    pub limits: Limits,
}

/// A token that is connected to when it is needed.
pub(crate) struct Token {
    config: TokenConfig,
    module: Option<Module>,
    connection: Option<Connection>,
    /// Why its PIN is not to be tried again.
    refused: Option<TokenFault>,
}

impl Token {
    pub(crate) fn new(config: TokenConfig) -> Self {
        Self { config, module: None, connection: None, refused: None }
    }

    /// Closes the session, and begins anew with the next request.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Does `work`, and once more on a new connection when the old one turns out to be gone: the
    /// token was taken out and put back. `work` must be such that doing it twice does no harm.
    pub(crate) fn run<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let was_connected = self.connection.is_some();
        match self.attempt(&work) {
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
            None => {
                let connection = self.connect()?;
                self.connection.insert(connection)
            }
        };
        let result = work(connection);
        if result.as_ref().is_err_and(failure::wants_new_connection) {
            self.connection = None;
        }
        result
    }

    /// Logs in, but never twice with a PIN that was refused: a few times more would lock it.
    fn connect(&mut self) -> Result<Connection, Error> {
        if let Some(fault) = &self.refused {
            return Err(fault.clone().into());
        }
        let module = match self.module.take() {
            Some(module) => self.module.insert(module),
            None => self.module.insert(Module::load(&self.config.address)?),
        };
        let connected = module.connect(&self.config.address, &self.config.pin);
        if let Err(Error::Token(fault)) = &connected
            && fault.is_about_the_pin()
        {
            self.refused = Some(fault.clone());
        }
        connected
    }
}
