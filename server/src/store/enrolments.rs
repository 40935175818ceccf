//! Enrolments while they live, and the grants that they end with.
//!
//! M1 is kept as it came, encrypted to the server, and read again at each step: there is no
//! second form of a claim to keep in step with it.

use sqlx::FromRow;
use twinseal_scheme::Secret;
use twinseal_scheme::enrol::GrantKey;
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::{DeviceId, EnrolId};
use twinseal_scheme::serial::HardwareSerial;

use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

/// An enrolment that has come as far as M2.
#[derive(Clone)]
pub struct Enrolment {
    /// Names it.
    pub id: EnrolId,
    /// The claim, as it came.
    pub m1: Vec<u8>,
    /// The answer to it.
    pub m2: Vec<u8>,
    /// What the chip must find in the credential.
    pub credential: Secret,
    /// Why it may enrol; the application's word.
    pub admission: String,
    /// The assurance class.
    pub assurance: String,
    /// How the endorsement key was verified.
    pub verdict: String,
    /// Unix seconds.
    pub created_at: u64,
    /// As far as M4.
    pub offer: Option<StoredOffer>,
}

/// What M3 has brought.
#[derive(Clone)]
pub struct StoredOffer {
    /// The name that the device will have.
    pub device: DeviceId,
    /// Counts its enrolments.
    pub generation: u32,
    /// The proof, as it came.
    pub m3: Vec<u8>,
    /// The answer to it.
    pub m4: Vec<u8>,
    /// CK_0.
    pub chain: ChainKey,
}

/// An enrolment that has ended with a device.
#[derive(Clone)]
pub struct StoredGrant {
    /// The device.
    pub device: DeviceId,
    /// The generation that it began.
    pub generation: u32,
    /// SHA-256 of M5.
    pub m5_hash: [u8; 32],
    /// Seals its grants.
    pub key: GrantKey,
}

#[derive(FromRow)]
struct Row {
    enrolment: Vec<u8>,
    m1: Vec<u8>,
    m2: Vec<u8>,
    credential_sealed: Vec<u8>,
    admission: String,
    assurance: String,
    verdict_sealed: Vec<u8>,
    device: Option<Vec<u8>>,
    generation: Option<u32>,
    m3: Option<Vec<u8>>,
    m4: Option<Vec<u8>>,
    chain_sealed: Option<Vec<u8>>,
    created_at: i64,
}

/// Device, generation, hash of M5, sealed key.
type GrantRow = (Vec<u8>, u32, Vec<u8>, Vec<u8>);

impl Tx<'_> {
    /// M2 in answer to this very M1.
    pub async fn stored_m2(&mut self, m1_hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query_scalar("SELECT m2 FROM enrolments WHERE m1_hash = $1")
            .bind(m1_hash.to_vec());
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    /// An enrolment that is alive: not older than `oldest`, unix seconds.
    pub async fn enrolment(
        &mut self,
        id: &EnrolId,
        oldest: u64,
    ) -> Result<Option<Enrolment>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT * FROM enrolments WHERE enrolment = $1 AND created_at >= $2")
                .bind(id.0.to_vec())
                .bind(oldest as i64)
                .fetch_optional(&mut *self.tx)
                .await?;
        row.map(|row| self.opened_enrolment(row)).transpose()
    }

    /// The grant of an enrolment.
    pub async fn grant(&mut self, id: &EnrolId) -> Result<Option<StoredGrant>, StoreError> {
        let row: Option<GrantRow> = sqlx::query_as(
            "SELECT device, generation, m5_hash, key_sealed FROM grants WHERE enrolment = $1",
        )
        .bind(id.0.to_vec())
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some((device, generation, m5_hash, key)) = row else { return Ok(None) };
        let key = self.at_rest.open(&place("grants.key", id), &key)?;
        Ok(Some(StoredGrant {
            device: super::devices::device_id(&device)?,
            generation,
            m5_hash: fixed(m5_hash)?,
            key: GrantKey::kept(secret(&key)?),
        }))
    }

    fn opened_enrolment(&self, row: Row) -> Result<Enrolment, StoreError> {
        let id = EnrolId(fixed(row.enrolment)?);
        let open = |column, value: &[u8]| self.at_rest.open(&place(column, &id), value);
        let credential = open("enrolments.credential", &row.credential_sealed)?;
        let verdict = open("enrolments.verdict", &row.verdict_sealed)?;
        let offer = match (row.device, row.generation, row.m3, row.m4, row.chain_sealed) {
            (Some(device), Some(generation), Some(m3), Some(m4), Some(chain)) => {
                let chain = open("enrolments.chain", &chain)?;
                Some(StoredOffer {
                    device: super::devices::device_id(&device)?,
                    generation,
                    m3,
                    m4,
                    chain: ChainKey::kept(0, secret(&chain)?),
                })
            }
            _ => None,
        };
        Ok(Enrolment {
            id,
            m1: row.m1,
            m2: row.m2,
            credential: secret(&credential)?,
            admission: row.admission,
            assurance: row.assurance,
            verdict: String::from_utf8_lossy(&verdict).into_owned(),
            created_at: row.created_at as u64,
            offer,
        })
    }
}

impl Write<'_> {
    /// Uses a nonce up; false when it was used before. Expired ones are forgotten.
    pub async fn use_nonce(&mut self, nonce: &[u8; 32], life: u64) -> Result<bool, StoreError> {
        let now = self.now as i64;
        sqlx::query("DELETE FROM nonces WHERE expires_at < $1")
            .bind(now)
            .execute(&mut *self.tx.tx)
            .await?;
        let query = sqlx::query(
            "INSERT INTO nonces (nonce, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(nonce.to_vec())
        .bind(now + life as i64);
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }

    /// Stores an enrolment. Dead ones, and the oldest above the limits, go.
    pub async fn add_enrolment(
        &mut self,
        serial: &HardwareSerial,
        m1_hash: &[u8; 32],
        enrolment: &Enrolment,
        limits: EnrolmentLimits,
    ) -> Result<(), StoreError> {
        let id = &enrolment.id;
        let seal = |column, value: &[u8]| self.at_rest.seal(&place(column, id), value);
        let credential = seal("enrolments.credential", enrolment.credential.expose())?;
        let verdict = seal("enrolments.verdict", enrolment.verdict.as_bytes())?;
        let tag = self.serial_tag(serial);
        self.make_room(&tag, limits).await?;
        sqlx::query(
            "INSERT INTO enrolments (enrolment, serial_tag, m1_hash, m1, m2, credential_sealed, \
             admission, assurance, verdict_sealed, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id.0.to_vec())
        .bind(tag)
        .bind(m1_hash.to_vec())
        .bind(enrolment.m1.clone())
        .bind(enrolment.m2.clone())
        .bind(credential)
        .bind(enrolment.admission.clone())
        .bind(enrolment.assurance.clone())
        .bind(verdict)
        .bind(enrolment.created_at as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Stores an offer; false when there is one already.
    pub async fn put_offer(
        &mut self,
        id: &EnrolId,
        offer: &StoredOffer,
    ) -> Result<bool, StoreError> {
        let chain =
            self.at_rest.seal(&place("enrolments.chain", id), offer.chain.key().expose())?;
        let query = sqlx::query(
            "UPDATE enrolments SET device = $2, generation = $3, m3 = $4, m4 = $5, \
             chain_sealed = $6 WHERE enrolment = $1 AND m3 IS NULL",
        )
        .bind(id.0.to_vec())
        .bind(offer.device.0.to_vec())
        .bind(offer.generation)
        .bind(offer.m3.clone())
        .bind(offer.m4.clone())
        .bind(chain);
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }

    /// Ends an enrolment with a grant.
    pub async fn end_enrolment(
        &mut self,
        id: &EnrolId,
        grant: &StoredGrant,
    ) -> Result<(), StoreError> {
        let key = self.at_rest.seal(&place("grants.key", id), grant.key.expose().expose())?;
        sqlx::query("DELETE FROM enrolments WHERE enrolment = $1")
            .bind(id.0.to_vec())
            .execute(&mut *self.tx.tx)
            .await?;
        sqlx::query(
            "INSERT INTO grants (enrolment, device, generation, m5_hash, key_sealed) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id.0.to_vec())
        .bind(grant.device.0.to_vec())
        .bind(grant.generation)
        .bind(grant.m5_hash.to_vec())
        .bind(key)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    async fn make_room(&mut self, tag: &[u8], limits: EnrolmentLimits) -> Result<(), StoreError> {
        let dead = "DELETE FROM enrolments WHERE created_at < $1";
        let oldest = self.now.saturating_sub(limits.life_seconds) as i64;
        sqlx::query(dead).bind(oldest).execute(&mut *self.tx.tx).await?;
        sqlx::query(
            "DELETE FROM enrolments WHERE enrolment IN (SELECT enrolment FROM enrolments \
             WHERE serial_tag = $1 ORDER BY created_at DESC, enrolment LIMIT -1 OFFSET $2)",
        )
        .bind(tag)
        .bind(limits.of_serial_max - 1)
        .execute(&mut *self.tx.tx)
        .await?;
        sqlx::query(
            "DELETE FROM enrolments WHERE enrolment IN (SELECT enrolment FROM enrolments \
             ORDER BY created_at DESC, enrolment LIMIT -1 OFFSET $1)",
        )
        .bind(limits.max - 1)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

/// How many enrolments may live, and how long.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentLimits {
    /// Of one chip.
    pub of_serial_max: u32,
    /// In all.
    pub max: u32,
    /// Seconds.
    pub life_seconds: u64,
}

fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("enrolments"))
}

fn secret(bytes: &[u8]) -> Result<Secret, StoreError> {
    Secret::try_from(bytes).map_err(|_| StoreError::Corrupt("enrolments"))
}

fn place<'a>(column: &'static str, id: &'a EnrolId) -> Place<'a> {
    Place { column, device: DeviceId([0; 16]), generation: 0, row: &id.0 }
}
