//! Enrolment codes. Only a keyed hash of a code is stored.

use sqlx::FromRow;
use twinseal_scheme::id::DeviceId;

use super::{StoreError, Tx, Write};

/// A code, without what makes it one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Code {
    /// Names it.
    pub id: String,
    /// The operator's word.
    pub note: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// Unix seconds, once it is revoked.
    pub revoked_at: Option<i64>,
    /// Unix seconds, once it is used.
    pub used_at: Option<i64>,
    used_by: Option<Vec<u8>>,
}

impl Code {
    /// The device that used it.
    pub fn used_by(&self) -> Option<DeviceId> {
        self.used_by.as_deref().and_then(|id| id.try_into().ok()).map(DeviceId)
    }

    /// Whether it admits a device at this time.
    pub fn is_good(&self, now: u64) -> bool {
        self.revoked_at.is_none() && self.used_at.is_none() && now <= self.expires_at as u64
    }
}

impl Tx<'_> {
    /// All codes, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn codes(&mut self) -> Result<Vec<Code>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM codes ORDER BY created_at DESC, id");
        Ok(query.fetch_all(&mut *self.tx).await?)
    }

    /// The code with this text, used or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn code(&mut self, text: &str) -> Result<Option<Code>, StoreError> {
        let tag = self.code_tag(text);
        let query = sqlx::query_as("SELECT * FROM codes WHERE tag = $1").bind(tag);
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    fn code_tag(&self, text: &str) -> Vec<u8> {
        self.at_rest.tag("code", &[text.as_bytes()]).to_vec()
    }
}

impl Write<'_> {
    /// Stores a code.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_code(
        &mut self,
        id: &str,
        text: &str,
        note: &str,
        expires_at: u64,
    ) -> Result<(), StoreError> {
        let (tag, now) = (self.code_tag(text), self.now as i64);
        sqlx::query(
            "INSERT INTO codes (id, tag, note, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(tag)
        .bind(note)
        .bind(now)
        .bind(i64::try_from(expires_at).unwrap_or(i64::MAX))
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Revokes a code; false when there is none that could still be used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_code(&mut self, id: &str) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE codes SET revoked_at = $2 \
             WHERE id = $1 AND revoked_at IS NULL AND used_at IS NULL",
        )
        .bind(id)
        .bind(self.now as i64);
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }

    /// Makes everything void that lets somebody in: codes that could still be used, and serials
    /// that are expected.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_invitations(&mut self) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE codes SET revoked_at = $1 WHERE revoked_at IS NULL AND used_at IS NULL",
        )
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        sqlx::query("DELETE FROM registrations").execute(&mut *self.tx.tx).await?;
        Ok(())
    }

    /// Uses a code up; false when it is not good any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn use_code(&mut self, id: &str, device: &DeviceId) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE codes SET used_at = $2, used_by = $3 \
             WHERE id = $1 AND revoked_at IS NULL AND used_at IS NULL AND expires_at >= $2",
        )
        .bind(id)
        .bind(self.now as i64)
        .bind(device.0.to_vec());
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }
}
