//! What the server does, as plain functions: HTTP and the command line call them alike.

pub mod api_keys;
pub mod codes;
mod device;
mod enrol;
mod error;
mod setup;

pub use device::Kind;
pub use error::Error;
pub use setup::{Folders, OpenError, init};

use std::sync::Arc;

use tokio::sync::watch;
use twinseal_scheme::cose::Unsigned;
use twinseal_scheme::id::ServerId;
use twinseal_scheme::server_keys::ServerKeys;

use crate::at_rest::AtRest;
use crate::http::Limits;
use crate::keys::ServerSecrets;
use crate::store::Store;

/// A server: its database, its keys, and what it remembers for speed only.
pub struct App {
    /// The database.
    pub store: Store,
    /// What peers may use up.
    pub limits: Limits,
    secrets: Arc<ServerSecrets>,
    server_keys: ServerKeys,
    statement: Vec<u8>,
    stopping: watch::Sender<bool>,
}

impl App {
    /// Opens what [`init`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(folders: &Folders, limits: Limits) -> Result<App, OpenError> {
        folders.check()?;
        let secrets = ServerSecrets::load(&folders.secrets)?;
        let store = Store::open(&folders.data, AtRest::new(secrets.at_rest_key())).await?;
        let statement = store.read().await?.statement().await?;
        let server_keys = ServerKeys::verify(&statement, &secrets.server_id())
            .map_err(|_| OpenError::OtherKeys)?;
        if server_keys != secrets.server_keys(server_keys.sequence, server_keys.min_sequence) {
            return Err(OpenError::OtherKeys);
        }
        Ok(App {
            store,
            limits,
            secrets: Arc::new(secrets),
            server_keys,
            statement,
            stopping: watch::Sender::new(false),
        })
    }

    /// The server's name, that devices pin.
    pub fn server_id(&self) -> ServerId {
        self.server_keys.server_id()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error`] when it does not.
    pub async fn is_ready(&self) -> Result<(), Error> {
        self.store.read().await?.statement().await?;
        Ok(())
    }

    /// Ends all waiting, since the server is about to stop.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Signs with the server's signing key.
    fn sign(&self, unsigned: Unsigned) -> Result<Vec<u8>, Error> {
        let signature = self.secrets.signing.sign(unsigned.to_sign())?;
        Ok(unsigned.finish(&signature))
    }
}
