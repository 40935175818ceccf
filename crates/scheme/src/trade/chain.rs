//! The running hash of one direction of a trade (scheme, section 8).

use sha2::{Digest, Sha256};

use crate::cbor::{self, Item, Items};
use crate::direction::Direction;
use crate::id::{InnerHash, TradeId};
use crate::{Reason, label};
use ciborium::value::Value;

/// How many messages one direction has had, and the hash of them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of messages, which is also the index of the last one.
    pub count: u32,
    /// `X_dir(count)`, 32 bytes.
    pub value: [u8; 32],
}

impl Chain {
    /// `X_dir(0) = SHA-256("twinseal/trade/v1" || u8(dir) || trade_id)`.
    pub fn start(direction: Direction, trade: TradeId) -> Chain {
        let mut hash = Sha256::new();
        hash.update(label::TRADE);
        hash.update([direction.number()]);
        hash.update(trade.0);
        Chain { count: 0, value: hash.finalize().into() }
    }

    /// `X_dir(i) = SHA-256(X_dir(i-1) || inner hash of message i)`.
    ///
    /// # Errors
    /// [`Reason::TradeFull`].
    pub fn then(self, message: InnerHash) -> Result<Chain, Reason> {
        let mut hash = Sha256::new();
        hash.update(self.value);
        hash.update(message.0);
        Ok(Chain {
            count: self.count.checked_add(1).ok_or(Reason::TradeFull)?,
            value: hash.finalize().into(),
        })
    }

    pub(super) fn read(items: &mut Items) -> Result<Chain, Reason> {
        let mut items = Items::of(items.any()?, 2)?;
        Ok(Chain { count: items.uint()?, value: items.fixed()? })
    }
}

impl Item for Chain {
    fn item(&self) -> Value {
        cbor::value![self.count, self.value]
    }
}
