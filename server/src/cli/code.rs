//! `twinseal-server code`.

use clap::Subcommand;
use serde_json::json;

use super::Common;
use super::output::{Failure, Output};

const SECONDS_PER_HOUR: u64 = 3600;

#[derive(Subcommand)]
pub(super) enum Code {
    /// Make a code for one device, and print the link that its user needs
    Create {
        /// How long it is good
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        valid_hours: u64,
        /// A word for yourself; do not name people
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Origin for the link, if not the one given to init
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// List all codes
    List,
    /// Revoke a code that was not used
    Revoke {
        /// As `code list` shows it
        id: String,
    },
}

impl Code {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        match self {
            Code::Create { valid_hours, note, url } => {
                create(common, valid_hours, &note, url.as_deref()).await
            }
            Code::List => list(common).await,
            Code::Revoke { id } => {
                common.app().await?.revoke_code(&common.caller(), &id).await?;
                Ok(Output::new(format!("Revoked code {id}"), json!({ "revoked": id })))
            }
        }
    }
}

async fn create(
    common: &Common,
    valid_hours: u64,
    note: &str,
    url: Option<&str>,
) -> Result<Output, Failure> {
    let app = common.app().await?;
    let valid_seconds = valid_hours.saturating_mul(SECONDS_PER_HOUR);
    let code = app.create_code(&common.caller(), valid_seconds, note, url).await?;
    let link = code.link.to_string();
    let json = json!({ "id": code.id, "link": link, "expires_at": code.expires_at });
    Ok(Output::new(link, json))
}

async fn list(common: &Common) -> Result<Output, Failure> {
    let app = common.app().await?;
    let now = crate::clock::now_unix_seconds();
    let codes = app.store.read().await.map_err(crate::app::Error::from)?.codes().await;
    let rows = codes.map_err(crate::app::Error::from)?.into_iter().map(|code| {
        let state = match (code.used_at, code.revoked_at, code.is_good(now)) {
            (Some(_), ..) => "used",
            (_, Some(_), _) => "revoked",
            (.., true) => "good",
            _ => "expired",
        };
        let used_by = code.used_by().map(|id| id.to_string());
        let text = format!(
            "{}  {state:8} {} {}",
            code.id,
            used_by.as_deref().unwrap_or_default(),
            code.note.escape_debug()
        );
        let json = json!({
            "id": code.id,
            "state": state,
            "note": code.note,
            "created_at": code.created_at,
            "expires_at": code.expires_at,
            "used_by": used_by,
        });
        (text, json)
    });
    Ok(Output::list(
        "codes",
        "No codes. Make one with `twinseal-server code create`.",
        rows.collect(),
    ))
}
