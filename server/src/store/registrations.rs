//! Serials that the operator expects, with the user information that he has recorded before.

use twinseal_scheme::enrol::UserInfo;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::serial::HardwareSerial;

use super::devices::{encode_user_info, parse_user_info};
use super::{StoreError, Tx, Write};
use crate::at_rest::Place;

/// A serial that is expected.
#[derive(Clone)]
pub struct Registration {
    /// The chip.
    pub serial: HardwareSerial,
    /// Whose the device will be, as far as the operator knows.
    pub user_info: UserInfo,
    /// Unix seconds.
    pub created_at: u64,
}

type Row = (Vec<u8>, Vec<u8>, Vec<u8>, i64);

impl Tx<'_> {
    /// The registration of a chip, if it is expected.
    pub async fn registration(
        &mut self,
        serial: &HardwareSerial,
    ) -> Result<Option<Registration>, StoreError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM registrations WHERE serial_tag = $1")
            .bind(self.serial_tag(serial))
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(|row| self.registered(row)).transpose()
    }

    /// All of them, the oldest first.
    pub async fn registrations(&mut self) -> Result<Vec<Registration>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT * FROM registrations ORDER BY created_at, serial_tag")
                .fetch_all(&mut *self.tx)
                .await?;
        rows.into_iter().map(|row| self.registered(row)).collect()
    }

    fn registered(&self, (tag, serial, user_info, at): Row) -> Result<Registration, StoreError> {
        let serial = self.at_rest.open(&place("registrations.serial", &tag), &serial)?;
        let serial = serial.as_slice().try_into();
        let user_info = self.at_rest.open(&place("registrations.user_info", &tag), &user_info)?;
        Ok(Registration {
            serial: serial
                .map(HardwareSerial::from_bytes)
                .map_err(|_| StoreError::Corrupt("registrations.serial"))?,
            user_info: parse_user_info(&user_info)?,
            created_at: at as u64,
        })
    }
}

impl Write<'_> {
    /// Expects a chip; what was recorded of it before is replaced.
    pub async fn put_registration(
        &mut self,
        serial: &HardwareSerial,
        user_info: &UserInfo,
    ) -> Result<(), StoreError> {
        let tag = self.serial_tag(serial);
        let serial = self.at_rest.seal(&place("registrations.serial", &tag), serial.as_bytes())?;
        let user_info = encode_user_info(user_info)?;
        let user_info = self.at_rest.seal(&place("registrations.user_info", &tag), &user_info)?;
        sqlx::query(
            "INSERT INTO registrations (serial_tag, serial_sealed, user_info_sealed, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (serial_tag) \
             DO UPDATE SET user_info_sealed = excluded.user_info_sealed",
        )
        .bind(tag.clone())
        .bind(serial)
        .bind(user_info)
        .bind(self.now as i64)
        .execute(&mut *self.tx.tx)
        .await?;
        Ok(())
    }

    /// Uses a registration up; false when there is none.
    pub async fn use_registration(&mut self, serial: &HardwareSerial) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM registrations WHERE serial_tag = $1")
            .bind(self.serial_tag(serial));
        Ok(query.execute(&mut *self.tx.tx).await?.rows_affected() == 1)
    }
}

fn place<'a>(column: &'static str, tag: &'a [u8]) -> Place<'a> {
    Place { column, device: DeviceId([0; 16]), generation: 0, row: tag }
}
