//! What follows from a trade without being asked for: the answering close, and the chip's
//! signature on the receipt.

use twinseal_scheme::receipt::SignedReceipt;
use twinseal_scheme::trade::{Due, Trade};

use super::sealing::{Lane, OpenEpoch};
use super::{Engine, OWN_LANE};
use crate::Error;
use crate::store::TradeRow;

impl Engine {
    /// Does what is due in every trade: what a crash has kept from being done.
    pub(super) async fn do_what_is_due(&self, lane: &mut Lane) -> Result<(), Error> {
        for row in self.store.run(|tx| tx.trades_going_on()).await? {
            self.do_due(lane, row).await?;
        }
        Ok(())
    }

    pub(super) async fn do_due(&self, lane: &mut Lane, row: TradeRow) -> Result<(), Error> {
        match row.trade.due() {
            Some(Due::Close) => self.close_in(lane, OWN_LANE, row).await.map(drop),
            Some(Due::Countersignature) => self.countersign(lane, row).await,
            Some(Due::Receipt) | None => Ok(()),
        }
    }

    /// Closes this side of a trade; gives the trade as it is then.
    pub(super) async fn close_in(
        &self,
        lane: &mut Lane,
        turn: u64,
        mut row: TradeRow,
    ) -> Result<TradeRow, Error> {
        let id = row.trade.id();
        let loose = self.store.run(move |tx| tx.loose(id)).await?;
        let contents = row.trade.close(&loose)?;
        self.seal_and_keep(lane, turn, row.clone(), contents, None).await?;
        self.news.send_replace(());
        Ok(row)
    }

    /// Compares the server's receipt with what this device has seen, and signs it in the chip.
    async fn countersign(&self, lane: &mut Lane, mut row: TradeRow) -> Result<(), Error> {
        let epoch = self.epoch()?;
        let id = row.trade.id();
        let before = row.trade.stage();
        let Some(bytes) = self.store.run(move |tx| tx.received_receipt(id)).await? else {
            return Ok(());
        };
        let signed = match check(&bytes, &row.trade, &epoch) {
            Ok(Some(signed)) => signed,
            // Of keys before these: the server issues it again.
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!("alarm: the server's receipt is not what happened: {error}");
                row.trade.refuse();
                let (refused, number) = (row.clone(), epoch.keys.epoch);
                self.store.run(move |tx| tx.put_trade(&refused, number)).await?;
                self.news.send_replace(());
                self.tell_ended(before, &row);
                return Ok(());
            }
        };
        let signature = self.chip().sign(epoch.device_keys.signing(), signed.digest()).await?;
        let receipt = signed.countersign(signature)?.encode();
        let content = row.trade.receipt(receipt.clone())?;
        self.seal_and_keep(lane, OWN_LANE, row.clone(), vec![content], Some(receipt)).await?;
        self.news.send_replace(());
        self.tell_ended(before, &row);
        Ok(())
    }
}

/// The receipt, if it names this device's present keys.
fn check(bytes: &[u8], trade: &Trade, epoch: &OpenEpoch) -> Result<Option<SignedReceipt>, Error> {
    let signed = SignedReceipt::verify(bytes, &epoch.bond.server_id)?;
    signed.receipt.agrees_with(trade)?;
    let (bond, facts) = (&epoch.bond, &signed.receipt.facts);
    let is_of_present_keys = facts.device_id == bond.device_id
        && facts.serial == bond.serial
        && facts.generation == bond.generation
        && facts.signing_key == bond.signing.id()
        && facts.decryption_key == bond.decryption.id();
    Ok(is_of_present_keys.then_some(signed))
}
