//! `twinseal-server init`.

use clap::Args;
use serde_json::json;

use super::Common;
use super::output::{Failure, Output};
use super::serve::DEVICE_LISTEN;
use crate::app;

#[derive(Args)]
pub(super) struct Init {
    /// Origin under which devices reach this server, for enrolment links
    #[arg(long, value_name = "URL", default_value_t = format!("http://{DEVICE_LISTEN}"))]
    public_url: String,
}

impl Init {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let folders = common.folders();
        let server_id = app::init(&folders, &self.public_url, &common.caller()).await?;
        let (data, secrets) = (folders.data.display(), folders.secrets.display());
        let text = format!(
            "Made server {server_id}\n  data     {data}\n  secrets  {secrets}\n\n\
             Keep a copy of the secrets folder apart from copies of the data.\n\
             Next: twinseal-server ek-roots add FILE, then serve, then code create."
        );
        let json = json!({
            "server_id": server_id.to_string(),
            "data": data.to_string(),
            "secrets": secrets.to_string(),
            "public_url": self.public_url,
        });
        Ok(Output::new(text, json))
    }
}
