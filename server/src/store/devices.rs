//! Devices: who they are, whose they are, and how they stand.
//!
//! Serial and user information are encrypted. A device is found by keyed hashes of them: one of
//! the serial, and two of every entry of the user information, with and without its name.

use std::collections::BTreeMap;

use sqlx::FromRow;
use twinseal_scheme::enrol::{DeviceState, UserInfo};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::serial::HardwareSerial;

use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

/// A device, as it is shown to operators and back ends.
#[derive(Clone)]
pub struct Device {
    /// Its name on the wire.
    pub id: DeviceId,
    /// Its chip.
    pub serial: HardwareSerial,
    /// Counts its enrolments.
    pub generation: u32,
    /// How it stands.
    pub state: DeviceState,
    /// The assurance class, in its stable word.
    pub assurance: String,
    /// Whose it is.
    pub user_info: UserInfo,
    /// How its endorsement key was verified, line by line.
    pub verdict: String,
    /// The code of the last alarm.
    pub alarm: Option<String>,
    /// Unix seconds.
    pub enrolled_at: u64,
    /// Unix seconds.
    pub changed_at: u64,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Of this chip.
    pub serial: Option<HardwareSerial>,
    /// With this in its user information: `name=value`, or a value under any name.
    pub term: Option<String>,
    /// In this state.
    pub state: Option<DeviceState>,
    /// After this device, in the order of the list.
    pub after: Option<DeviceId>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    device: Vec<u8>,
    serial_sealed: Vec<u8>,
    generation: u32,
    state: String,
    assurance: String,
    user_info_sealed: Vec<u8>,
    verdict_sealed: Vec<u8>,
    alarm: Option<String>,
    enrolled_at: i64,
    changed_at: i64,
}

impl Tx<'_> {
    /// A device by its id.
    pub async fn device(&mut self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let query = sqlx::query_as("SELECT * FROM devices WHERE device = $1").bind(id.0.to_vec());
        let row: Option<Row> = query.fetch_optional(&mut *self.tx).await?;
        row.map(|row| self.opened(row)).transpose()
    }

    /// The devices of a chip: at most one of them is not revoked.
    pub async fn devices_of(&mut self, serial: &HardwareSerial) -> Result<Vec<Device>, StoreError> {
        let filter = DeviceFilter { serial: Some(*serial), limit: u32::MAX, ..Default::default() };
        self.devices(&filter).await
    }

    /// The devices that fit, the oldest first.
    pub async fn devices(&mut self, filter: &DeviceFilter) -> Result<Vec<Device>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT * FROM devices WHERE ($1 IS NULL OR serial_tag = $1) \
             AND ($2 IS NULL OR device IN (SELECT device FROM device_terms WHERE term_tag = $2)) \
             AND ($3 IS NULL OR state = $3) \
             AND ($4 IS NULL OR (enrolled_at, device) > \
                 (SELECT enrolled_at, device FROM devices WHERE device = $4)) \
             ORDER BY enrolled_at, device LIMIT $5",
        )
        .bind(filter.serial.map(|serial| self.serial_tag(&serial)))
        .bind(filter.term.as_deref().map(|term| self.sought_tag(term)))
        .bind(filter.state.map(DeviceState::word))
        .bind(filter.after.map(|device| device.0.to_vec()))
        .bind(filter.limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter().map(|row| self.opened(row)).collect()
    }

    pub(super) fn serial_tag(&self, serial: &HardwareSerial) -> Vec<u8> {
        self.at_rest.tag("serial", &[serial.as_bytes()]).to_vec()
    }

    /// With a name, a value under that name; without one, under any.
    fn sought_tag(&self, term: &str) -> Vec<u8> {
        match term.split_once('=') {
            Some((name, value)) => self.term_tag(name, value),
            None => self.term_tag("", term),
        }
    }

    fn term_tag(&self, name: &str, value: &str) -> Vec<u8> {
        let parts = [normalised(name), normalised(value)];
        self.at_rest.tag("term", &[parts[0].as_bytes(), parts[1].as_bytes()]).to_vec()
    }

    fn opened(&self, row: Row) -> Result<Device, StoreError> {
        let id = device_id(&row.device)?;
        let open = |column, value: &[u8]| {
            Ok::<_, StoreError>(self.at_rest.open(&place(column, &id), value)?.to_vec())
        };
        let serial = open("devices.serial", &row.serial_sealed)?;
        let serial = serial.try_into().map_err(|_| StoreError::Corrupt("devices.serial"))?;
        let verdict = open("devices.verdict", &row.verdict_sealed)?;
        Ok(Device {
            id,
            serial: HardwareSerial::from_bytes(serial),
            generation: row.generation,
            state: DeviceState::from_word(&row.state)
                .ok_or(StoreError::Corrupt("devices.state"))?,
            assurance: row.assurance,
            user_info: parse_user_info(&open("devices.user_info", &row.user_info_sealed)?)?,
            verdict: String::from_utf8(verdict)
                .map_err(|_| StoreError::Corrupt("devices.verdict"))?,
            alarm: row.alarm,
            enrolled_at: row.enrolled_at as u64,
            changed_at: row.changed_at as u64,
        })
    }
}

impl Write<'_> {
    /// Stores a device with the words that it can be found by, or a new generation of one.
    ///
    /// A conflict when another device of this chip is alive.
    pub async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let seal = |column, value: &[u8]| self.at_rest.seal(&place(column, &device.id), value);
        let serial_sealed = seal("devices.serial", device.serial.as_bytes())?;
        let user_info_sealed = seal("devices.user_info", &encode_user_info(&device.user_info)?)?;
        let verdict_sealed = seal("devices.verdict", device.verdict.as_bytes())?;
        let serial_tag = self.serial_tag(&device.serial);
        sqlx::query(
            "INSERT INTO devices (device, serial_tag, serial_sealed, generation, state, assurance, \
             user_info_sealed, verdict_sealed, alarm, enrolled_at, changed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (device) \
             DO UPDATE SET generation = excluded.generation, state = excluded.state, \
             assurance = excluded.assurance, user_info_sealed = excluded.user_info_sealed, \
             verdict_sealed = excluded.verdict_sealed, alarm = excluded.alarm, \
             changed_at = excluded.changed_at",
        )
        .bind(device.id.0.to_vec())
        .bind(serial_tag)
        .bind(serial_sealed)
        .bind(device.generation)
        .bind(device.state.word())
        .bind(&device.assurance)
        .bind(user_info_sealed)
        .bind(verdict_sealed)
        .bind(&device.alarm)
        .bind(device.enrolled_at as i64)
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        self.put_terms(device).await
    }

    /// Changes how a device stands.
    pub async fn set_state(&mut self, id: &DeviceId, state: DeviceState) -> Result<(), StoreError> {
        sqlx::query("UPDATE devices SET state = $2, changed_at = $3 WHERE device = $1")
            .bind(id.0.to_vec())
            .bind(state.word())
            .bind(self.now as i64)
            .execute(&mut *self.tx.tx)
            .await?;
        Ok(())
    }

    /// Notes an alarm by its code.
    pub async fn set_alarm(&mut self, id: &DeviceId, code: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE devices SET alarm = $2, changed_at = $3 WHERE device = $1")
            .bind(id.0.to_vec())
            .bind(code)
            .bind(self.now as i64)
            .execute(&mut *self.tx.tx)
            .await?;
        Ok(())
    }

    async fn put_terms(&mut self, device: &Device) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM device_terms WHERE device = $1")
            .bind(device.id.0.to_vec())
            .execute(&mut *self.tx.tx)
            .await?;
        for (name, value) in device.user_info.entries() {
            for tag in [self.term_tag(name, value), self.term_tag("", value)] {
                sqlx::query(
                    "INSERT INTO device_terms (term_tag, device) VALUES ($1, $2) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(tag)
                .bind(device.id.0.to_vec())
                .execute(&mut *self.tx.tx)
                .await?;
            }
        }
        Ok(())
    }
}

pub(super) fn device_id(bytes: &[u8]) -> Result<DeviceId, StoreError> {
    bytes.try_into().map(DeviceId).map_err(|_| StoreError::Corrupt("device"))
}

pub(super) fn encode_user_info(user_info: &UserInfo) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(user_info.entries()).map_err(|_| StoreError::Corrupt("user_info"))
}

pub(super) fn parse_user_info(bytes: &[u8]) -> Result<UserInfo, StoreError> {
    let entries: BTreeMap<String, String> =
        serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt("user_info"))?;
    UserInfo::new(entries).map_err(|_| StoreError::Corrupt("user_info"))
}

fn place<'a>(column: &'static str, device: &DeviceId) -> Place<'a> {
    Place { column, device: *device, generation: 0, row: &[] }
}

/// Case and spaces do not count when somebody is sought.
fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_type_as_they_like() {
        assert_eq!(normalised("  Anna   MÜLLER "), normalised("anna müller"));
        assert_ne!(normalised("annamüller"), normalised("anna müller"));
    }
}
