//! Trades: their owners, their state, their receipts.

use rusqlite::{OptionalExtension, Row, params};
use twinseal_scheme::id::{InnerHash, TradeId};
use twinseal_scheme::trade::{Index, MessageType, Service, Stage, Trade, Withdrawn};

use super::{Tx, damaged, signed};
use crate::Error;

/// A trade and whom it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct TradeRow {
    /// A user id; none while nobody listens for its service.
    pub owner: Option<u32>,
    pub trade: Trade,
}

const RECEIPT: &str = "receipt";

impl Tx<'_> {
    pub(crate) fn trade(&self, id: TradeId) -> Result<Option<TradeRow>, Error> {
        let query = "SELECT owner, state FROM trades WHERE id = ?1";
        let found = self.query_row(query, [id.0], |row| Ok(read_trade(row))).optional()?;
        found.transpose()
    }

    /// The trades of one owner.
    pub(crate) fn trade_ids(&self, uid: u32) -> Result<Vec<TradeId>, Error> {
        let mut query = self.sql.prepare_cached("SELECT id FROM trades WHERE owner = ?1")?;
        let ids = query.query_map([uid], |row| Ok(TradeId(row.get(0)?)))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The trades that go on, of everybody.
    pub(crate) fn trades_going_on(&self) -> Result<Vec<TradeRow>, Error> {
        self.read_trades("WHERE ended_epoch IS NULL", params![])
    }

    /// Ends the trades of which the server has heard anything, since it was restored and may have
    /// forgotten some of it, and takes what they sealed out of the outbox. Gives the owners of
    /// those that end. `epoch` is the present one.
    pub(crate) fn end_trades_heard(&self, epoch: u64) -> Result<Vec<(u32, TradeId)>, Error> {
        let mut ended = vec![];
        for mut row in self.trades_going_on()? {
            let id = row.trade.id();
            let waits = self.pending_of(id)?;
            if row.trade.received().count == 0 && row.trade.sent().count == waits {
                continue;
            }
            row.trade.refuse();
            self.put_trade(&row, epoch)?;
            ended.extend(row.owner.map(|uid| (uid, id)));
        }
        let of_ended = "trade IN (SELECT id FROM trades WHERE ended_epoch IS NOT NULL)";
        self.execute(&format!("DELETE FROM outbox WHERE {of_ended}"), [])?;
        self.execute("DELETE FROM acks", [])?;
        Ok(ended)
    }

    /// The trades of a service that go on and belong to nobody, or to this user.
    pub(crate) fn trades_for_listener(
        &self,
        service: &Service,
        uid: u32,
    ) -> Result<Vec<TradeRow>, Error> {
        self.read_trades(
            "WHERE ended_epoch IS NULL AND service = ?1 AND (owner IS NULL OR owner = ?2)",
            params![service.as_str(), uid],
        )
    }

    fn read_trades(
        &self,
        which: &str,
        with: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<TradeRow>, Error> {
        let mut query =
            self.sql.prepare_cached(&format!("SELECT owner, state FROM trades {which}"))?;
        let rows = query.query_map(with, |row| Ok(read_trade(row)))?;
        rows.map(|row| row?).collect()
    }

    /// How many trades of one owner go on.
    pub(crate) fn trades_open(&self, uid: u32) -> Result<u32, Error> {
        let query = "SELECT count(*) FROM trades WHERE owner = ?1 AND ended_epoch IS NULL";
        Ok(self.query_row(query, [uid], |row| row.get(0))?)
    }

    /// Stores a trade as it is after a transition in `epoch`.
    pub(crate) fn put_trade(&self, row: &TradeRow, epoch: u64) -> Result<(), Error> {
        let trade = &row.trade;
        let id = trade.id().0;
        let ended = matches!(trade.stage(), Stage::Ended | Stage::Refused).then(|| signed(epoch));
        self.execute(
            "INSERT INTO trades (id, owner, service, state, ended_epoch)
                VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (id) DO UPDATE SET owner = ?2, state = ?4,
                    ended_epoch = coalesce(ended_epoch, ?5)",
            params![id, row.owner, trade.service().as_str(), trade.encode(), ended],
        )?;
        if ended.is_some() {
            self.execute("DELETE FROM loose WHERE trade = ?1", [id])?;
        }
        Ok(())
    }

    /// Forgets trades that ended in an epoch of which nothing can arrive any more, and whose
    /// messages the application has; of those with a receipt, all but the newest.
    pub(crate) fn forget_trades(&self, before_epoch: u64, receipts_kept: u32) -> Result<(), Error> {
        self.execute(
            "DELETE FROM trades WHERE ended_epoch < ?1 AND NOT EXISTS
                (SELECT 1 FROM inbox WHERE inbox.trade = trades.id AND type <> ?3
                    AND content IS NOT NULL)
                AND id NOT IN (SELECT id FROM trades WHERE receipt IS NOT NULL
                    ORDER BY ended_epoch DESC LIMIT ?2)",
            params![signed(before_epoch), receipts_kept, MessageType::Receipt.number()],
        )?;
        Ok(())
    }

    pub(crate) fn put_receipt(&self, id: TradeId, receipt: &[u8]) -> Result<(), Error> {
        let sealed = self.cipher.seal(RECEIPT, receipt)?;
        self.execute("UPDATE trades SET receipt = ?2 WHERE id = ?1", params![id.0, sealed])?;
        Ok(())
    }

    pub(crate) fn receipt(&self, id: TradeId) -> Result<Option<Vec<u8>>, Error> {
        let query = "SELECT receipt FROM trades WHERE id = ?1";
        let sealed: Option<Option<Vec<u8>>> =
            self.query_row(query, [id.0], |row| row.get(0)).optional()?;
        let open = |sealed: Vec<u8>| self.cipher.open_value(RECEIPT, &sealed);
        Ok(sealed.flatten().map(open).transpose()?.map(|receipt| receipt.to_vec()))
    }

    /// Remembers a message that its application carries itself.
    pub(crate) fn put_loose(&self, id: TradeId, message: &Withdrawn) -> Result<(), Error> {
        self.execute(
            "INSERT INTO loose VALUES (?1, ?2, ?3)",
            params![id.0, message.index.number(), message.hash.0],
        )?;
        Ok(())
    }

    /// The messages of a trade that its application carries itself, in order.
    pub(crate) fn loose(&self, id: TradeId) -> Result<Vec<Withdrawn>, Error> {
        let mut query =
            self.sql.prepare_cached("SELECT idx, hash FROM loose WHERE trade = ?1 ORDER BY idx")?;
        let rows =
            query.query_map([id.0], |row| Ok((row.get::<_, u32>(0)?, InnerHash(row.get(1)?))))?;
        rows.map(|row| {
            let (number, hash) = row?;
            let index = Index::new(number).map_err(|_| damaged("index"))?;
            Ok(Withdrawn { index, hash })
        })
        .collect()
    }
}

fn read_trade(row: &Row<'_>) -> Result<TradeRow, Error> {
    let trade = Trade::decode(&row.get::<_, Vec<u8>>(1)?).map_err(|_| damaged("trade"))?;
    Ok(TradeRow { owner: row.get(0)?, trade })
}
