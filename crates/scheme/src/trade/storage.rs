//! A trade as bytes, for whoever stores it.

use crate::Reason;
use crate::cbor::{self, Items};
use crate::direction::Direction;
use crate::id::TradeId;
use crate::message::Outer;

use super::{Chain, Kind, SERVICE_LEN_MAX, Service, Trade};

/// Room for an encoded trade.
const TRADE_LEN_MAX: usize = 1024;

impl Trade {
    /// The trade as bytes for its storage: CBOR, deterministic.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array![
            self.id,
            self.service,
            self.me.number(),
            self.opener.number(),
            self.outer.number(),
            self.kind.map(Kind::number),
            self.sent,
            self.received,
            self.close_sent,
            self.close_received,
            self.peer_has,
            self.receipts,
            u8::from(self.is_refused)
        ]
    }

    /// Reads what [`Trade::encode`] writes.
    ///
    /// # Errors
    /// Those of [`cbor::decode`], [`Reason::WrongShape`].
    pub fn decode(bytes: &[u8]) -> Result<Trade, Reason> {
        let mut items = Items::decode(bytes, TRADE_LEN_MAX, 13)?;
        let chain_or_null = |items: &mut Items| match items.null() {
            true => Ok(None),
            false => Chain::read(items).map(Some),
        };
        Ok(Trade {
            id: TradeId(items.fixed()?),
            service: Service::new(&items.text(SERVICE_LEN_MAX)?)?,
            me: Direction::of_number(items.uint()?)?,
            opener: Direction::of_number(items.uint()?)?,
            outer: Outer::of_number(items.uint()?)?,
            kind: match items.null() {
                true => None,
                false => Some(Kind::of_number(items.uint()?).ok_or(Reason::WrongShape)?),
            },
            sent: Chain::read(&mut items)?,
            received: Chain::read(&mut items)?,
            close_sent: chain_or_null(&mut items)?,
            close_received: chain_or_null(&mut items)?,
            peer_has: items.uint()?,
            receipts: items.uint()?,
            is_refused: match items.uint::<u8>()? {
                0 => false,
                1 => true,
                _ => return Err(Reason::WrongShape),
            },
        })
    }
}
