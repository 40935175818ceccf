//! An enrolment under way: every message is durable before it is sent, so that a crash at any
//! point goes on with the same bytes.

use rusqlite::{OptionalExtension, Row, params};
use twinseal_hardware::ChipKeys;
use twinseal_scheme::enrol::UserInfo;
use twinseal_scheme::link::Link;

use super::device::{read_user_info, write_user_info};
use super::{Tx, damaged, signed};
use crate::Error;

/// The transcript so far. Messages that are not there yet are empty.
#[derive(Clone)]
pub(crate) struct Enrolment {
    /// Who began it.
    pub uid: u32,
    pub link: Link,
    pub user_info: UserInfo,
    pub keys: ChipKeys,
    /// The EK's certificate, and intermediate ones, as a TPM holds them.
    pub certificates: Vec<Vec<u8>>,
    /// Of Q.
    pub nonce: [u8; 32],
    pub m0: Vec<u8>,
    pub m1: Vec<u8>,
    pub m2: Vec<u8>,
    pub m3: Vec<u8>,
    pub m4: Vec<u8>,
    pub m5: Vec<u8>,
    /// The counter's value that M5 names.
    pub base: u64,
}

const LINK: &str = "enrolment link";
const KEYS: &str = "keys of an enrolment";
const USER_INFO: &str = "user information of an enrolment";

impl Tx<'_> {
    pub(crate) fn enrolment(&self) -> Result<Option<Enrolment>, Error> {
        let query = "SELECT uid, link, user_info, keys, certificates, nonce, m0, m1, m2, m3, m4,
            m5, base FROM enrolment";
        let found = self.query_row(query, [], |row| Ok(self.read_enrolment(row))).optional()?;
        found.transpose()
    }

    fn read_enrolment(&self, row: &Row<'_>) -> Result<Enrolment, Error> {
        let link = self.cipher.open_value(LINK, &row.get::<_, Vec<u8>>(1)?)?;
        let link = std::str::from_utf8(&link).map_err(|_| damaged(LINK))?;
        let user_info = self.cipher.open_value(USER_INFO, &row.get::<_, Vec<u8>>(2)?)?;
        let keys = self.cipher.open_value(KEYS, &row.get::<_, Vec<u8>>(3)?)?;
        let message = |column| Ok::<_, Error>(row.get::<_, Option<_>>(column)?.unwrap_or_default());
        Ok(Enrolment {
            uid: row.get(0)?,
            link: link.parse().map_err(|_| damaged(LINK))?,
            user_info: read_user_info(&user_info)?,
            keys: ChipKeys::from_bytes(&keys).map_err(|_| damaged(KEYS))?,
            certificates: split(&row.get::<_, Vec<u8>>(4)?)?,
            nonce: row.get(5)?,
            m0: message(6)?,
            m1: message(7)?,
            m2: message(8)?,
            m3: message(9)?,
            m4: message(10)?,
            m5: message(11)?,
            base: row.get::<_, Option<i64>>(12)?.unwrap_or_default().cast_unsigned(),
        })
    }

    pub(crate) fn put_enrolment(&self, enrolment: &Enrolment) -> Result<(), Error> {
        self.execute(
            "INSERT OR REPLACE INTO enrolment VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                ?11, ?12, ?13)",
            params![
                enrolment.uid,
                self.cipher.seal(LINK, enrolment.link.to_string().as_bytes())?,
                self.cipher.seal(USER_INFO, &write_user_info(&enrolment.user_info)?)?,
                self.cipher.seal(KEYS, &enrolment.keys.to_bytes())?,
                join(&enrolment.certificates),
                enrolment.nonce,
                enrolment.m0,
                enrolment.m1,
                enrolment.m2,
                enrolment.m3,
                enrolment.m4,
                enrolment.m5,
                signed(enrolment.base),
            ],
        )?;
        Ok(())
    }

    pub(crate) fn end_enrolment(&self) -> Result<(), Error> {
        self.execute("DELETE FROM enrolment", [])?;
        Ok(())
    }
}

/// Each behind its length (u32, big-endian).
fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let each = |part: &Vec<u8>| [&(part.len() as u32).to_be_bytes()[..], part].concat();
    parts.iter().flat_map(each).collect()
}

fn split(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut parts = vec![];
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (part, rest) =
            rest.split_at_checked(length).ok_or_else(|| damaged("EK certificates"))?;
        parts.push(part.to_vec());
        bytes = rest;
    }
    Ok(parts)
}
