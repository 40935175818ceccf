//! The durable part of trades, the same on both sides: what the agent and the server each
//! keep in their database, driven by the real [`Trade`].

use std::collections::BTreeMap;

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{DeviceId, InnerHash, KeyId, ServerId, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::trade::{
    Content, Due, Index, MessageType, Receipt, ReceiptFacts, Received, Row, Service, Stage, Trade,
    Withdraw, Withdrawn,
};

use crate::flaw::Flaw;

/// The server's policy refuses this service.
pub const REFUSED_SERVICE: &str = "com.example.refused";

/// Something that one application sent or received.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    pub trade: TradeId,
    pub index: u32,
    pub payload: Vec<u8>,
}

#[derive(Clone)]
pub struct Ledger {
    pub me: Direction,
    pub flaw: Flaw,
    pub trades: BTreeMap<TradeId, Trade>,
    rows: BTreeMap<(TradeId, Index), Row>,
    /// What applications on this side were promised would be sent.
    pub sent: Vec<Delivery>,
    /// What was handed to applications on this side.
    pub inbox: Vec<Delivery>,
    /// What applications on this side carry themselves.
    pub loose: BTreeMap<TradeId, Vec<Withdrawn>>,
    pub receipts: BTreeMap<TradeId, Vec<u8>>,
}

impl Ledger {
    pub fn new(me: Direction, flaw: Flaw) -> Ledger {
        Ledger {
            me,
            flaw,
            trades: BTreeMap::new(),
            rows: BTreeMap::new(),
            sent: vec![],
            inbox: vec![],
            loose: BTreeMap::new(),
            receipts: BTreeMap::new(),
        }
    }

    pub fn open(&mut self, id: TradeId, service: &str, outer: Outer) -> Result<Content, Reason> {
        let (trade, content) = Trade::open(id, Service::new(service)?, self.me, outer)?;
        self.trades.insert(id, trade);
        Ok(content)
    }

    pub fn request(
        &mut self,
        id: TradeId,
        service: &str,
        outer: Outer,
        payload: Vec<u8>,
    ) -> Result<Content, Reason> {
        let service = Service::new(service)?;
        let (trade, content) = Trade::request(id, service, self.me, outer, "text/plain", payload)?;
        self.trades.insert(id, trade);
        self.note_sent(&content);
        Ok(content)
    }

    pub fn data(&mut self, id: TradeId, payload: Vec<u8>) -> Result<Content, Reason> {
        let content = self.trade(id)?.data("text/plain", payload)?;
        self.note_sent(&content);
        Ok(content)
    }

    /// Data that the application carries itself.
    pub fn own_data(&mut self, id: TradeId, payload: Vec<u8>) -> Result<Content, Reason> {
        let content = self.data(id, payload)?;
        let withdrawn = Withdrawn { index: content.index, hash: content.inner_hash(self.me) };
        self.loose.entry(id).or_default().push(withdrawn);
        Ok(content)
    }

    pub fn reply(&mut self, id: TradeId, payload: Vec<u8>) -> Result<Content, Reason> {
        let content = self.trade(id)?.reply("text/plain", payload)?;
        self.note_sent(&content);
        Ok(content)
    }

    pub fn close(&mut self, id: TradeId) -> Result<Vec<Content>, Reason> {
        let loose = match self.flaw {
            Flaw::ClosesLoose => vec![],
            _ => self.loose.get(&id).cloned().unwrap_or_default(),
        };
        self.trade(id)?.close(&loose)
    }

    /// Whatever this side owes to its trades. Doing it can make something else due.
    pub fn due(&mut self) -> Result<Vec<Content>, Reason> {
        let mut contents = vec![];
        while let Some((id, due)) = self.trades.values().find_map(|t| Some((t.id(), t.due()?))) {
            match due {
                Due::Close => contents.extend(self.close(id)?),
                Due::Receipt => {
                    let receipt = Receipt::of(self.trade(id)?, facts())?.encode();
                    contents.push(self.trade(id)?.receipt(receipt)?);
                }
                Due::Countersignature => {
                    let signed = self.receipt_received(id)?;
                    Receipt::decode(&signed)?.agrees_with(self.trade(id)?)?;
                    contents.push(self.trade(id)?.receipt(signed.clone())?);
                    self.receipts.insert(id, signed);
                }
            }
        }
        Ok(contents)
    }

    /// Takes a verified message in. An error leaves the ledger to be thrown away.
    pub fn receive(&mut self, content: &Content, outer: Outer) -> Result<Received, Reason> {
        let id = content.trade;
        let me = self.me;
        let trade =
            self.trades.entry(id).or_insert_with(|| Trade::heard(content, me, outer)).clone();
        let known = self.known(id, content.index);
        if trade.receive(content, outer, known)? == Received::Again {
            return Ok(Received::Again);
        }
        if self.flaw == Flaw::RefusesEarly && Some(content.index) != trade.next_index() {
            return Err(Reason::OutOfTurn);
        }
        self.rows.insert((id, content.index), Row::Message(content.clone()));
        if content.message_type == MessageType::Withdraw {
            for withdrawn in Withdraw::of(content)?.messages() {
                if !Trade::is_known(self.known(id, withdrawn.index), withdrawn.hash)? {
                    self.rows.insert((id, withdrawn.index), Row::Withdrawn(withdrawn.hash));
                }
            }
        }
        self.pass(id)?;
        Ok(Received::New)
    }

    /// Drops an ended trade with all its rows.
    pub fn forget_ended(&mut self) {
        let ended = |t: &Trade| t.stage() == Stage::Ended;
        let gone: Vec<_> = self.trades.values().filter(|t| ended(t)).map(Trade::id).collect();
        self.trades.retain(|id, _| !gone.contains(id));
        self.rows.retain(|(id, _), _| !gone.contains(id));
    }

    fn pass(&mut self, id: TradeId) -> Result<(), Reason> {
        loop {
            let trade = self.trades.get_mut(&id).ok_or(Reason::WrongTrade)?;
            let Some(index) = trade.next_index() else { return Ok(()) };
            let Some(row) = self.rows.get(&(id, index)) else { return Ok(()) };
            trade.pass(row)?;
            let Row::Message(content) = row else { continue };
            if content.message_type.is_for_application() {
                self.inbox.push(delivery(content));
            }
            if content.message_type == MessageType::Receipt && self.me == Direction::Down {
                self.receipts.insert(id, content.payload.clone());
            }
        }
    }

    fn known(&self, id: TradeId, index: Index) -> Option<InnerHash> {
        self.rows.get(&(id, index)).map(|row| match row {
            Row::Message(content) => content.inner_hash(self.me.back()),
            Row::Withdrawn(hash) => *hash,
        })
    }

    fn receipt_received(&self, id: TradeId) -> Result<Vec<u8>, Reason> {
        let of_trade = self.rows.iter().rev().filter(|((trade, _), _)| *trade == id);
        let mut receipts = of_trade.filter_map(|(_, row)| match row {
            Row::Message(c) if c.message_type == MessageType::Receipt => Some(c.payload.clone()),
            _ => None,
        });
        receipts.next().ok_or(Reason::ReceiptNotDue)
    }

    fn trade(&mut self, id: TradeId) -> Result<&mut Trade, Reason> {
        self.trades.get_mut(&id).ok_or(Reason::WrongTrade)
    }

    fn note_sent(&mut self, content: &Content) {
        self.sent.push(delivery(content));
    }
}

pub fn delivery(content: &Content) -> Delivery {
    Delivery {
        trade: content.trade,
        index: content.index.number(),
        payload: content.payload.clone(),
    }
}

fn facts() -> ReceiptFacts {
    ReceiptFacts {
        server_id: ServerId([1; 32]),
        device_id: DeviceId([2; 16]),
        serial: HardwareSerial::from_bytes([3; 32]),
        generation: 1,
        signing_key: KeyId([4; 32]),
        decryption_key: KeyId([5; 32]),
        opened_s: 1,
        closed_s: 2,
        device_statement: vec![],
        server_keys: vec![],
    }
}
