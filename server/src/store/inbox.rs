//! What applications on devices have sent, for back ends, in the order in which it counted.

use sqlx::FromRow;
use twinseal_scheme::id::{DeviceId, TradeId};
use twinseal_scheme::trade::{Content, Index};

use super::devices::device_id;
use super::{StoreError, Tx, Write};

/// A message that waits for a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the inbox; grows.
    pub position: i64,
    /// From whom.
    pub device: DeviceId,
    /// In which trade.
    pub trade: TradeId,
    /// Where in it.
    pub index: Index,
    /// For whom.
    pub service: String,
    /// When it counted, unix seconds.
    pub at: u64,
}

#[derive(FromRow)]
struct Row {
    position: i64,
    device: Vec<u8>,
    trade: Vec<u8>,
    idx: u32,
    service: String,
    at: i64,
}

impl Tx<'_> {
    /// What waits after a position, at most `limit`.
    pub async fn inbox(&mut self, after: i64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT * FROM inbox WHERE acked_at IS NULL AND position > $1 \
             ORDER BY position LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter().map(delivery).collect()
    }

    /// A delivery, acknowledged or not.
    pub async fn delivery(&mut self, position: i64) -> Result<Option<Delivery>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM inbox WHERE position = $1").bind(position);
        let row: Option<Row> = query.fetch_optional(&mut *self.tx).await?;
        row.map(delivery).transpose()
    }

    /// How much of a device waits.
    pub async fn inbox_len(&mut self, device: &DeviceId) -> Result<u32, StoreError> {
        let query =
            sqlx::query_scalar("SELECT count(*) FROM inbox WHERE device = $1 AND acked_at IS NULL")
                .bind(device.0.to_vec());
        Ok(query.fetch_one(&mut *self.tx).await?)
    }
}

impl Write<'_> {
    /// Delivers a message that counts from now on.
    pub async fn deliver(
        &mut self,
        device: &DeviceId,
        content: &Content,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO inbox (device, trade, idx, service, at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(device.0.to_vec())
        .bind(content.trade.0.to_vec())
        .bind(content.index.number())
        .bind(content.service.as_str().to_owned())
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// A back end has it; doing so twice is one.
    pub async fn acknowledge_delivery(&mut self, position: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE inbox SET acked_at = $2 WHERE position = $1 AND acked_at IS NULL")
            .bind(position)
            .bind(self.now as i64)
            .execute(&mut *self.tx.tx)
            .await?;
        Ok(())
    }

    /// The same, by the message.
    pub async fn acknowledge_message(
        &mut self,
        device: &DeviceId,
        trade: &TradeId,
        index: Index,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE inbox SET acked_at = $4 \
             WHERE device = $1 AND trade = $2 AND idx = $3 AND acked_at IS NULL",
        )
        .bind(device.0.to_vec())
        .bind(trade.0.to_vec())
        .bind(index.number())
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

fn delivery(row: Row) -> Result<Delivery, StoreError> {
    let corrupt = || StoreError::Corrupt("inbox");
    Ok(Delivery {
        position: row.position,
        device: device_id(&row.device)?,
        trade: TradeId(row.trade.try_into().map_err(|_| corrupt())?),
        index: Index::new(row.idx).map_err(|_| corrupt())?,
        service: row.service,
        at: row.at as u64,
    })
}
