//! The record of who changed what, written together with the change.

use twinseal_scheme::id::DeviceId;

use super::{StoreError, Tx, Write};

/// What a change was. It names no serial and no user information.
#[derive(Clone, Debug)]
pub struct Entry {
    action: &'static str,
    device: Option<DeviceId>,
    subject: String,
}

impl Entry {
    /// An action, such as `code.create`, and what it was done to.
    pub fn new(action: &'static str, subject: impl Into<String>) -> Entry {
        Entry { action, device: None, subject: subject.into() }
    }

    /// The same, of a device.
    pub fn of(action: &'static str, device: DeviceId, subject: impl Into<String>) -> Entry {
        Entry { action, device: Some(device), subject: subject.into() }
    }
}

/// An entry that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Counts entries.
    pub id: i64,
    /// Unix seconds.
    pub at: i64,
    /// Who: [`super::Caller`] in text.
    pub caller: String,
    /// What.
    pub action: String,
    /// Which device, in hexadecimal digits.
    pub device: Option<String>,
    /// To what.
    pub subject: String,
}

impl Write<'_> {
    /// One more entry, where a change is more than one thing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&mut self, entry: Entry) -> Result<(), StoreError> {
        let (caller, now) = (self.caller.to_string(), self.now as i64);
        sqlx::query(
            "INSERT INTO audit (at, caller, action, device, subject) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(now)
        .bind(caller)
        .bind(entry.action)
        .bind(entry.device.map(|device| device.0.to_vec()))
        .bind(entry.subject)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

impl Tx<'_> {
    /// The number of the last entry; 0 when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_audit(&mut self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT COALESCE(max(id), 0) FROM audit");
        Ok(query.fetch_one(&mut *self.tx).await?)
    }

    /// The entries after one, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(&mut self, after: i64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let rows: Vec<(i64, i64, String, String, Option<String>, String)> = sqlx::query_as(
            "SELECT id, at, caller, action, lower(hex(device)), subject FROM audit \
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        let row = |(id, at, caller, action, device, subject)| AuditRow {
            id,
            at,
            caller,
            action,
            device,
            subject,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}
