//! The body of a receipt (scheme, section 8), before anybody signs it.

use std::fmt;

use crate::cbor::{self, Items};
use crate::direction::Direction;
use crate::id::{DeviceId, KeyId, ServerId, TradeId};
use crate::serial::HardwareSerial;
use crate::{Reason, label};

use super::{Chain, SERVICE_LEN_MAX, Service, Trade};

/// The longest body of a receipt, in bytes.
pub const RECEIPT_LEN_MAX: usize = 2 * STATEMENT_LEN_MAX + 1024;

/// The longest of the two statements in a receipt, in bytes.
const STATEMENT_LEN_MAX: usize = 32 * 1024;

/// What a receipt says besides what follows from the trade.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// Who issues it.
    pub server_id: ServerId,
    /// Who countersigns it.
    pub device_id: DeviceId,
    /// The device's hardware serial.
    pub serial: HardwareSerial,
    /// The device's enrolment.
    pub generation: u32,
    /// The key that countersigns.
    pub signing_key: KeyId,
    /// The key that the device opened downlinks with.
    pub decryption_key: KeyId,
    /// When the server opened the trade or first heard of it, by its clock, unix seconds.
    pub opened_s: u64,
    /// When the server had both closes, by its clock, unix seconds.
    pub closed_s: u64,
    /// The server's signed statement about the device.
    pub device_statement: Vec<u8>,
    /// The server's `server_keys` statement.
    pub server_keys: Vec<u8>,
}

/// What server and device both sign when a trade has been closed: everything up to and
/// including the close of each side.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The trade.
    pub trade: TradeId,
    /// Its service.
    pub service: Service,
    /// The device's messages, the last of them its close.
    pub up: Chain,
    /// The server's messages, the last of them its close.
    pub down: Chain,
    /// Who, with which keys, and when.
    pub facts: ReceiptFacts,
}

impl Receipt {
    /// The receipt of a trade that both sides have closed.
    ///
    /// # Errors
    /// [`Reason::ReceiptNotDue`], [`Reason::ReceiptTimes`].
    pub fn of(trade: &Trade, facts: ReceiptFacts) -> Result<Receipt, Reason> {
        let (up, down) = closes(trade)?;
        let receipt = Receipt { trade: trade.id, service: trade.service.clone(), up, down, facts };
        receipt.check()?;
        Ok(receipt)
    }

    /// Whether the receipt is of this very trade as this side knows it. Both sides ask
    /// before they sign.
    ///
    /// # Errors
    /// [`Reason::ReceiptNotDue`], [`Reason::ReceiptOfAnother`], [`Reason::ReceiptMismatch`].
    pub fn agrees_with(&self, trade: &Trade) -> Result<(), Reason> {
        let (up, down) = closes(trade)?;
        if self.trade != trade.id || self.service != trade.service {
            return Err(Reason::ReceiptOfAnother);
        }
        if self.up != up || self.down != down {
            return Err(Reason::ReceiptMismatch);
        }
        Ok(())
    }

    /// `CBOR["twinseal-receipt-v1", trade_id, service, server_id, device_id, S, generation,
    /// signing key id, decryption key id, [count, chain] up, [count, chain] down, opened,
    /// closed, device statement, server_keys]`.
    pub fn encode(&self) -> Vec<u8> {
        let facts = &self.facts;
        cbor::array![
            label::RECEIPT,
            self.trade,
            self.service,
            facts.server_id,
            facts.device_id,
            facts.serial.as_bytes(),
            facts.generation,
            facts.signing_key,
            facts.decryption_key,
            self.up,
            self.down,
            facts.opened_s,
            facts.closed_s,
            facts.device_statement,
            facts.server_keys
        ]
    }

    /// Reads what [`Receipt::encode`] writes.
    ///
    /// # Errors
    /// Those of [`cbor::decode`], [`Reason::WrongShape`], [`Reason::BadService`],
    /// [`Reason::ReceiptTimes`].
    pub fn decode(bytes: &[u8]) -> Result<Receipt, Reason> {
        let mut items = Items::decode(bytes, RECEIPT_LEN_MAX, 15)?;
        if items.text(label::RECEIPT.len())? != label::RECEIPT {
            return Err(Reason::WrongShape);
        }
        let trade = TradeId(items.fixed()?);
        let service = Service::new(&items.text(SERVICE_LEN_MAX)?)?;
        let server_id = ServerId(items.fixed()?);
        let device_id = DeviceId(items.fixed()?);
        let serial = HardwareSerial::from_bytes(items.fixed()?);
        let generation = items.uint()?;
        let signing_key = KeyId(items.fixed()?);
        let decryption_key = KeyId(items.fixed()?);
        let up = Chain::read(&mut items)?;
        let down = Chain::read(&mut items)?;
        let facts = ReceiptFacts {
            server_id,
            device_id,
            serial,
            generation,
            signing_key,
            decryption_key,
            opened_s: items.uint()?,
            closed_s: items.uint()?,
            device_statement: items.bytes(STATEMENT_LEN_MAX)?,
            server_keys: items.bytes(STATEMENT_LEN_MAX)?,
        };
        let receipt = Receipt { trade, service, up, down, facts };
        receipt.check()?;
        Ok(receipt)
    }

    fn check(&self) -> Result<(), Reason> {
        if self.facts.closed_s < self.facts.opened_s {
            return Err(Reason::ReceiptTimes);
        }
        Ok(())
    }
}

/// Never shows the serial.
impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("trade", &self.trade)
            .field("service", &self.service)
            .field("up", &self.up)
            .field("down", &self.down)
            .finish_non_exhaustive()
    }
}

/// Up and down, up to and including each side's close.
fn closes(trade: &Trade) -> Result<(Chain, Chain), Reason> {
    match (trade.me, trade.close_sent, trade.close_received) {
        (Direction::Up, Some(up), Some(down)) | (Direction::Down, Some(down), Some(up)) => {
            Ok((up, down))
        }
        _ => Err(Reason::ReceiptNotDue),
    }
}
