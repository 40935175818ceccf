//! What the server does, as plain functions: HTTP and the command line call them alike.

mod admission;
pub mod api_keys;
mod attestations;
mod bells;
pub mod codes;
mod confirm;
mod decoy;
mod device;
mod devices;
mod enrol;
mod epochs;
mod error;
mod fetch;
mod inbox;
mod ledger;
mod open_epoch;
mod policy;
mod receive;
mod restored;
mod setup;
mod trades;

pub use attestations::Attested;
pub use device::Kind;
pub use error::Error;
pub use inbox::InboxMessage;
pub use policy::Policy;
pub use restored::{Decision, Recovered};
pub use setup::{Folders, OpenError, init};
pub use trades::{Message, Opening};

use std::sync::Arc;

use tokio::sync::Semaphore;
use twinseal_scheme::cose::Unsigned;
use twinseal_scheme::id::ServerId;
use twinseal_scheme::server_keys::ServerKeys;

use self::bells::Bells;
use self::decoy::Decoy;
use self::epochs::Epochs;
use crate::at_rest::AtRest;
use crate::http::Limits;
use crate::keys::ServerSecrets;
use crate::mark::Mark;
use crate::store::Store;

/// A server: its database, its keys, and what it remembers for speed only.
pub struct App {
    /// The database.
    pub store: Store,
    /// What peers may use up.
    pub limits: Limits,
    policy: Policy,
    secrets: Arc<ServerSecrets>,
    server_keys: ServerKeys,
    statement: Vec<u8>,
    decoy: Decoy,
    epochs: Epochs,
    bells: Bells,
    mark: Mark,
    polls: Semaphore,
    processors: Semaphore,
}

impl App {
    /// Opens what [`init`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(folders: &Folders, limits: Limits, policy: Policy) -> Result<App, OpenError> {
        folders.check()?;
        let secrets = ServerSecrets::load(&folders.secrets)?;
        let store = Store::open(&folders.data, AtRest::new(secrets.at_rest_key())).await?;
        let statement = store.read().await?.statement().await?;
        let server_keys = ServerKeys::verify(&statement, &secrets.server_id())
            .map_err(|_| OpenError::OtherKeys)?;
        if server_keys != secrets.server_keys(server_keys.sequence, server_keys.min_sequence) {
            return Err(OpenError::OtherKeys);
        }
        let server_id = server_keys.server_id();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(App {
            store,
            limits,
            policy,
            secrets: Arc::new(secrets),
            server_keys,
            statement,
            decoy: Decoy::new(server_id),
            epochs: Epochs::default(),
            bells: Bells::new(),
            mark: Mark::of(&folders.secrets),
            polls: Semaphore::new(limits.polls_max),
            processors: Semaphore::new(2 * processors),
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
        self.bells.stop();
    }

    /// Signs with the server's signing key.
    fn sign(&self, unsigned: Unsigned) -> Result<Vec<u8>, Error> {
        let signature = self.secrets.signing.sign(unsigned.to_sign())?;
        Ok(unsigned.finish(&signature))
    }

    /// Runs arithmetic beside the reactor, a bounded number of pieces at a time.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self.processors.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}
