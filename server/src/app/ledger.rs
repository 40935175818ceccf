//! Trades as the database holds them: what comes in is taken into them, what is due goes out.

use std::collections::BTreeMap;

use twinseal_scheme::Reason;
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::message::Outer;
use twinseal_scheme::receipt::{SignedReceipt, UnsignedReceipt};
use twinseal_scheme::trade::{
    Content, Due, MessageType, Receipt, ReceiptFacts, Received, Row, Stage, Trade, Withdraw,
};

use super::{App, Error};
use crate::store::{MessageKey, Standing, StoredMessage, TradeFilter, Write, stage_word};

/// Takes a verified message into its trade, and delivers what counts from now on. `None` when it
/// was taken before.
///
/// # Errors
/// [`Error::Refused`]: then nothing has been written.
pub(super) async fn take(
    app: &App,
    write: &mut Write<'_>,
    device: &DeviceId,
    content: &Content,
    outer: Outer,
) -> Result<Option<Trade>, Error> {
    let stored = write.trade(device, &content.trade).await?;
    let mut trade = match stored {
        Some(stored) => stored.trade,
        None => Trade::heard(content, Direction::Down, outer),
    };
    let key = |index| MessageKey {
        device: *device,
        trade: content.trade,
        direction: Direction::Up,
        index,
    };
    let known = write.message(&key(content.index)).await?;
    if trade.receive(content, outer, known.map(inner_hash))? == Received::Again {
        return Ok(None);
    }
    let mut rows = BTreeMap::from([(content.index, Row::Message(content.clone()))]);
    if content.message_type == MessageType::Withdraw {
        for withdrawn in Withdraw::of(content)?.messages() {
            let known = write.message(&key(withdrawn.index)).await?;
            if !Trade::is_known(known.map(inner_hash), withdrawn.hash)? {
                rows.insert(withdrawn.index, Row::Withdrawn(withdrawn.hash));
            }
        }
    }
    let mut delivered = vec![];
    while let Some(index) = trade.next_index() {
        let stored = write.message(&key(index)).await?.map(|stored| stored.row);
        let Some(row) = rows.get(&index).cloned().or(stored) else { break };
        check_receipt(app, &trade, &row)?;
        trade.pass(&row)?;
        match row {
            Row::Message(content) if content.message_type.is_for_application() => {
                delivered.push(content);
            }
            _ => (),
        }
    }
    // Nothing refuses it any more.
    for (index, row) in &rows {
        write.put_up(&key(*index), row).await?;
    }
    for content in &delivered {
        write.deliver(device, content).await?;
    }
    write.put_trade(device, &trade).await?;
    Ok(Some(trade))
}

/// Sends whatever the server owes to a trade, and stores it.
pub(super) async fn settle(
    app: &App,
    write: &mut Write<'_>,
    standing: &Standing,
    trade: &mut Trade,
) -> Result<(), Error> {
    while let Some(due) = trade.due() {
        let contents = match due {
            Due::Close => trade.close(&[])?,
            Due::Receipt => vec![receipt(app, write, standing, trade).await?],
            Due::Countersignature => return Err(Error::Refused(Reason::ReceiptNotDue)),
        };
        send(write, &standing.bond.device_id, &contents).await?;
    }
    Ok(write.put_trade(&standing.bond.device_id, trade).await?)
}

/// Puts messages at the end of a device's queue.
pub(super) async fn send(
    write: &mut Write<'_>,
    device: &DeviceId,
    contents: &[Content],
) -> Result<(), Error> {
    for content in contents {
        write.queue_down(device, content).await?;
    }
    Ok(())
}

/// Issues anew the receipts that wait for a countersignature: the device has other keys now.
pub(super) async fn issue_receipts_again(
    app: &App,
    write: &mut Write<'_>,
    standing: &Standing,
) -> Result<(), Error> {
    let device = standing.bond.device_id;
    let stage = Some(stage_word(Stage::Closed).to_owned());
    let filter = TradeFilter { device: Some(device), stage, limit: u32::MAX, ..Default::default() };
    for stored in write.trades(&filter).await? {
        let mut trade = stored.trade;
        let content = receipt(app, write, standing, &mut trade).await?;
        send(write, &device, &[content]).await?;
        write.put_trade(&device, &trade).await?;
    }
    Ok(())
}

/// Signs the receipt of a trade that both sides have closed.
async fn receipt(
    app: &App,
    write: &mut Write<'_>,
    standing: &Standing,
    trade: &mut Trade,
) -> Result<Content, Error> {
    let bond = &standing.bond;
    let opened = write.trade(&bond.device_id, &trade.id()).await?;
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
    let facts = ReceiptFacts {
        server_id: bond.server_id,
        device_id: bond.device_id,
        serial: bond.serial,
        generation: bond.generation,
        signing_key: bond.signing.id(),
        decryption_key: bond.decryption.id(),
        opened_s: opened.map_or(write.now(), |opened| opened.opened_at),
        closed_s: write.now(),
        device_statement: app.sign(statement.unsigned())?,
        server_keys: app.statement.clone(),
    };
    let unsigned = UnsignedReceipt::new(&Receipt::of(trade, facts)?);
    let signature = app.secrets.signing.sign(&unsigned.to_sign())?;
    Ok(trade.receipt(unsigned.finish(signature))?)
}

/// A receipt that comes back must bear both signatures and be of this very trade.
fn check_receipt(app: &App, trade: &Trade, row: &Row) -> Result<(), Reason> {
    match row {
        Row::Message(content) if content.message_type == MessageType::Receipt => {
            let signed = SignedReceipt::verify(&content.payload, &app.server_id())?;
            if !signed.is_countersigned() {
                return Err(Reason::BadDeviceSignature);
            }
            signed.receipt.agrees_with(trade)
        }
        _ => Ok(()),
    }
}

fn inner_hash(stored: StoredMessage) -> twinseal_scheme::id::InnerHash {
    match stored.row {
        Row::Message(content) => content.inner_hash(Direction::Up),
        Row::Withdrawn(hash) => hash,
    }
}
