//! What has arrived, until the application has it, and what the server must still hear of it.

use rusqlite::{OptionalExtension, params};
use twinseal_scheme::answer::{ACKS_MAX, Ack};
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{InnerHash, TradeId};
use twinseal_scheme::trade::{Content, Index, MessageType, Row, Withdrawn};

use super::{Tx, damaged};
use crate::Error;

/// Messages that one call hands over.
const HANDED_MAX: usize = 64;
const CONTENT: &str = "message in the inbox";

impl Tx<'_> {
    /// The hash of what stands under an index.
    pub(crate) fn known(&self, id: TradeId, index: Index) -> Result<Option<InnerHash>, Error> {
        let query = "SELECT hash FROM inbox WHERE trade = ?1 AND idx = ?2";
        let found = self.query_row(query, params![id.0, index.number()], |row| row.get(0));
        Ok(found.optional()?.map(InnerHash))
    }

    /// What stands under an index, for [`twinseal_scheme::trade::Trade::pass`].
    pub(crate) fn row(&self, id: TradeId, index: Index) -> Result<Option<Row>, Error> {
        let query = "SELECT hash, type, content FROM inbox WHERE trade = ?1 AND idx = ?2";
        let found = self.query_row(query, params![id.0, index.number()], |row| {
            Ok((row.get(0)?, row.get::<_, Option<u8>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        });
        match found.optional()? {
            None => Ok(None),
            Some((hash, None, _)) => Ok(Some(Row::Withdrawn(InnerHash(hash)))),
            Some((_, Some(_), Some(sealed))) => Ok(Some(Row::Message(self.open_content(&sealed)?))),
            Some((_, Some(_), None)) => Err(damaged(CONTENT)),
        }
    }

    pub(crate) fn put_message(&self, content: &Content) -> Result<(), Error> {
        self.execute(
            "INSERT INTO inbox (trade, idx, hash, type, content) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                content.trade.0,
                content.index.number(),
                content.inner_hash(Direction::Down).0,
                content.message_type.number(),
                self.cipher.seal(CONTENT, &content.encode())?,
            ],
        )?;
        Ok(())
    }

    pub(crate) fn put_withdrawn(&self, id: TradeId, message: &Withdrawn) -> Result<(), Error> {
        self.execute(
            "INSERT INTO inbox (trade, idx, hash) VALUES (?1, ?2, ?3)",
            params![id.0, message.index.number(), message.hash.0],
        )?;
        Ok(())
    }

    /// The application's messages with indices above `after` and up to `upto`, in order.
    pub(crate) fn messages(
        &self,
        id: TradeId,
        after: u32,
        upto: u32,
    ) -> Result<Vec<Content>, Error> {
        let mut query = self.sql.prepare_cached(
            "SELECT content FROM inbox WHERE trade = ?1 AND idx > ?2 AND idx <= ?3
                AND content IS NOT NULL ORDER BY idx",
        )?;
        let rows = query.query_map(params![id.0, after, upto], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|sealed| self.open_content(&sealed?))
            .filter(|content| {
                content.as_ref().map_or(true, |content| content.message_type.is_for_application())
            })
            .take(HANDED_MAX)
            .collect()
    }

    /// Forgets what the application says it has: the contents up to an index, not their hashes.
    pub(crate) fn forget_messages(&self, id: TradeId, upto: u32) -> Result<(), Error> {
        self.execute(
            "UPDATE inbox SET content = NULL WHERE trade = ?1 AND idx <= ?2 AND type <> ?3
                AND content IS NOT NULL",
            params![id.0, upto, MessageType::Receipt.number()],
        )?;
        Ok(())
    }

    /// The newest receipt that has arrived for a trade, signed by the server.
    pub(crate) fn received_receipt(&self, id: TradeId) -> Result<Option<Vec<u8>>, Error> {
        let query = "SELECT content FROM inbox WHERE trade = ?1 AND type = ?2
            AND content IS NOT NULL ORDER BY idx DESC LIMIT 1";
        let with = params![id.0, MessageType::Receipt.number()];
        let sealed: Option<Vec<u8>> = self.query_row(query, with, |row| row.get(0)).optional()?;
        sealed.map(|sealed| Ok(self.open_content(&sealed)?.payload)).transpose()
    }

    pub(crate) fn put_ack(&self, ack: &Ack) -> Result<(), Error> {
        self.execute(
            "INSERT OR IGNORE INTO acks VALUES (?1, ?2, ?3)",
            params![ack.trade_id, ack.index, ack.inner_hash],
        )?;
        Ok(())
    }

    /// As many acknowledgements as one fetch can carry.
    pub(crate) fn acks(&self) -> Result<Vec<Ack>, Error> {
        let mut query =
            self.sql.prepare_cached("SELECT trade, idx, inner_hash FROM acks LIMIT ?1")?;
        let rows = query.query_map([ACKS_MAX as i64], |row| {
            Ok(Ack { trade_id: row.get(0)?, index: row.get(1)?, inner_hash: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The server has them.
    pub(crate) fn take_acks(&self, acks: &[Ack]) -> Result<(), Error> {
        let sql = "DELETE FROM acks WHERE trade = ?1 AND idx = ?2 AND inner_hash = ?3";
        for ack in acks {
            self.execute(sql, params![ack.trade_id, ack.index, ack.inner_hash])?;
        }
        Ok(())
    }

    fn open_content(&self, sealed: &[u8]) -> Result<Content, Error> {
        let content = self.cipher.open_value(CONTENT, sealed)?;
        Content::decode(&content).map_err(|_| damaged(CONTENT))
    }
}
