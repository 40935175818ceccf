//! A database that was restored from a backup: it is noticed before it can do harm, and made
//! good by [`App::recover`] (docs/decisions/0085-restored-server.md).

use std::time::Duration;

use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::trade::Stage;

use super::{App, Error, OpenError};
use crate::clock::now_unix_seconds;
use crate::store::{Caller, Entry, TradeFilter, Write, stage_word};

/// How often the mark is brought up to date while the server serves.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// What an exported entry of the audit record says was decided after the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A device was revoked.
    Revoke(DeviceId),
    /// A device was put into quarantine.
    Quarantine(DeviceId),
    /// A back end's key was revoked.
    RevokeApiKey(String),
}

/// What [`App::recover`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Of the new `server_keys` statement; nothing older counts any more.
    pub sequence: u64,
    /// Trades that were going on, and have ended.
    pub trades_ended: usize,
    /// Decisions that were not in the database, and are now.
    pub decisions: usize,
}

impl App {
    /// Refuses a database that has forgotten something.
    ///
    /// # Errors
    /// [`OpenError::Restored`], [`OpenError::Mark`].
    pub async fn check_mark(&self) -> Result<(), OpenError> {
        let database = self.store.read().await?.last_audit().await?;
        let mark = self.mark.read().map_err(OpenError::Mark)?;
        match database < mark {
            true => Err(OpenError::Restored { database, mark }),
            false => Ok(()),
        }
    }

    /// Brings the mark up to date, now and every second, as long as this is polled.
    pub async fn keep_mark(&self) {
        loop {
            if let Err(error) = self.set_mark().await {
                tracing::error!(%error, "the high-water mark cannot be written");
            }
            tokio::time::sleep(MARK_EVERY).await;
        }
    }

    /// Brings the mark up to date.
    ///
    /// # Errors
    /// [`OpenError::Store`], [`OpenError::Mark`].
    pub async fn set_mark(&self) -> Result<(), OpenError> {
        let database = self.store.read().await?.last_audit().await?;
        match self.mark.read() {
            Ok(mark) if mark == database => Ok(()),
            _ => self.mark.write(database).map_err(OpenError::Mark),
        }
    }

    /// Makes a restored database good: a statement that makes everything sealed before it void,
    /// an end of what the devices know more of than this database, and what was decided since.
    /// Codes and registrations are void too, since they may have been used.
    ///
    /// # Errors
    /// [`Error::Internal`]: nothing has changed.
    pub async fn recover(
        &self,
        caller: &Caller,
        decisions: &[Decision],
    ) -> Result<Recovered, Error> {
        let sequence = now_unix_seconds().max(self.server_keys.sequence + 1);
        let unsigned = self.secrets.server_keys(sequence, sequence).unsigned();
        let signature = self.secrets.identity.sign(unsigned.to_sign())?;
        let mut write = self.store.write(caller).await?;
        write.add_statement(sequence, &unsigned.finish(&signature)).await?;
        write.forget_queues().await?;
        write.forget_invitations().await?;
        let trades_ended = end_trades(&mut write).await?;
        let mut taken = 0;
        for decision in decisions {
            taken += usize::from(decide(&mut write, decision).await?);
        }
        let subject = format!("sequence {sequence}, {trades_ended} trades, {taken} decisions");
        write.commit(Entry::new("server.recover", subject)).await?;
        self.set_mark().await.map_err(Error::internal)?;
        Ok(Recovered { sequence, trades_ended, decisions: taken })
    }
}

/// What was said in them since the backup is not known here, so nothing can go on.
async fn end_trades(write: &mut Write<'_>) -> Result<usize, Error> {
    let mut ended = 0;
    for stage in [Stage::Offered, Stage::Open, Stage::Closing, Stage::Closed] {
        let stage = Some(stage_word(stage).to_owned());
        let filter = TradeFilter { stage, limit: u32::MAX, ..TradeFilter::default() };
        for mut stored in write.trades(&filter).await? {
            stored.trade.refuse();
            write.put_trade(&stored.device, &stored.trade).await?;
            ended += 1;
        }
    }
    Ok(ended)
}

/// Takes a decision over; says whether the database did not have it.
async fn decide(write: &mut Write<'_>, decision: &Decision) -> Result<bool, Error> {
    let (id, state) = match decision {
        Decision::RevokeApiKey(id) => return Ok(write.revoke_api_key(id).await?),
        Decision::Revoke(id) => (id, DeviceState::Revoked),
        Decision::Quarantine(id) => (id, DeviceState::Quarantined),
    };
    let Some(device) = write.device(id).await? else { return Ok(false) };
    if device.state == DeviceState::Revoked || device.state == state {
        return Ok(false);
    }
    write.set_state(id, state).await?;
    write.record(Entry::of("device.recover", *id, state.word())).await?;
    Ok(true)
}
