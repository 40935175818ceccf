//! Trades: one row each, whose state the scheme encodes.

use sqlx::FromRow;
use twinseal_scheme::id::{DeviceId, TradeId};
use twinseal_scheme::trade::{Stage, Trade};

use super::devices::device_id;
use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

/// A trade as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrade {
    /// With whom.
    pub device: DeviceId,
    /// Its state, on the server's side.
    pub trade: Trade,
    /// Unix seconds.
    pub opened_at: u64,
    /// Unix seconds.
    pub changed_at: u64,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct TradeFilter {
    /// With this device.
    pub device: Option<DeviceId>,
    /// Of this service.
    pub service: Option<String>,
    /// At this stage.
    pub stage: Option<String>,
    /// After this trade, in the order of the list.
    pub after: Option<(DeviceId, TradeId)>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    device: Vec<u8>,
    trade: Vec<u8>,
    state_sealed: Vec<u8>,
    opened_at: i64,
    changed_at: i64,
}

/// The stable word of a stage.
pub fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Offered => "offered",
        Stage::Open => "open",
        Stage::Closing => "closing",
        Stage::Closed => "closed",
        Stage::Ended => "ended",
        Stage::Refused => "refused",
    }
}

impl Tx<'_> {
    /// A trade of a device.
    pub async fn trade(
        &mut self,
        device: &DeviceId,
        trade: &TradeId,
    ) -> Result<Option<StoredTrade>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT * FROM trades WHERE device = $1 AND trade = $2")
                .bind(device.0.to_vec())
                .bind(trade.0.to_vec())
                .fetch_optional(&mut *self.tx)
                .await?;
        row.map(|row| self.stored_trade(row)).transpose()
    }

    /// The trades that fit, the oldest first.
    pub async fn trades(&mut self, filter: &TradeFilter) -> Result<Vec<StoredTrade>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT * FROM trades WHERE ($1 IS NULL OR device = $1) \
             AND ($2 IS NULL OR service = $2) AND ($3 IS NULL OR stage = $3) \
             AND ($4 IS NULL OR (opened_at, device, trade) > \
                 (SELECT opened_at, device, trade FROM trades WHERE device = $4 AND trade = $5)) \
             ORDER BY opened_at, device, trade LIMIT $6",
        )
        .bind(filter.device.map(|device| device.0.to_vec()))
        .bind(filter.service.clone())
        .bind(filter.stage.clone())
        .bind(filter.after.map(|(device, _)| device.0.to_vec()))
        .bind(filter.after.map(|(_, trade)| trade.0.to_vec()))
        .bind(filter.limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter().map(|row| self.stored_trade(row)).collect()
    }

    fn stored_trade(&self, row: Row) -> Result<StoredTrade, StoreError> {
        let device = device_id(&row.device)?;
        let state = self.at_rest.open(&place(&device, &row.trade), &row.state_sealed)?;
        Ok(StoredTrade {
            trade: Trade::decode(&state).map_err(|_| StoreError::Corrupt("trades.state"))?,
            device,
            opened_at: row.opened_at as u64,
            changed_at: row.changed_at as u64,
        })
    }
}

impl Write<'_> {
    /// Stores a trade as it is now.
    pub async fn put_trade(&mut self, device: &DeviceId, trade: &Trade) -> Result<(), StoreError> {
        let id = trade.id().0;
        let state = self.at_rest.seal(&place(device, &id), &trade.encode())?;
        sqlx::query(
            "INSERT INTO trades (device, trade, service, stage, state_sealed, opened_at, \
             changed_at) VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (device, trade) \
             DO UPDATE SET stage = excluded.stage, state_sealed = excluded.state_sealed, \
             changed_at = excluded.changed_at",
        )
        .bind(device.0.to_vec())
        .bind(id.to_vec())
        .bind(trade.service().as_str().to_owned())
        .bind(stage_word(trade.stage()))
        .bind(state)
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

fn place<'a>(device: &DeviceId, trade: &'a [u8]) -> Place<'a> {
    Place { column: "trades.state", device: *device, generation: 0, row: trade }
}
