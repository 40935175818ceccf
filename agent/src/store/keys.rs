//! Keys of applications: their owners, their labels, their blobs.

use rusqlite::{OptionalExtension, Row, params};
use twinseal_hardware::ApplicationKey;
use twinseal_scheme::id::ApplicationKeyId;

use super::{Tx, damaged, signed};
use crate::{Caller, Error, KeyView};

const COLUMNS: &str = "id, owner, gid, label, certificate, created, key, cka_id";

impl Tx<'_> {
    /// A key, whoever's it is.
    pub(crate) fn key(&self, id: ApplicationKeyId) -> Result<Option<KeyView>, Error> {
        let query = format!("SELECT {COLUMNS} FROM keys WHERE id = ?1");
        let found = self.query_row(&query, [id.0], |row| Ok(self.read_key(row))).optional()?;
        found.transpose()
    }

    /// The keys that the caller may use.
    pub(crate) fn key_ids(&self, caller: &Caller) -> Result<Vec<ApplicationKeyId>, Error> {
        let mut ids = self.ids("SELECT id FROM keys WHERE owner = ?1", caller.uid)?;
        for gid in &caller.gids {
            ids.extend(self.ids("SELECT id FROM keys WHERE gid = ?1", *gid)?);
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// How many keys a user has.
    pub(crate) fn keys_owned(&self, uid: u32) -> Result<u32, Error> {
        Ok(self.query_row("SELECT count(*) FROM keys WHERE owner = ?1", [uid], |row| row.get(0))?)
    }

    /// Stores a key, in the place of what is stored of it.
    pub(crate) fn put_key(&self, view: &KeyView) -> Result<(), Error> {
        let id = view.id;
        self.execute(
            "INSERT OR REPLACE INTO keys (id, owner, gid, label, certificate, created, key, cka_id)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id.0,
                view.owner,
                view.group,
                self.cipher.seal(&label_of(id), view.label.as_bytes())?,
                view.certificate,
                signed(view.created),
                self.cipher.seal(&blob_of(id), &view.key.to_bytes())?,
                view.cka_id,
            ],
        )?;
        Ok(())
    }

    pub(crate) fn delete_key(&self, id: ApplicationKeyId) -> Result<(), Error> {
        self.execute("DELETE FROM keys WHERE id = ?1", [id.0])?;
        Ok(())
    }

    fn ids(&self, query: &str, number: u32) -> Result<Vec<ApplicationKeyId>, Error> {
        let mut query = self.sql.prepare_cached(query)?;
        let ids = query.query_map([number], |row| Ok(ApplicationKeyId(row.get(0)?)))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    fn read_key(&self, row: &Row<'_>) -> Result<KeyView, Error> {
        let id = ApplicationKeyId(row.get(0)?);
        let label = self.cipher.open_value(&label_of(id), &row.get::<_, Vec<u8>>(3)?)?;
        let blob = self.cipher.open_value(&blob_of(id), &row.get::<_, Vec<u8>>(6)?)?;
        Ok(KeyView {
            id,
            owner: row.get(1)?,
            group: row.get(2)?,
            label: String::from_utf8(label.to_vec()).map_err(|_| damaged("label"))?,
            cka_id: row.get(7)?,
            certificate: row.get(4)?,
            created: row.get::<_, i64>(5)?.cast_unsigned(),
            key: ApplicationKey::from_bytes(&blob).map_err(|_| damaged("application key"))?,
        })
    }
}

fn label_of(id: ApplicationKeyId) -> String {
    format!("label of key {id}")
}

fn blob_of(id: ApplicationKeyId) -> String {
    format!("application key {id}")
}
