//! The inbox: what devices have sent, for back ends that ask by cursor and acknowledge.

use std::time::Duration;

use twinseal_scheme::direction::Direction;
use twinseal_scheme::trade::{Content, Row};

use super::api_keys::Backend;
use super::bells::Bell;
use super::{App, Error};
use crate::store::{Delivery, Entry, MessageKey, StoredMessage, Tx};

/// Deliveries that are looked at in one step.
const BATCH: u32 = 256;
/// Payload bytes in one answer, give or take one message.
pub(super) const ANSWER_BYTES: usize = 1024 * 1024;

/// A message in the inbox.
pub struct InboxMessage {
    /// Where it stands.
    pub delivery: Delivery,
    /// What it says.
    pub content: Content,
    /// The assurance class of its device.
    pub assurance: String,
}

impl App {
    /// What waits for the caller's services after a position, at most `limit`; waits for the
    /// first.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub async fn inbox(
        &self,
        backend: &Backend,
        after: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<InboxMessage>, Error> {
        let look = move || async move {
            let mut tx = self.store.read().await?;
            let messages = waiting(&mut tx, backend, after, limit).await?;
            Ok(Some(messages).filter(|messages| !messages.is_empty()))
        };
        let wait = wait.min(self.limits.poll_max);
        Ok(self.bells.wait(Bell::Inbox, wait, look).await?.unwrap_or_default())
    }

    /// The caller has these. What is not there, acknowledged, or not his is passed over.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub async fn acknowledge_inbox(
        &self,
        backend: &Backend,
        positions: &[i64],
    ) -> Result<(), Error> {
        let mut write = self.store.write(&backend.caller()).await?;
        for position in positions {
            let delivery = write.delivery(*position).await?;
            if delivery.is_some_and(|delivery| serves(backend, &delivery)) {
                write.acknowledge_delivery(*position).await?;
            }
        }
        let subject = format!("{} positions", positions.len());
        Ok(write.commit(Entry::new("inbox.acknowledge", subject)).await?)
    }
}

async fn waiting(
    tx: &mut Tx<'_>,
    backend: &Backend,
    mut after: i64,
    limit: usize,
) -> Result<Vec<InboxMessage>, Error> {
    let (mut messages, mut bytes) = (vec![], 0);
    loop {
        let batch = tx.inbox(after, BATCH).await?;
        for delivery in batch.iter().filter(|delivery| serves(backend, delivery)) {
            let message = read(tx, delivery).await?;
            bytes += message.content.payload.len();
            if messages.len() == limit || (bytes > ANSWER_BYTES && !messages.is_empty()) {
                return Ok(messages);
            }
            messages.push(message);
        }
        match batch.last() {
            Some(last) if batch.len() == BATCH as usize => after = last.position,
            _ => return Ok(messages),
        }
    }
}

async fn read(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<InboxMessage, Error> {
    let key = MessageKey {
        device: delivery.device,
        trade: delivery.trade,
        direction: Direction::Up,
        index: delivery.index,
    };
    let device = tx.device(&delivery.device).await?.ok_or(Error::NotFound("device"))?;
    match tx.message(&key).await? {
        Some(StoredMessage { row: Row::Message(content), .. }) => {
            Ok(InboxMessage { delivery: delivery.clone(), content, assurance: device.assurance })
        }
        _ => Err(Error::NotFound("message")),
    }
}

fn serves(backend: &Backend, delivery: &Delivery) -> bool {
    backend.serves_name(&delivery.service)
}
