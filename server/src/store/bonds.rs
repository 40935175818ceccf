//! Bonds: the keys of devices, and what their chips are recognised by.

use sqlx::FromRow;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::id::{DeviceId, KeyId, ServerId};
use twinseal_scheme::keys::{
    DecryptionAlgorithm, DecryptionPublic, SigningAlgorithm, SigningPublic,
};
use twinseal_scheme::tpm::Name;

use super::devices::Device;
use super::{StoreError, Tx, Write};

/// What epoch attests are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attester {
    /// The attestation key, TPMT_PUBLIC.
    pub ak_public: Vec<u8>,
    /// The storage root key's Name.
    pub srk_name: Name,
    /// The signing key's Name.
    pub signing_name: Name,
}

/// A device with its keys: all that messages are judged by.
#[derive(Clone)]
pub struct Standing {
    /// How it stands.
    pub state: DeviceState,
    /// Its keys.
    pub bond: Bond,
    /// The serial key's id.
    pub serial_key: KeyId,
    /// Nothing for a token.
    pub attester: Option<Attester>,
    /// The assurance class, in its stable word.
    pub assurance: String,
    /// How its endorsement key was verified.
    pub verdict: String,
    /// When this generation was enrolled, unix seconds.
    pub enrolled_at: u64,
}

#[derive(FromRow)]
struct Row {
    keyset: u32,
    signing_algorithm: i64,
    signing: Vec<u8>,
    decryption_algorithm: i64,
    decryption: Vec<u8>,
    serial_key: Vec<u8>,
    ak_public: Option<Vec<u8>>,
    srk_name: Option<Vec<u8>>,
    signing_name: Option<Vec<u8>>,
    enrolled_at: i64,
}

impl Tx<'_> {
    /// A device in its present generation, with its newest keys.
    pub async fn standing(
        &mut self,
        id: &DeviceId,
        server_id: &ServerId,
    ) -> Result<Option<Standing>, StoreError> {
        let Some(device) = self.device(id).await? else { return Ok(None) };
        let row: Option<Row> = sqlx::query_as(
            "SELECT * FROM bonds WHERE device = $1 AND generation = $2 \
             ORDER BY keyset DESC LIMIT 1",
        )
        .bind(id.0.to_vec())
        .bind(device.generation)
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(|row| standing(device, row, server_id)).transpose()
    }
}

impl Write<'_> {
    /// Stores the keys of a generation.
    pub async fn add_bond(&mut self, standing: &Standing) -> Result<(), StoreError> {
        let (bond, attester) = (&standing.bond, standing.attester.as_ref());
        sqlx::query(
            "INSERT INTO bonds (device, generation, keyset, signing_algorithm, signing, \
             decryption_algorithm, decryption, serial_key, ak_public, srk_name, signing_name, \
             enrolled_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(bond.device_id.0.to_vec())
        .bind(bond.generation)
        .bind(bond.keyset)
        .bind(i64::from(bond.signing.algorithm().number()))
        .bind(bond.signing.spki())
        .bind(i64::from(bond.decryption.algorithm().number()))
        .bind(bond.decryption.spki())
        .bind(standing.serial_key.0.to_vec())
        .bind(attester.map(|attester| attester.ak_public.clone()))
        .bind(attester.map(|attester| attester.srk_name.as_bytes().to_vec()))
        .bind(attester.map(|attester| attester.signing_name.as_bytes().to_vec()))
        .bind(standing.enrolled_at as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }
}

fn standing(device: Device, row: Row, server_id: &ServerId) -> Result<Standing, StoreError> {
    let corrupt = || StoreError::Corrupt("bonds");
    let signing = SigningAlgorithm::of_number(row.signing_algorithm)
        .and_then(|algorithm| SigningPublic::from_spki(algorithm, &row.signing))
        .map_err(|_| corrupt())?;
    let decryption = DecryptionAlgorithm::of_number(row.decryption_algorithm)
        .and_then(|algorithm| DecryptionPublic::from_spki(algorithm, &row.decryption))
        .map_err(|_| corrupt())?;
    let name = |name: &[u8]| Name::from_trusted(name).ok_or_else(corrupt);
    let attester = match (row.ak_public, row.srk_name, row.signing_name) {
        (Some(ak_public), Some(srk), Some(signing)) => {
            Some(Attester { ak_public, srk_name: name(&srk)?, signing_name: name(&signing)? })
        }
        _ => None,
    };
    Ok(Standing {
        state: device.state,
        bond: Bond {
            server_id: *server_id,
            device_id: device.id,
            serial: device.serial,
            generation: device.generation,
            keyset: row.keyset,
            signing,
            decryption,
        },
        serial_key: row.serial_key.try_into().map(KeyId).map_err(|_| corrupt())?,
        attester,
        assurance: device.assurance,
        verdict: device.verdict,
        enrolled_at: row.enrolled_at as u64,
    })
}
