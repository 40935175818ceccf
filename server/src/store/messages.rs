//! The messages of trades, both ways, and the queue of those that go down.

use sqlx::FromRow;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{DeviceId, InnerHash, TradeId};
use twinseal_scheme::trade::{Content, Index, Row};
use zeroize::Zeroizing;

use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

const MESSAGE: u8 = 0;
const WITHDRAWN: u8 = 1;

/// The place of a message among those of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// With whom.
    pub device: DeviceId,
    /// In which trade.
    pub trade: TradeId,
    /// Which way.
    pub direction: Direction,
    /// Where in that direction.
    pub index: Index,
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// What it says, or what stands in for it.
    pub row: Row,
    /// When it came or was sent, unix seconds.
    pub at: u64,
    /// Downward: whether the device has not acknowledged it.
    pub is_queued: bool,
}

#[derive(FromRow)]
struct Raw {
    row_sealed: Vec<u8>,
    at: i64,
    queued: Option<i64>,
}

impl Tx<'_> {
    /// A message.
    pub async fn message(&mut self, key: &MessageKey) -> Result<Option<StoredMessage>, StoreError> {
        let raw: Option<Raw> = sqlx::query_as(
            "SELECT row_sealed, at, queued FROM messages \
             WHERE device = $1 AND trade = $2 AND direction = $3 AND idx = $4",
        )
        .bind(key.device.0.to_vec())
        .bind(key.trade.0.to_vec())
        .bind(key.direction.number())
        .bind(key.index.number())
        .fetch_optional(&mut *self.tx)
        .await?;
        raw.map(|raw| self.opened_message(key, raw)).transpose()
    }

    /// The message that has waited longest to go down to a device.
    pub async fn next_down(
        &mut self,
        device: &DeviceId,
    ) -> Result<Option<(MessageKey, Content)>, StoreError> {
        let row: Option<(Vec<u8>, u32)> = sqlx::query_as(
            "SELECT trade, idx FROM messages WHERE device = $1 AND queued IS NOT NULL \
             ORDER BY queued LIMIT 1",
        )
        .bind(device.0.to_vec())
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((trade, index)) = row else { return Ok(None) };
        let corrupt = || StoreError::Corrupt("messages");
        let trade = TradeId(trade.try_into().map_err(|_| corrupt())?);
        let index = Index::new(index).map_err(|_| corrupt())?;
        let key = MessageKey { device: *device, trade, direction: Direction::Down, index };
        match self.message(&key).await? {
            Some(StoredMessage { row: Row::Message(content), .. }) => Ok(Some((key, content))),
            _ => Err(corrupt()),
        }
    }

    /// How many messages wait to go down to a device.
    pub async fn queue_len(&mut self, device: &DeviceId) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT count(*) FROM messages WHERE device = $1 AND queued IS NOT NULL",
        )
        .bind(device.0.to_vec());
        Ok(query.fetch_one(&mut *self.tx).await?)
    }

    /// What a message was sealed to in an epoch.
    pub async fn sealing(
        &mut self,
        key: &MessageKey,
        generation: u32,
        epoch: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT envelope FROM sealings WHERE device = $1 AND trade = $2 AND idx = $3 \
             AND generation = $4 AND epoch = $5",
        )
        .bind(key.device.0.to_vec())
        .bind(key.trade.0.to_vec())
        .bind(key.index.number())
        .bind(generation)
        .bind(epoch as i64);
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    fn opened_message(&self, key: &MessageKey, raw: Raw) -> Result<StoredMessage, StoreError> {
        let corrupt = || StoreError::Corrupt("messages.row");
        let bytes = self.at_rest.open(&place(key, &row_key(key)), &raw.row_sealed)?;
        let row = match bytes.split_first() {
            Some((&MESSAGE, content)) => {
                Row::Message(Content::decode(content).map_err(|_| corrupt())?)
            }
            Some((&WITHDRAWN, hash)) => {
                Row::Withdrawn(InnerHash(hash.try_into().map_err(|_| corrupt())?))
            }
            _ => return Err(corrupt()),
        };
        Ok(StoredMessage { row, at: raw.at as u64, is_queued: raw.queued.is_some() })
    }
}

impl Write<'_> {
    /// Stores a message from the device, or what stands in for it.
    pub async fn put_up(&mut self, key: &MessageKey, row: &Row) -> Result<(), StoreError> {
        self.put_message(key, row, None).await
    }

    /// Stores a message to the device, at the end of its queue.
    pub async fn queue_down(
        &mut self,
        device: &DeviceId,
        content: &Content,
    ) -> Result<(), StoreError> {
        let last: i64 =
            sqlx::query_scalar("SELECT COALESCE(max(queued), 0) FROM messages WHERE device = $1")
                .bind(device.0.to_vec())
                .fetch_one(&mut *self.tx.tx)
                .await?;
        let key = MessageKey {
            device: *device,
            trade: content.trade,
            direction: Direction::Down,
            index: content.index,
        };
        self.put_message(&key, &Row::Message(content.clone()), Some(last + 1)).await
    }

    /// Stores what a message was sealed to, in the place of an earlier sealing.
    pub async fn put_sealing(
        &mut self,
        key: &MessageKey,
        route: (u32, u64, u32),
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        let (generation, epoch, seq) = route;
        sqlx::query(
            "INSERT INTO sealings (device, trade, idx, generation, epoch, seq, envelope) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (device, trade, idx) \
             DO UPDATE SET generation = excluded.generation, epoch = excluded.epoch, \
             seq = excluded.seq, envelope = excluded.envelope",
        )
        .bind(key.device.0.to_vec())
        .bind(key.trade.0.to_vec())
        .bind(key.index.number())
        .bind(generation)
        .bind(epoch as i64)
        .bind(seq)
        .bind(envelope)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Takes a message off the queue if this is its inner hash; says whether it was on it.
    /// Acknowledging twice is one.
    pub async fn acknowledge(
        &mut self,
        key: &MessageKey,
        inner_hash: &InnerHash,
    ) -> Result<bool, StoreError> {
        match self.message(key).await? {
            Some(StoredMessage { row: Row::Message(content), is_queued: true, .. })
                if content.inner_hash(key.direction) == *inner_hash => {}
            _ => return Ok(false),
        }
        for statement in [
            "UPDATE messages SET queued = NULL \
             WHERE device = $1 AND trade = $2 AND idx = $3 AND direction = 1",
            "DELETE FROM sealings WHERE device = $1 AND trade = $2 AND idx = $3",
        ] {
            sqlx::query(statement)
                .bind(key.device.0.to_vec())
                .bind(key.trade.0.to_vec())
                .bind(key.index.number())
                .execute(&mut *self.tx.tx)
                .await?;
        }
        Ok(true)
    }

    /// Takes everything off the queues of all devices.
    pub async fn forget_queues(&mut self) -> Result<(), StoreError> {
        for statement in
            ["UPDATE messages SET queued = NULL WHERE queued IS NOT NULL", "DELETE FROM sealings"]
        {
            sqlx::query(statement).execute(&mut *self.tx.tx).await?;
        }
        Ok(())
    }

    async fn put_message(
        &mut self,
        key: &MessageKey,
        row: &Row,
        queued: Option<i64>,
    ) -> Result<(), StoreError> {
        let bytes = Zeroizing::new(match row {
            Row::Message(content) => [&[MESSAGE][..], &content.encode()].concat(),
            Row::Withdrawn(hash) => [&[WITHDRAWN][..], &hash.0].concat(),
        });
        let sealed = self.at_rest.seal(&place(key, &row_key(key)), &bytes)?;
        sqlx::query(
            "INSERT INTO messages (device, trade, direction, idx, row_sealed, at, queued) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(key.device.0.to_vec())
        .bind(key.trade.0.to_vec())
        .bind(key.direction.number())
        .bind(key.index.number())
        .bind(sealed)
        .bind(self.now as i64)
        .bind(queued)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

fn row_key(key: &MessageKey) -> [u8; 21] {
    let mut out = [0; 21];
    out[..16].copy_from_slice(&key.trade.0);
    out[16] = key.direction.number();
    out[17..].copy_from_slice(&key.index.number().to_be_bytes());
    out
}

fn place<'a>(key: &MessageKey, row: &'a [u8]) -> Place<'a> {
    Place { column: "messages.row", device: key.device, generation: 0, row }
}
