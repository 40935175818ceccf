//! Everything durable, and all SQL of the server.
//!
//! A file for each aggregate. Every method can fail with [`StoreError`]. What only reads is a method of [`Tx`], what changes something a
//! method of [`Write`]. A [`Write`] is made for a [`Caller`] and can only be committed together
//! with an audit [`Entry`], so there is no change of which nobody knows who made it.
//!
//! Nothing outside knows that this is SQLite. Its settings make a commit durable before it
//! returns, and writers take turns.

mod api_keys;
mod audit;
mod bonds;
mod caller;
mod codes;
mod devices;
mod ek_certificates;
mod enrolments;
mod epochs;
mod inbox;
mod messages;
mod registrations;
mod settings;
mod trades;
mod uplinks;

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Sqlite, Transaction};

use crate::at_rest::{AtRest, Unreadable};
use crate::clock::now_unix_seconds;

pub use api_keys::{ApiKey, NewApiKey};
pub use audit::{AuditRow, Entry};
pub use bonds::{Attester, Standing};
pub use caller::Caller;
pub use codes::Code;
pub use devices::{Device, DeviceFilter};
pub use ek_certificates::EkCertificate;
pub use enrolments::{Enrolment, EnrolmentLimits, StoredGrant, StoredOffer};
pub use epochs::{Agreement, Epoch};
pub use inbox::Delivery;
pub use messages::{MessageKey, StoredMessage};
pub use registrations::Registration;
pub use settings::PUBLIC_URL;
pub use trades::{StoredTrade, TradeFilter, stage_word};
pub use uplinks::Uplink;

/// The database's file in the data folder.
pub const FILE_NAME: &str = "twinseal.sqlite";

const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "first", include_str!("schema/0001_first.sql"))];
const READERS_MAX: u32 = 4;
/// How long a writer waits for one in another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong with stored things.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("the database cannot be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A value does not open under the at-rest key.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A row that this server never writes.
    #[error("the database holds an impossible value in {0}")]
    Corrupt(&'static str),
}

impl StoreError {
    /// Whether a key that must be unique exists already.
    pub fn is_conflict(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => error.is_unique_violation(),
            _ => false,
        }
    }
}

/// The database.
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    at_rest: AtRest,
}

/// A consistent view of the database.
pub struct Tx<'s> {
    tx: Transaction<'static, Sqlite>,
    at_rest: &'s AtRest,
}

/// A change in the making. Dropping it undoes it.
pub struct Write<'s> {
    tx: Tx<'s>,
    caller: Caller,
    now: u64,
}

impl Store {
    /// Makes the database in a folder that has none.
    ///
    /// # Errors
    /// [`StoreError`]; also when it exists.
    pub async fn create(folder: &Path, at_rest: AtRest) -> Result<Store, StoreError> {
        let path = folder.join(FILE_NAME);
        // The file comes into being here, for its owner only, and never over another.
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.write(true).create_new(true).open(&path).map_err(sqlx::Error::Io)?;
        Store::open(folder, at_rest).await
    }

    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(folder: &Path, at_rest: AtRest) -> Result<Store, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE_NAME))
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        // A transaction that SQLite has ended by itself, because the disk failed, cannot be rolled
        // back, and the library would take it for open for ever: such a connection is given up.
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).before_acquire(|connection, _| {
                let is_clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_clean) })
            })
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        migrator().run(&writer).await?;
        let readers = pool(READERS_MAX).connect_with(options).await?;
        Ok(Store { writer, readers, at_rest })
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn read(&self) -> Result<Tx<'_>, StoreError> {
        Ok(Tx { tx: self.readers.begin().await?, at_rest: &self.at_rest })
    }

    /// Begins to change something; waits for its turn.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn write(&self, caller: &Caller) -> Result<Write<'_>, StoreError> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let tx = Tx { tx, at_rest: &self.at_rest };
        Ok(Write { tx, caller: caller.clone(), now: now_unix_seconds() })
    }

    /// Closes the database's files, after everything else has ended.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Write<'_> {
    /// The time of the change, unix seconds: one for all its rows.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Makes the change durable, with the record of who made it.
    ///
    /// # Errors
    /// [`StoreError::Database`]: nothing has changed.
    pub async fn commit(mut self, entry: Entry) -> Result<(), StoreError> {
        self.record(entry).await?;
        Ok(self.tx.tx.commit().await?)
    }
}

impl<'s> std::ops::Deref for Write<'s> {
    type Target = Tx<'s>;

    fn deref(&self) -> &Tx<'s> {
        &self.tx
    }
}

impl std::ops::DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tx
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}
