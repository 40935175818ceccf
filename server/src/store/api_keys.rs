//! The keys of back ends: what they may do, and for which services.

use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{StoreError, Tx, Write};

/// An API key, without its secret, which is not stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ApiKey {
    /// Names it in audit entries and in the key itself.
    pub id: String,
    /// For people.
    pub name: String,
    hash: Vec<u8>,
    scopes: String,
    services: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, once it is revoked.
    pub revoked_at: Option<i64>,
}

/// A key to be stored.
pub struct NewApiKey<'a> {
    /// See [`ApiKey::id`].
    pub id: &'a str,
    /// For people.
    pub name: &'a str,
    /// The secret; its SHA-256 is stored. It has 256 bits, so a slow hash would add nothing.
    pub secret: &'a [u8; 32],
    /// Words.
    pub scopes: &'a [String],
    /// Patterns: a name, a prefix that ends in `.*`, or `*`.
    pub services: &'a [String],
}

impl ApiKey {
    /// Whether this is its secret; in constant time.
    pub fn has_secret(&self, secret: &[u8; 32]) -> bool {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        subtle::ConstantTimeEq::ct_eq(self.hash.as_slice(), &hash[..]).into()
    }

    /// What it may do.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.split_ascii_whitespace()
    }

    /// Whom it may do it for.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.split_ascii_whitespace()
    }
}

impl Tx<'_> {
    /// A key by its id, also a revoked one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_key(&mut self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM api_keys WHERE id = $1").bind(id);
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_keys(&mut self) -> Result<Vec<ApiKey>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM api_keys ORDER BY created_at, id");
        Ok(query.fetch_all(&mut *self.tx).await?)
    }
}

impl Write<'_> {
    /// Stores a key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_api_key(&mut self, key: &NewApiKey<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, services, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(key.id)
        .bind(key.name)
        .bind(Sha256::digest(key.secret).to_vec())
        .bind(key.scopes.join(" "))
        .bind(key.services.join(" "))
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Revokes a key; false when there is none, or it is revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_api_key(&mut self, id: &str) -> Result<bool, StoreError> {
        let query =
            sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                .bind(id)
                .bind(self.now as i64);
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }
}
