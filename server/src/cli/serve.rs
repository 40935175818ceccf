//! `twinseal-server serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use twinseal_scheme::ek::DeniedChip;

use super::Common;
use super::output::{Failure, Output, say};
use crate::app::Policy;
use crate::http::{Endpoint, Listeners, TlsFiles};

/// Where devices are served by default.
pub(super) const DEVICE_LISTEN: &str = "127.0.0.1:7480";
const BACKEND_LISTEN: &str = "127.0.0.1:7481";

#[derive(Args)]
pub(super) struct Serve {
    /// TOML file with the options below, as listen = "…", tls_certificates = "…"; options win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Address of the device side; port 0 lets the system choose [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Certificate chain in PEM: the device side speaks HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificates: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificates")]
    tls_key: Option<PathBuf>,
    /// Address of the back-end side [default: 127.0.0.1:7481]
    #[arg(long, value_name = "ADDR")]
    backend_listen: Option<SocketAddr>,
    /// Certificate chain in PEM: the back-end side speaks HTTPS
    #[arg(long, value_name = "FILE", requires = "backend_tls_key")]
    backend_tls_certificates: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "backend_tls_certificates")]
    backend_tls_key: Option<PathBuf>,
    /// Devices without a code or a registered serial wait for `device approve`
    #[arg(long)]
    approve_by_hand: bool,
    /// Accept EK certificates outside their validity: chips outlive certificates
    #[arg(long)]
    accept_expired_ek: bool,
    /// Accept PKCS#11 tokens, by a code or a registered serial, as the assurance class `token`
    #[arg(long)]
    accept_tokens: bool,
    /// Accept TPM simulators, as the assurance class `simulator`; for tests only
    #[arg(long)]
    insecure_accept_simulators: bool,
    /// In the file only, as [[denied_chips]] with manufacturer, model or version
    #[arg(skip)]
    denied_chips: Vec<Denied>,
    /// How the log is written to standard error [default: text]
    #[arg(long, value_enum)]
    log: Option<LogForm>,
    /// What is logged: error, warn, info, debug or trace, also by module [default: info]
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
}

/// A sort of chip that is refused, by what its EK certificate says.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Denied {
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum LogForm {
    #[default]
    Text,
    Json,
}

impl Serve {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let options = self.options()?;
        options.start_log()?;
        raise_descriptor_limit();
        let app = Arc::new(common.app_with(options.policy()).await?);
        app.check_mark().await?;
        let listeners = Listeners::bind(&options.device()?, &options.backend()?).await?;
        let stop = stop_signal()?;
        let url = |(scheme, address)| format!("{scheme}://{address}");
        let (device, backend) = (url(listeners.device()), url(listeners.backend()));
        // One line that programs wait for and read.
        let json = json!({ "listening": { "device": device, "backend": backend } });
        let text = format!("listening device={device} backend={backend}");
        say(&if common.json { json.to_string() } else { text });
        tracing::info!(server = %app.server_id(), %device, %backend, "serving");
        let marked = app.clone();
        let marking = tokio::spawn(async move { marked.keep_mark().await });
        listeners.serve(app.clone(), stop).await;
        // Two that write the mark at once would take the same temporary file from one another.
        marking.abort();
        let _ = marking.await;
        app.set_mark().await?;
        app.store.close().await;
        tracing::info!("stopped");
        Ok(Output::new("", json!({ "stopped": true })))
    }

    fn options(self) -> Result<Options, Failure> {
        let Some(path) = self.config else { return Ok(self.options) };
        let wrong = |message: String| {
            let message = format!("{}: {message}", path.display());
            Failure::new("config", message, "Correct the file; `serve --help` names its keys.")
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let file = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(self.options.or(file))
    }
}

impl Options {
    fn or(self, file: Options) -> Options {
        Options {
            listen: self.listen.or(file.listen),
            tls_certificates: self.tls_certificates.or(file.tls_certificates),
            tls_key: self.tls_key.or(file.tls_key),
            backend_listen: self.backend_listen.or(file.backend_listen),
            backend_tls_certificates: self
                .backend_tls_certificates
                .or(file.backend_tls_certificates),
            backend_tls_key: self.backend_tls_key.or(file.backend_tls_key),
            approve_by_hand: self.approve_by_hand || file.approve_by_hand,
            accept_expired_ek: self.accept_expired_ek || file.accept_expired_ek,
            accept_tokens: self.accept_tokens || file.accept_tokens,
            insecure_accept_simulators: self.insecure_accept_simulators
                || file.insecure_accept_simulators,
            denied_chips: file.denied_chips,
            log: self.log.or(file.log),
            log_level: self.log_level.or(file.log_level),
        }
    }

    fn device(&self) -> Result<Endpoint, Failure> {
        endpoint(self.listen, DEVICE_LISTEN, &self.tls_certificates, &self.tls_key)
    }

    fn backend(&self) -> Result<Endpoint, Failure> {
        let (chain, key) = (&self.backend_tls_certificates, &self.backend_tls_key);
        endpoint(self.backend_listen, BACKEND_LISTEN, chain, key)
    }

    fn policy(&self) -> Policy {
        let denied = self.denied_chips.iter().cloned().map(|denied| DeniedChip {
            manufacturer: denied.manufacturer,
            model: denied.model,
            version: denied.version,
        });
        Policy {
            accept_expired: self.accept_expired_ek,
            accept_tokens: self.accept_tokens,
            accept_simulators: self.insecure_accept_simulators,
            approve_by_hand: self.approve_by_hand,
            denied: denied.collect(),
        }
    }

    fn start_log(&self) -> Result<(), Failure> {
        let level = self.log_level.as_deref().unwrap_or("info");
        let filter = EnvFilter::try_new(level).map_err(|error| {
            Failure::new(
                "log-level",
                error.to_string(),
                "Give info, or such as twinseal_server=debug.",
            )
        })?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false);
        match self.log.unwrap_or_default() {
            LogForm::Text => log.init(),
            LogForm::Json => log.json().init(),
        }
        Ok(())
    }
}

fn endpoint(
    listen: Option<SocketAddr>,
    default: &str,
    chain: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Result<Endpoint, Failure> {
    let wrong = |message: &str| Failure::new("config", message, "See `serve --help`.");
    let listen = match listen {
        Some(listen) => listen,
        None => default.parse().map_err(|_| wrong("no address to listen on"))?,
    };
    let tls = match (chain, key) {
        (Some(chain), Some(key)) => {
            Some(TlsFiles { certificates: chain.clone(), key: key.clone() })
        }
        (None, None) => None,
        _ => return Err(wrong("HTTPS needs both a certificate chain and its key")),
    };
    Ok(Endpoint { listen, tls })
}

/// Two full listeners have more connections than the usual first limit of open files. What the
/// system does not give is said: then connections wait.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Done when the process is asked to end.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::new("signals", error.to_string(), "Try again."))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}
