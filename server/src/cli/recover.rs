//! `twinseal-server recover`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use twinseal_scheme::id::DeviceId;

use super::Common;
use super::output::{Failure, Output};
use crate::app::Decision;

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Recover {
    /// What `audit --json` printed after the backup was made: revocations and quarantines in it
    /// come back
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// There is no such file: devices and API keys that were revoked since the backup are good
    /// again until they are revoked again
    #[arg(long)]
    without_audit: bool,
}

#[derive(Deserialize)]
struct Exported {
    audit: Vec<ExportedEntry>,
}

#[derive(Deserialize)]
struct ExportedEntry {
    action: String,
    device: Option<String>,
    subject: String,
}

impl Recover {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let decisions = self.audit.map(read).transpose()?.unwrap_or_default();
        let app = common.app().await?;
        let done = app.recover(&common.caller(), &decisions).await?;
        let text = format!(
            "Recovered: sequence {}\n  {} trades ended\n  {} decisions taken over\n\n\
             Codes and expected serials are void: make new ones. Devices come back by themselves;\n\
             one that was enrolled after the backup needs a new code and `twinseal recover LINK`,\n\
             one that was enrolled again after it needs `device readmit` and `twinseal recover`.",
            done.sequence, done.trades_ended, done.decisions
        );
        let json = json!({
            "sequence": done.sequence,
            "trades_ended": done.trades_ended,
            "decisions": done.decisions,
        });
        Ok(Output::new(text, json))
    }
}

fn read(path: PathBuf) -> Result<Vec<Decision>, Failure> {
    let wrong = |message: String| {
        let next = "Give what `twinseal-server audit --json` printed.";
        Failure::new("audit", format!("{}: {message}", path.display()), next)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let exported: Exported =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(exported.audit.into_iter().filter_map(decision).collect())
}

fn decision(entry: ExportedEntry) -> Option<Decision> {
    let device = || entry.device.as_deref()?.parse::<DeviceId>().ok();
    match entry.action.as_str() {
        "device.revoke" => device().map(Decision::Revoke),
        "device.quarantine" => device().map(Decision::Quarantine),
        "api-key.revoke" => Some(Decision::RevokeApiKey(entry.subject)),
        _ => None,
    }
}
