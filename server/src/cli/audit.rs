//! `twinseal-server audit`.

use clap::Args;
use serde_json::json;

use super::Common;
use super::output::{Failure, Output};
use crate::app::Error;

#[derive(Args)]
pub(super) struct Audit {
    /// Only entries after the one with this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
}

impl Audit {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let app = common.app().await?;
        let mut tx = app.store.read().await.map_err(Error::from)?;
        let entries = tx.audit(self.after, self.limit).await.map_err(Error::from)?;
        let rows = entries.into_iter().map(|entry| {
            let text = format!(
                "{}  {}  {}  {}  {}  {}",
                entry.id,
                entry.at,
                entry.caller,
                entry.action,
                entry.device.as_deref().unwrap_or("-"),
                entry.subject.escape_debug()
            );
            let json = json!({
                "id": entry.id,
                "at": entry.at,
                "caller": entry.caller,
                "action": entry.action,
                "device": entry.device,
                "subject": entry.subject,
            });
            (text, json)
        });
        Ok(Output::list("audit", "No entries.", rows.collect()))
    }
}
