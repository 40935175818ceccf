//! What waits for the server's answer: first in, first out.

use rusqlite::{OptionalExtension, Row, params};
use twinseal_scheme::Secret;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::trade::Content;
use zeroize::Zeroizing;

use super::{Tx, damaged, signed};
use crate::Error;

/// An epoch that has begun.
pub(crate) struct Epoch {
    pub generation: u32,
    pub epoch: u64,
    pub sequence: u64,
    /// Opens the server's answers to the epoch's envelopes.
    pub answer_key: Secret,
}

/// A sealed message, on its way into the outbox.
pub(crate) struct Sealed {
    pub generation: u32,
    pub epoch: u64,
    pub envelope: Vec<u8>,
    pub outer: Outer,
    pub content: Content,
}

/// An envelope in the outbox.
#[derive(Clone, Debug)]
pub(crate) struct OutRow {
    pub id: i64,
    pub generation: u32,
    pub epoch: u64,
    pub envelope: Vec<u8>,
    /// The trade; an epoch-open has none.
    pub trade: Option<TradeId>,
}

const ANSWER_KEY: &str = "answer key";
const CONTENT: &str = "message in the outbox";
const ROW: &str = "SELECT id, generation, epoch, envelope, trade FROM outbox";

impl Tx<'_> {
    /// Begins an epoch: its answer key, and its epoch-open behind everything that waits. An
    /// epoch-open that nothing was sealed behind has no purpose any more and is dropped.
    pub(crate) fn begin_epoch(&self, epoch: &Epoch, envelope: &[u8]) -> Result<(), Error> {
        self.execute(
            "DELETE FROM outbox WHERE trade IS NULL AND EXISTS (SELECT 1 FROM epochs
                WHERE epochs.generation = outbox.generation AND epochs.epoch = outbox.epoch
                AND used = 0)",
            [],
        )?;
        self.execute(
            "INSERT INTO epochs (generation, epoch, sequence, answer_key) VALUES (?1, ?2, ?3, ?4)",
            params![
                epoch.generation,
                signed(epoch.epoch),
                signed(epoch.sequence),
                self.cipher.seal(ANSWER_KEY, epoch.answer_key.expose())?,
            ],
        )?;
        self.execute(
            "INSERT INTO outbox (generation, epoch, envelope) VALUES (?1, ?2, ?3)",
            params![epoch.generation, signed(epoch.epoch), envelope],
        )?;
        self.forget_answered_epochs(epoch.generation, epoch.epoch)
    }

    /// Forgets the answer keys that nothing waits for.
    fn forget_answered_epochs(&self, generation: u32, epoch: u64) -> Result<(), Error> {
        self.execute(
            "DELETE FROM epochs WHERE (generation, epoch) <> (?1, ?2) AND NOT EXISTS
                (SELECT 1 FROM outbox WHERE outbox.generation = epochs.generation
                    AND outbox.epoch = epochs.epoch)",
            params![generation, signed(epoch)],
        )?;
        Ok(())
    }

    /// Remembers that something was sealed in the epoch.
    pub(crate) fn use_epoch(&self, generation: u32, epoch: u64) -> Result<(), Error> {
        let sql = "UPDATE epochs SET used = 1 WHERE generation = ?1 AND epoch = ?2 AND used = 0";
        self.execute(sql, params![generation, signed(epoch)])?;
        Ok(())
    }

    pub(crate) fn answer_key(&self, row: &OutRow) -> Result<Secret, Error> {
        let sealed: Vec<u8> = self.query_row(
            "SELECT answer_key FROM epochs WHERE generation = ?1 AND epoch = ?2",
            params![row.generation, signed(row.epoch)],
            |row| row.get(0),
        )?;
        let key = Zeroizing::new(self.cipher.open_value(ANSWER_KEY, &sealed)?);
        Secret::try_from(key.as_slice()).map_err(|_| damaged(ANSWER_KEY))
    }

    pub(crate) fn push(&self, sealed: &Sealed) -> Result<(), Error> {
        self.use_epoch(sealed.generation, sealed.epoch)?;
        let content = &sealed.content;
        self.execute(
            "INSERT INTO outbox (generation, epoch, envelope, trade, idx, layering, content)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                sealed.generation,
                signed(sealed.epoch),
                sealed.envelope,
                content.trade.0,
                content.index.number(),
                sealed.outer.number(),
                self.cipher.seal(CONTENT, &content.encode())?,
            ],
        )?;
        Ok(())
    }

    /// The envelope to carry next.
    pub(crate) fn first(&self) -> Result<Option<OutRow>, Error> {
        let query = format!("{ROW} WHERE anew = 0 ORDER BY id LIMIT 1");
        Ok(self.query_row(&query, [], read_row).optional()?)
    }

    pub(crate) fn out_row(&self, id: i64) -> Result<Option<OutRow>, Error> {
        Ok(self.query_row(&format!("{ROW} WHERE id = ?1"), [id], read_row).optional()?)
    }

    /// Takes an answered envelope out.
    pub(crate) fn take_out(&self, id: i64) -> Result<(), Error> {
        self.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Whether the epoch's opening still waits for its answer.
    pub(crate) fn waits_for_opening(&self, generation: u32, epoch: u64) -> Result<bool, Error> {
        let query = "SELECT EXISTS (SELECT 1 FROM outbox WHERE trade IS NULL AND generation = ?1
            AND epoch = ?2)";
        Ok(self.query_row(query, params![generation, signed(epoch)], |row| row.get(0))?)
    }

    /// How many envelopes wait.
    pub(crate) fn pending(&self) -> Result<u32, Error> {
        Ok(self.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?)
    }

    /// How many of a trade's messages wait.
    pub(crate) fn pending_of(&self, trade: TradeId) -> Result<u32, Error> {
        let query = "SELECT count(*) FROM outbox WHERE trade = ?1";
        Ok(self.query_row(query, [trade.0], |row| row.get(0))?)
    }

    /// The messages of one epoch cannot be accepted as they are: they are sealed again, and the
    /// epoch's opening has no purpose any more.
    pub(crate) fn seal_anew(&self, generation: u32, epoch: u64) -> Result<(), Error> {
        let of_epoch = params![generation, signed(epoch)];
        let messages = "UPDATE outbox SET anew = 1 WHERE generation = ?1 AND epoch = ?2";
        let opening = "DELETE FROM outbox WHERE generation = ?1 AND epoch = ?2 AND trade IS NULL";
        self.execute(messages, of_epoch)?;
        self.execute(opening, of_epoch)?;
        Ok(())
    }

    /// As [`Tx::seal_anew`], for everything of statements that the server has made void.
    pub(crate) fn seal_anew_below(&self, min_sequence: u64) -> Result<(), Error> {
        for (generation, epoch) in self.epochs("WHERE sequence < ?1", signed(min_sequence))? {
            self.seal_anew(generation, epoch)?;
        }
        Ok(())
    }

    /// As [`Tx::seal_anew`], for everything: the device has other keys. Epochs begin again at 1,
    /// so those of before make room for them.
    pub(crate) fn seal_all_anew(&self) -> Result<(), Error> {
        self.execute("DELETE FROM outbox WHERE trade IS NULL", [])?;
        self.execute("INSERT OR IGNORE INTO epochs VALUES (0, 0, 0, x'', 1)", [])?;
        self.execute("UPDATE outbox SET anew = 1, generation = 0, epoch = 0", [])?;
        self.execute("DELETE FROM epochs WHERE generation <> 0", [])?;
        Ok(())
    }

    fn epochs(&self, which: &str, than: i64) -> Result<Vec<(u32, u64)>, Error> {
        let mut query =
            self.sql.prepare_cached(&format!("SELECT generation, epoch FROM epochs {which}"))?;
        let rows = query
            .query_map([than], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The next message to seal again: its row, its order and its content.
    pub(crate) fn next_to_seal_anew(&self) -> Result<Option<(i64, Outer, Content)>, Error> {
        let query = "SELECT id, layering, content FROM outbox WHERE anew = 1 ORDER BY id LIMIT 1";
        let found = self.query_row(query, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u8>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let Some((id, outer, content)) = found.optional()? else { return Ok(None) };
        let outer = Outer::of_number(outer).map_err(|_| damaged(CONTENT))?;
        let content = self.cipher.open_value(CONTENT, &content)?;
        let content = Content::decode(&content).map_err(|_| damaged(CONTENT))?;
        Ok(Some((id, outer, content)))
    }

    /// Forgets everything that waits: the server that it was for is left.
    pub(crate) fn empty_outbox(&self) -> Result<(), Error> {
        self.execute("DELETE FROM outbox", [])?;
        self.execute("DELETE FROM epochs", [])?;
        self.execute("DELETE FROM acks", [])?;
        Ok(())
    }
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<OutRow> {
    Ok(OutRow {
        id: row.get(0)?,
        generation: row.get(1)?,
        epoch: row.get::<_, i64>(2)?.cast_unsigned(),
        envelope: row.get(3)?,
        trade: row.get::<_, Option<[u8; 16]>>(4)?.map(TradeId),
    })
}
