//! twinseal-courier: carries sealed bytes between the agent on this machine and its server.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use twinseal_courier::{BadConfig, Config, run};

const DEFAULT_CONFIG: &str = "/etc/twinseal/courier.toml";

/// Carries sealed bytes between the agent on this machine and its server. It holds no key and
/// reads nothing of what it carries.
///
/// The server is the one in the enrolment link that the agent was given. The bus is the one that
/// DBUS_SYSTEM_BUS_ADDRESS names, or the system's. What is logged can be chosen with
/// TWINSEAL_LOG, such as `debug`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML); /etc/twinseal/courier.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server, instead of the one in the enrolment link.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Trust only the root certificates (PEM) in this file for HTTPS; can be given several times.
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
}

impl Arguments {
    fn config(self) -> Result<Config, BadConfig> {
        let default = Path::new(DEFAULT_CONFIG);
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None if default.exists() => Config::read(default)?,
            None => Config::default(),
        };
        config.server = self.server.or(config.server);
        config.roots.extend(self.root);
        Ok(config)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("TWINSEAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match carry(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "twinseal-courier ends");
            ExitCode::FAILURE
        }
    }
}

async fn carry(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What it carries is sealed; that it carries is nobody else's business either.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let config = arguments.config()?;
    tokio::select! {
        Err(error) = run(&config) => Err(error.into()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
