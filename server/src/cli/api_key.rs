//! `twinseal-server api-key`.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::Common;
use super::output::{Failure, Output};
use crate::app::Error;
use crate::app::api_keys::{self, Scope};

#[derive(Subcommand)]
pub(super) enum ApiKey {
    /// Make a key, and print it this once
    Create {
        /// A name for yourself
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// What it may do; repeat for several
        #[arg(long, required = true, value_name = "SCOPE", value_parser = scopes())]
        scope: Vec<String>,
        /// Service whose trades it may use, com.example.till, com.example.* or *; repeat for several
        #[arg(long, value_name = "SERVICE")]
        service: Vec<String>,
    },
    /// List all keys, without their secrets
    List,
    /// Revoke a key, at once
    Revoke {
        /// As `api-key list` shows it
        id: String,
    },
}

fn scopes() -> PossibleValuesParser {
    PossibleValuesParser::new(Scope::ALL.map(Scope::word))
}

impl ApiKey {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let app = common.app().await?;
        let (store, caller) = (&app.store, common.caller());
        match self {
            ApiKey::Create { name, scope, service } => {
                let scopes: Vec<Scope> =
                    scope.iter().filter_map(|word| Scope::of_word(word)).collect();
                let (id, key) = api_keys::create(store, &caller, &name, &scopes, &service).await?;
                let json = json!({ "id": id, "key": *key, "scopes": scope, "services": service });
                Ok(Output::new(key.as_str(), json))
            }
            ApiKey::List => {
                let keys = store.read().await.map_err(Error::from)?.api_keys().await;
                let rows = keys.map_err(Error::from)?.into_iter().map(|key| row(&key));
                Ok(Output::list("api_keys", "No API keys.", rows.collect()))
            }
            ApiKey::Revoke { id } => {
                api_keys::revoke(store, &caller, &id).await?;
                Ok(Output::new(format!("Revoked API key {id}"), json!({ "revoked": id })))
            }
        }
    }
}

fn row(key: &crate::store::ApiKey) -> (String, serde_json::Value) {
    let state = if key.revoked_at.is_some() { "revoked" } else { "good" };
    let scopes: Vec<&str> = key.scopes().collect();
    let services: Vec<&str> = key.services().collect();
    let text = format!(
        "{}  {state:8} {}  {}  {}",
        key.id,
        scopes.join(","),
        services.join(","),
        key.name.escape_debug()
    );
    let json = json!({
        "id": key.id,
        "name": key.name,
        "state": state,
        "scopes": scopes,
        "services": services,
        "created_at": key.created_at,
    });
    (text, json)
}
