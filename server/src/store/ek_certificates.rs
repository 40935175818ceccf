//! The certificate authorities of endorsement keys that the operator trusts or supplies.

use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{StoreError, Tx, Write};

/// A certificate of the operator's.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct EkCertificate {
    /// SHA-256 of it, in hexadecimal digits.
    pub id: String,
    /// `root` or `intermediate`.
    pub kind: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// Unix seconds.
    pub added_at: i64,
}

impl Tx<'_> {
    /// All of them, the oldest first.
    pub async fn ek_certificates(&mut self) -> Result<Vec<EkCertificate>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM ek_certificates ORDER BY added_at, id");
        Ok(query.fetch_all(&mut *self.tx).await?)
    }
}

impl Write<'_> {
    /// Adds a certificate, and gives its id. Adding it again changes its kind.
    pub async fn put_ek_certificate(
        &mut self,
        kind: &str,
        der: &[u8],
    ) -> Result<String, StoreError> {
        let id: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
        sqlx::query(
            "INSERT INTO ek_certificates (id, kind, der, added_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET kind = excluded.kind",
        )
        .bind(id.clone())
        .bind(kind)
        .bind(der)
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(id)
    }
}
