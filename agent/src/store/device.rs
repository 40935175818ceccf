//! The device as one server knows it.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use twinseal_hardware::ChipKeys;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::UserInfo;
use twinseal_scheme::epoch::judge::CounterRecord;
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::{
    DecryptionAlgorithm, DecryptionPublic, Encapsulation, SigningAlgorithm, SigningPublic,
};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;
use zeroize::Zeroizing;

use super::{Tx, damaged, signed};
use crate::Error;
use crate::chip_keys::PublicKeys;

/// What the server has last said of the device, by an answer that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Active = 0,
    Suspended = 1,
    Revoked = 2,
}

/// Everything that one enrolment left behind. The chip turns `encapsulation` into CK_0 again at
/// every start; neither that nor anything that follows from it is stored.
#[derive(Clone)]
pub(crate) struct Device {
    pub bond: Bond,
    /// E.
    pub encapsulation: Encapsulation,
    /// The counter's value at epoch 0; 0 of a token, whose counter is this record.
    pub base: u64,
    pub keys: ChipKeys,
    pub user_info: UserInfo,
    /// Where the server is; the courier's business.
    pub origin: String,
    pub assurance: String,
    /// The newest `server_keys` statement, as signed; what it says was verified.
    pub statement: Vec<u8>,
    pub server_keys: ServerKeys,
    pub standing: Standing,
    pub counter: CounterRecord,
    /// Unix seconds.
    pub last_contact: u64,
}

const KEYS: &str = "device keys";
const PUBLIC_KEY: &str = "public key";
const USER_INFO: &str = "user information";

impl Tx<'_> {
    pub(crate) fn device(&self) -> Result<Option<Device>, Error> {
        let query = "SELECT server_id, device_id, serial, generation, keyset, signing, decryption,
            encapsulation, base, keys, user_info, origin, assurance, statement, standing,
            counter_intended, counter_opened, last_contact, signing_algorithm,
            decryption_algorithm FROM device";
        let found = self.query_row(query, [], |row| Ok(self.read_device(row))).optional()?;
        found.transpose()
    }

    fn read_device(&self, row: &Row<'_>) -> Result<Device, Error> {
        let (signing, decryption): (Vec<u8>, Vec<u8>) = (row.get(5)?, row.get(6)?);
        let signing = SigningAlgorithm::of_number(row.get(18)?)
            .and_then(|algorithm| SigningPublic::from_spki(algorithm, &signing));
        let decryption = DecryptionAlgorithm::of_number(row.get(19)?)
            .and_then(|algorithm| DecryptionPublic::from_spki(algorithm, &decryption));
        let bond = Bond {
            server_id: ServerId(row.get(0)?),
            device_id: DeviceId(row.get(1)?),
            serial: HardwareSerial::from_bytes(row.get(2)?),
            generation: row.get(3)?,
            keyset: row.get(4)?,
            signing: signing.map_err(|_| damaged(PUBLIC_KEY))?,
            decryption: decryption.map_err(|_| damaged(PUBLIC_KEY))?,
        };
        let keys = self.cipher.open_value(KEYS, &row.get::<_, Vec<u8>>(9)?)?;
        let keys = ChipKeys::from_bytes(&keys).map_err(|_| damaged(KEYS))?;
        let encapsulation: Vec<u8> = row.get(7)?;
        let encapsulation = PublicKeys::of(&keys)
            .and_then(|public| Encapsulation::decode(&public.serial, &encapsulation));
        let user_info = self.cipher.open_value(USER_INFO, &row.get::<_, Vec<u8>>(10)?)?;
        let statement: Vec<u8> = row.get(13)?;
        let server_keys = ServerKeys::verify(&statement, &bond.server_id)
            .map_err(|_| damaged("server_keys statement"))?;
        Ok(Device {
            bond,
            encapsulation: encapsulation.map_err(|_| damaged(PUBLIC_KEY))?,
            base: row.get::<_, i64>(8)?.cast_unsigned(),
            keys,
            user_info: read_user_info(&user_info)?,
            origin: row.get(11)?,
            assurance: row.get(12)?,
            statement,
            server_keys,
            standing: match row.get::<_, u8>(14)? {
                0 => Standing::Active,
                1 => Standing::Suspended,
                _ => Standing::Revoked,
            },
            counter: CounterRecord {
                intended: row.get::<_, i64>(15)?.cast_unsigned(),
                opened: row.get(16)?,
            },
            last_contact: row.get::<_, i64>(17)?.cast_unsigned(),
        })
    }

    pub(crate) fn put_device(&self, device: &Device) -> Result<(), Error> {
        let bond = &device.bond;
        self.execute(
            "INSERT OR REPLACE INTO device VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            params![
                bond.server_id.0,
                bond.device_id.0,
                bond.serial.as_bytes(),
                bond.generation,
                bond.keyset,
                bond.signing.algorithm().number(),
                bond.signing.spki(),
                bond.decryption.algorithm().number(),
                bond.decryption.spki(),
                device.encapsulation.bytes(),
                signed(device.base),
                self.cipher.seal(KEYS, &device.keys.to_bytes())?,
                self.cipher.seal(USER_INFO, &write_user_info(&device.user_info)?)?,
                device.origin,
                device.assurance,
                device.statement,
                device.standing as u8,
                signed(device.counter.intended),
                device.counter.opened,
                signed(device.last_contact),
            ],
        )?;
        Ok(())
    }

    /// What the counter is about to be, or the epoch that it now stands for.
    pub(crate) fn put_counter(&self, counter: CounterRecord) -> Result<(), Error> {
        let sql = "UPDATE device SET counter_intended = ?1, counter_opened = ?2";
        self.execute(sql, params![signed(counter.intended), counter.opened])?;
        Ok(())
    }

    pub(crate) fn put_standing(&self, standing: Standing) -> Result<(), Error> {
        self.execute("UPDATE device SET standing = ?1", [standing as u8])?;
        Ok(())
    }

    pub(crate) fn put_statement(&self, statement: &[u8]) -> Result<(), Error> {
        self.execute("UPDATE device SET statement = ?1", [statement])?;
        Ok(())
    }

    /// `now`: unix seconds.
    pub(crate) fn put_last_contact(&self, now: u64) -> Result<(), Error> {
        self.execute("UPDATE device SET last_contact = ?1", [signed(now)])?;
        Ok(())
    }
}

pub(super) fn write_user_info(info: &UserInfo) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text = toml::to_string(info.entries()).map_err(|_| damaged(USER_INFO))?;
    Ok(Zeroizing::new(text.into_bytes()))
}

pub(super) fn read_user_info(bytes: &[u8]) -> Result<UserInfo, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(USER_INFO))?;
    let entries: BTreeMap<String, String> = toml::from_str(text).map_err(|_| damaged(USER_INFO))?;
    UserInfo::new(entries).map_err(|_| damaged(USER_INFO))
}
