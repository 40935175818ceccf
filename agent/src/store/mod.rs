//! The agent's durable state: one SQLite file, and the only place with SQL.
//!
//! Whatever was said to be kept is on the disk (synchronous = FULL). What is secret or personal
//! is encrypted under the state key, which lies elsewhere.

mod cipher;
mod device;
mod enrolment;
mod inbox;
mod keys;
mod leftovers;
mod outbox;
mod trades;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior};

use self::cipher::Cipher;
use crate::{Config, Error, Kind};

pub(crate) use device::{Device, Standing};
pub(crate) use enrolment::Enrolment;
pub(crate) use outbox::{Epoch, OutRow, Sealed};
pub(crate) use trades::TradeRow;

const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i32 = 1;
/// More than there are statements here.
const STATEMENTS_KEPT: usize = 128;

/// A handle to the state; all clones are one.
#[derive(Clone)]
pub(crate) struct Store(Arc<Shared>);

struct Shared {
    connection: Mutex<Connection>,
    cipher: Cipher,
    /// As [`Store::changes`].
    changes: AtomicU64,
}

/// A transaction: all of it or nothing.
pub(crate) struct Tx<'a> {
    sql: Transaction<'a>,
    cipher: &'a Cipher,
}

impl Store {
    /// Opens the state folder, and makes it at first use.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] and [`Kind::Internal`] when folder, key or file cannot be used,
    /// or another agent uses them.
    pub(crate) fn open(config: &Config) -> Result<Store, Error> {
        let private = fs::create_dir_all(&config.state_dir).and_then(|()| {
            fs::set_permissions(&config.state_dir, fs::Permissions::from_mode(0o700))
        });
        private.map_err(|e| {
            Error::new(Kind::InvalidArgument, format!("{}: {e}", config.state_dir.display()))
                .and("correct state_dir, or its owner")
        })?;
        let cipher = Cipher::open(config)?;
        let mut connection = Connection::open(config.state_dir.join("state.sqlite"))?;
        // Exclusive: two agents on one state would seal twice under one number.
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        prepare(&mut connection, &cipher)?;
        let changes = AtomicU64::new(connection.total_changes());
        Ok(Store(Arc::new(Shared { connection: Mutex::new(connection), cipher, changes })))
    }

    /// Runs `work` in one transaction, durable when this returns. It runs to its end even when
    /// nobody awaits it any more.
    ///
    /// # Errors
    /// Those of `work`, after which nothing has changed; [`Kind::Internal`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || shared.run(work))
            .await
            .unwrap_or_else(|_| Err(Kind::Internal.into()))
    }

    /// How often anything has been changed. What was read after this number was seen is what is
    /// stored as long as it is the same; who has made a change sees another.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }
}

impl Tx<'_> {
    fn execute(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.sql.prepare_cached(sql)?.execute(values)
    }

    fn query_row<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.sql.prepare_cached(sql)?.query_row(values, read)
    }
}

impl Shared {
    fn run<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, Error>) -> Result<T, Error> {
        // A panic rolls its transaction back, so poison means nothing here.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx { sql, cipher: &self.cipher };
        let result = work(&tx)?;
        let changes = tx.sql.total_changes();
        tx.sql.commit()?;
        self.changes.store(changes, Ordering::Release);
        Ok(result)
    }
}

fn prepare(connection: &mut Connection, cipher: &Cipher) -> Result<(), Error> {
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let place = "key check";
    match version {
        0 => {
            sql.execute_batch(SCHEMA)?;
            let sealed = cipher.seal(place, b"")?;
            sql.execute("INSERT INTO key_check (id, sealed) VALUES (1, ?1)", [sealed])?;
            sql.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        SCHEMA_VERSION => {
            let sealed: Vec<u8> =
                sql.query_row("SELECT sealed FROM key_check", [], |row| row.get(0))?;
            cipher.open_value(place, &sealed)?;
        }
        _ => {
            return Err(Error::new(Kind::Internal, "the state is of a newer version")
                .and("install that version of the agent again"));
        }
    }
    Ok(sql.commit()?)
}

/// SQLite counts in signed numbers; ours keep their bits.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The damage of a stored value, which only somebody else than this agent can do.
fn damaged(what: &'static str) -> Error {
    Error::new(Kind::Internal, format!("the stored {what} is damaged"))
        .and("restore the state folder, or remove it and enrol again")
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        tracing::error!(%error, "the state store failed");
        let busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
        if busy {
            return Error::new(Kind::Internal, "another agent uses the state folder")
                .and("stop that one first");
        }
        Error::new(Kind::Internal, "the state store failed")
            .and("see the agent's log, and whether the disk is full")
    }
}
