//! CKA_IDs of what a token may hold and nobody needs.

use twinseal_hardware::{ChipKeys, TokenId};

use super::Tx;
use crate::Error;

impl Tx<'_> {
    pub(crate) fn leftovers(&self) -> Result<Vec<TokenId>, Error> {
        let mut query = self.sql.prepare_cached("SELECT id FROM leftovers")?;
        let ids = query.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    pub(crate) fn put_leftovers(&self, ids: &[TokenId]) -> Result<(), Error> {
        for id in ids {
            self.execute("INSERT OR IGNORE INTO leftovers VALUES (?1)", [id])?;
        }
        Ok(())
    }

    pub(crate) fn forget_leftovers(&self, ids: &[TokenId]) -> Result<(), Error> {
        for id in ids {
            self.execute("DELETE FROM leftovers WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    /// Keys of an enrolment that is over. A TPM holds none.
    pub(crate) fn leave_over(&self, keys: &ChipKeys) -> Result<(), Error> {
        match keys {
            ChipKeys::Token(keys) => self.put_leftovers(&keys.ids()),
            ChipKeys::Tpm(_) => Ok(()),
        }
    }

    /// Keys that somebody keeps from now on.
    pub(crate) fn keep_of_token(&self, keys: &ChipKeys) -> Result<(), Error> {
        match keys {
            ChipKeys::Token(keys) => self.forget_leftovers(&keys.ids()),
            ChipKeys::Tpm(_) => Ok(()),
        }
    }
}
