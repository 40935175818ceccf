//! What was decided at `init`, and the statements of the server's keys.

use super::{StoreError, Tx, Write};

/// The setting of [`Tx::setting`] that holds the origin devices reach the server under.
pub const PUBLIC_URL: &str = "public-url";

impl Tx<'_> {
    /// A setting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn setting(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name);
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    /// The newest `server_keys` statement, as signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statement(&mut self) -> Result<Vec<u8>, StoreError> {
        let query =
            sqlx::query_scalar("SELECT statement FROM server_keys ORDER BY sequence DESC LIMIT 1");
        Ok(query.fetch_one(&mut *self.tx).await?)
    }
}

impl Write<'_> {
    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Adds a `server_keys` statement.
    ///
    /// # Errors
    /// [`StoreError`]; a conflict when there is one with this sequence.
    pub async fn add_statement(&mut self, sequence: u64, bytes: &[u8]) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO server_keys (sequence, statement) VALUES ($1, $2)")
            .bind(sequence as i64)
            .bind(bytes)
            .execute(&mut *self.tx.tx)
            .await?;
        Ok(())
    }
}
