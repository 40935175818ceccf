//! Trades of one device in one transaction: the scheme's rules, over rows.

use twinseal_scheme::Reason;
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{InnerHash, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::receipt::{SignedReceipt, UnsignedReceipt};
use twinseal_scheme::trade::{
    Content, Due, Index, MessageType, Receipt, ReceiptFacts, Received, Row, Trade, Withdraw,
};

use super::{App, Error};
use crate::store::{MessageKey, Standing, Write};

/// The trades of a device, changed together and committed by the caller.
pub(super) struct Ledger<'l, 's> {
    app: &'l App,
    standing: &'l Standing,
    write: &'l mut Write<'s>,
    /// Whether something was queued for the device.
    pub(super) has_queued: bool,
}

impl<'l, 's> Ledger<'l, 's> {
    pub(super) fn new(
        app: &'l App,
        standing: &'l Standing,
        write: &'l mut Write<'s>,
    ) -> Ledger<'l, 's> {
        Ledger { app, standing, write, has_queued: false }
    }

    /// Takes in a verified message from the device.
    ///
    /// # Errors
    /// The rules of trades; nothing may be committed then.
    pub(super) async fn receive(
        &mut self,
        content: &Content,
        outer: Outer,
    ) -> Result<Received, Error> {
        let mut trade = match self.stored(&content.trade).await? {
            Some(trade) => trade,
            None => Trade::heard(content, Direction::Down, outer),
        };
        let known = self.known(content.trade, content.index).await?;
        if trade.receive(content, outer, known)? == Received::Again {
            return Ok(Received::Again);
        }
        if content.message_type == MessageType::Receipt {
            self.check_receipt(&trade, &content.payload)?;
        }
        let key = self.key(content.trade, content.index);
        self.write.put_up(&key, &Row::Message(content.clone())).await?;
        if content.message_type == MessageType::Withdraw {
            self.withdraw(&Withdraw::of(content)?, content.trade).await?;
        }
        self.pass(&mut trade).await?;
        self.settle(trade).await?;
        Ok(Received::New)
    }

    /// Queues messages of the server's side of a trade and stores it, with whatever is due by it.
    pub(super) async fn send(&mut self, trade: Trade, contents: &[Content]) -> Result<(), Error> {
        self.queue(contents).await?;
        self.settle(trade).await
    }

    /// Does what this side owes to the trade, and stores it.
    async fn settle(&mut self, mut trade: Trade) -> Result<(), Error> {
        // The row gives the time of opening, so it is there before a receipt is.
        self.write.put_trade(&self.standing.bond.device_id, &trade).await?;
        while let Some(due) = trade.due() {
            let contents = match due {
                Due::Close => trade.close(&[])?,
                Due::Receipt => vec![self.issue_receipt(&mut trade).await?],
                Due::Countersignature => return Err(Error::Refused(Reason::ReceiptNotDue)),
            };
            self.queue(&contents).await?;
        }
        self.write.put_trade(&self.standing.bond.device_id, &trade).await?;
        Ok(())
    }

    async fn queue(&mut self, contents: &[Content]) -> Result<(), Error> {
        for content in contents {
            self.write.queue_down(&self.standing.bond.device_id, content).await?;
            self.has_queued = true;
        }
        Ok(())
    }

    /// Lets count what has its turn; what is for an application goes to the inbox.
    async fn pass(&mut self, trade: &mut Trade) -> Result<(), Error> {
        while let Some(index) = trade.next_index() {
            let key = self.key(trade.id(), index);
            let Some(message) = self.write.message(&key).await? else { break };
            trade.pass(&message.row)?;
            if let Row::Message(content) = &message.row
                && content.message_type.is_for_application()
            {
                self.write.deliver(&self.standing.bond.device_id, content).await?;
            }
        }
        Ok(())
    }

    async fn withdraw(&mut self, withdraw: &Withdraw, trade: TradeId) -> Result<(), Error> {
        for withdrawn in withdraw.messages() {
            let known = self.known(trade, withdrawn.index).await?;
            if !Trade::is_known(known, withdrawn.hash)? {
                let key = self.key(trade, withdrawn.index);
                self.write.put_up(&key, &Row::Withdrawn(withdrawn.hash)).await?;
            }
        }
        Ok(())
    }

    async fn issue_receipt(&mut self, trade: &mut Trade) -> Result<Content, Error> {
        let (standing, bond) = (self.standing, &self.standing.bond);
        let statement = DeviceStatement {
            server_id: bond.server_id,
            device_id: bond.device_id,
            serial: bond.serial,
            generation: bond.generation,
            keyset: bond.keyset,
            signing: bond.signing.clone(),
            decryption: bond.decryption.id(),
            assurance: standing.assurance.clone(),
            verdict: standing.verdict.clone(),
            enrolled_s: standing.enrolled_at,
        };
        let stored = self.write.trade(&bond.device_id, &trade.id()).await?;
        let opened_s = stored.map_or(self.write.now(), |stored| stored.opened_at);
        let facts = ReceiptFacts {
            server_id: bond.server_id,
            device_id: bond.device_id,
            serial: bond.serial,
            generation: bond.generation,
            signing_key: bond.signing.id(),
            decryption_key: bond.decryption.id(),
            opened_s,
            closed_s: self.write.now().max(opened_s),
            device_statement: self.app.sign(statement.unsigned())?,
            server_keys: self.app.statement.clone(),
        };
        let unsigned = UnsignedReceipt::new(&Receipt::of(trade, facts)?);
        let signature = self.app.secrets.signing.sign(&unsigned.to_sign())?;
        Ok(trade.receipt(unsigned.finish(signature))?)
    }

    /// The device's receipt must be the server's own, countersigned.
    fn check_receipt(&self, trade: &Trade, signed: &[u8]) -> Result<(), Error> {
        let receipt = SignedReceipt::verify(signed, &self.standing.bond.server_id)?;
        if !receipt.is_countersigned() {
            return Err(Error::Refused(Reason::BadDeviceSignature));
        }
        Ok(receipt.receipt.agrees_with(trade)?)
    }

    async fn stored(&mut self, trade: &TradeId) -> Result<Option<Trade>, Error> {
        let stored = self.write.trade(&self.standing.bond.device_id, trade).await?;
        Ok(stored.map(|stored| stored.trade))
    }

    async fn known(&mut self, trade: TradeId, index: Index) -> Result<Option<InnerHash>, Error> {
        let key = self.key(trade, index);
        let stored = self.write.message(&key).await?;
        Ok(stored.map(|stored| match stored.row {
            Row::Message(content) => content.inner_hash(Direction::Up),
            Row::Withdrawn(hash) => hash,
        }))
    }

    fn key(&self, trade: TradeId, index: Index) -> MessageKey {
        let device = self.standing.bond.device_id;
        MessageKey { device, trade, direction: Direction::Up, index }
    }
}
