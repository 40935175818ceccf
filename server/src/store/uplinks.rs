//! Envelopes from devices, and the answer that each got: the same bytes get it again.

use twinseal_scheme::message::Route;

use super::{StoreError, Tx, Write};

/// An envelope that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// The answer, as it was sent.
    pub answer: Vec<u8>,
}

impl Tx<'_> {
    /// What was answered under the number of this route.
    pub async fn uplink(&mut self, route: &Route) -> Result<Option<Uplink>, StoreError> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT hash, answer FROM uplinks \
             WHERE device = $1 AND generation = $2 AND epoch = $3 AND seq = $4",
        )
        .bind(route.device_id.0.to_vec())
        .bind(route.generation)
        .bind(route.epoch as i64)
        .bind(route.seq)
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((hash, answer)) = row else { return Ok(None) };
        let hash = hash.try_into().map_err(|_| StoreError::Corrupt("uplinks.hash"))?;
        Ok(Some(Uplink { hash, answer }))
    }
}

impl Write<'_> {
    /// Stores an answer. A conflict when another request was faster.
    pub async fn add_uplink(&mut self, route: &Route, uplink: &Uplink) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO uplinks (device, generation, epoch, seq, hash, answer, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(route.device_id.0.to_vec())
        .bind(route.generation)
        .bind(route.epoch as i64)
        .bind(route.seq)
        .bind(uplink.hash.to_vec())
        .bind(uplink.answer.clone())
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}
