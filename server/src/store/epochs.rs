//! Chain keys and epochs.
//!
//! Of a device there is one chain key, that of its open epoch; the one before is overwritten in
//! the same transaction that opens the next. It is encrypted here, and useless without the epoch
//! secret, which needs the server's private keys.

use sqlx::FromRow;
use twinseal_scheme::Secret;
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::epoch::judge::{EPOCHS_CLOSED_KEPT, Opening};
use twinseal_scheme::id::{DeviceId, KeyId};
use twinseal_scheme::tpm::ClockInfo;

use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

/// From what the epoch secret is computed, with the server's private keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The device's ephemeral key, an uncompressed point.
    pub epoch_key: Vec<u8>,
    /// The ML-KEM ciphertext.
    pub kem: Vec<u8>,
    /// Which of the server's P-256 keys.
    pub p256_id: KeyId,
    /// Which of the server's ML-KEM keys.
    pub kem_id: KeyId,
}

/// An epoch that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number, its epoch-open's hash, and the chip's clock.
    pub opening: Opening,
    /// Of the `server_keys` statement that it was opened under.
    pub sequence: u64,
    /// Nothing once the epoch is too old.
    pub agreement: Option<Agreement>,
    /// Of a closed epoch, the upward key, wrapped under the epoch secret.
    pub upward: Option<Vec<u8>>,
    /// The answer to its epoch-open.
    pub answer: Vec<u8>,
}

#[derive(FromRow)]
struct Row {
    epoch: i64,
    sequence: i64,
    hash: Vec<u8>,
    epoch_key: Option<Vec<u8>>,
    kem: Option<Vec<u8>>,
    p256_id: Option<Vec<u8>>,
    kem_id: Option<Vec<u8>>,
    upward: Option<Vec<u8>>,
    clock_ms: Option<i64>,
    reset_count: Option<u32>,
    restart_count: Option<u32>,
    answer: Vec<u8>,
}

impl Tx<'_> {
    /// The chain key of a generation.
    pub async fn chain(
        &mut self,
        device: &DeviceId,
        generation: u32,
    ) -> Result<Option<ChainKey>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT epoch, key_sealed FROM chains WHERE device = $1 AND generation = $2",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((epoch, key)) = row else { return Ok(None) };
        let key = self.at_rest.open(&place(device, generation), &key)?;
        let key =
            Secret::try_from(key.as_slice()).map_err(|_| StoreError::Corrupt("chains.key"))?;
        Ok(Some(ChainKey::kept(epoch as u64, key)))
    }

    /// The epoch that is open, which is the last one that was opened.
    pub async fn last_epoch(
        &mut self,
        device: &DeviceId,
        generation: u32,
    ) -> Result<Option<Epoch>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT * FROM epochs WHERE device = $1 AND generation = $2 \
             ORDER BY epoch DESC LIMIT 1",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(epoch).transpose()
    }

    /// Whether no later one has been opened, of this generation or of a later one.
    pub async fn is_last_epoch(
        &mut self,
        device: &DeviceId,
        generation: u32,
        number: u64,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM epochs WHERE device = $1 \
             AND (generation > $2 OR generation = $2 AND epoch > $3))",
        );
        let query = query.bind(device.0.to_vec()).bind(generation).bind(number as i64);
        Ok(query.fetch_one(&mut *self.tx).await?)
    }

    /// An epoch by its number.
    pub async fn epoch(
        &mut self,
        device: &DeviceId,
        generation: u32,
        number: u64,
    ) -> Result<Option<Epoch>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT * FROM epochs WHERE device = $1 AND generation = $2 AND epoch = $3",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(number as i64)
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(epoch).transpose()
    }
}

impl Write<'_> {
    /// Stores CK_0 of a new generation in the place of any chain key before.
    pub async fn put_chain(
        &mut self,
        device: &DeviceId,
        generation: u32,
        chain: &ChainKey,
    ) -> Result<(), StoreError> {
        let key = self.at_rest.seal(&place(device, generation), chain.key().expose())?;
        sqlx::query(
            "INSERT INTO chains (device, generation, epoch, key_sealed) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (device) DO UPDATE SET generation = excluded.generation, \
             epoch = excluded.epoch, key_sealed = excluded.key_sealed",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(chain.epoch() as i64)
        .bind(key)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Opens an epoch: closes the last one, keeping its upward key, and forgets what is too old.
    pub async fn open_epoch(
        &mut self,
        device: &DeviceId,
        generation: u32,
        chain: &ChainKey,
        epoch: &Epoch,
        last_upward: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.put_chain(device, generation, chain).await?;
        sqlx::query(
            "UPDATE epochs SET upward = $3 WHERE device = $1 AND generation = $2 AND epoch = \
             (SELECT max(epoch) FROM epochs WHERE device = $1 AND generation = $2)",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(last_upward)
        .execute(&mut *self.tx.tx)
        .await?;
        self.insert_epoch(device, generation, epoch).await?;
        sqlx::query(
            "UPDATE epochs SET upward = NULL, epoch_key = NULL, kem = NULL \
             WHERE device = $1 AND generation = $2 AND epoch_key IS NOT NULL AND epoch NOT IN \
             (SELECT epoch FROM epochs WHERE device = $1 AND generation = $2 \
              ORDER BY epoch DESC LIMIT $3)",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(EPOCHS_CLOSED_KEPT as i64 + 1)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// The next sequence number downward of the open epoch.
    pub async fn next_seq_down(
        &mut self,
        device: &DeviceId,
        generation: u32,
        epoch: u64,
    ) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(
            "UPDATE epochs SET seq_down = seq_down + 1 \
             WHERE device = $1 AND generation = $2 AND epoch = $3 RETURNING seq_down",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(epoch as i64);
        Ok(query.fetch_one(&mut *self.tx.tx).await?)
    }

    async fn insert_epoch(
        &mut self,
        device: &DeviceId,
        generation: u32,
        epoch: &Epoch,
    ) -> Result<(), StoreError> {
        let (agreement, clock) = (epoch.agreement.as_ref(), epoch.opening.clock.as_ref());
        sqlx::query(
            "INSERT INTO epochs (device, generation, epoch, sequence, hash, epoch_key, kem, \
             p256_id, kem_id, clock_ms, reset_count, restart_count, answer, seq_down, opened_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14)",
        )
        .bind(device.0.to_vec())
        .bind(generation)
        .bind(epoch.opening.epoch as i64)
        .bind(epoch.sequence as i64)
        .bind(epoch.opening.hash.to_vec())
        .bind(agreement.map(|agreement| agreement.epoch_key.clone()))
        .bind(agreement.map(|agreement| agreement.kem.clone()))
        .bind(agreement.map(|agreement| agreement.p256_id.0.to_vec()))
        .bind(agreement.map(|agreement| agreement.kem_id.0.to_vec()))
        .bind(clock.map(|clock| clock.clock_ms as i64))
        .bind(clock.map(|clock| clock.reset_count))
        .bind(clock.map(|clock| clock.restart_count))
        .bind(epoch.answer.clone())
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

fn epoch(row: Row) -> Result<Epoch, StoreError> {
    let corrupt = || StoreError::Corrupt("epochs");
    let key_id = |bytes: Vec<u8>| bytes.try_into().map(KeyId).map_err(|_| corrupt());
    let agreement = match (row.epoch_key, row.kem, row.p256_id, row.kem_id) {
        (Some(epoch_key), Some(kem), Some(p256), Some(kem_id)) => {
            let (p256_id, kem_id) = (key_id(p256)?, key_id(kem_id)?);
            Some(Agreement { epoch_key, kem, p256_id, kem_id })
        }
        _ => None,
    };
    let clock = match (row.clock_ms, row.reset_count, row.restart_count) {
        (Some(clock_ms), Some(reset_count), Some(restart_count)) => Some(ClockInfo {
            clock_ms: clock_ms as u64,
            reset_count,
            restart_count,
            // It is not compared, and so not kept.
            safe: false,
        }),
        _ => None,
    };
    let hash = row.hash.try_into().map_err(|_| corrupt())?;
    Ok(Epoch {
        opening: Opening { epoch: row.epoch as u64, hash, clock },
        sequence: row.sequence as u64,
        agreement,
        upward: row.upward,
        answer: row.answer,
    })
}

fn place<'a>(device: &DeviceId, generation: u32) -> Place<'a> {
    Place { column: "chains.key", device: *device, generation, row: &[] }
}
