//! The command line of `twinseal-server`.

mod api_key;
mod attest;
mod audit;
mod code;
mod device;
mod ek_roots;
mod init;
mod output;
mod recover;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getuid, set_dumpable_behavior, setrlimit,
};

use crate::app::{App, Folders, Policy};
use crate::http::Limits;
use crate::store::Caller;
use output::{Failure, Output};

/// Enrols devices and trades with them, every message sealed twice.
#[derive(Parser)]
#[command(name = "twinseal-server", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Folder of the database
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/twinseal-server")]
    data: PathBuf,
    /// Folder of the private keys, outside the data folder [default: DATA-secrets]
    #[arg(long, global = true, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new server: its keys and its database
    Init(init::Init),
    /// Serve devices and back ends until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Certificate authorities of endorsement keys: which makers of chips are trusted
    #[command(subcommand)]
    EkRoots(ek_roots::EkRoots),
    /// Enrolment codes and links
    #[command(subcommand)]
    Code(code::Code),
    /// Devices: expected, waiting for approval, enrolled, revoked
    #[command(subcommand)]
    Device(device::Device),
    /// Keys with which back ends call the API
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Keys of applications that devices attest
    #[command(subcommand)]
    Attest(attest::Attest),
    /// Make a database good that was restored from a backup: `serve` says when it is needed
    Recover(recover::Recover),
    /// Print who changed what, oldest first
    Audit(audit::Audit),
}

/// Parses the command line, does what it says, and prints the result.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.common.json;
    if let Err(error) = keep_memory_private() {
        let next = "Start it where a process may limit itself.";
        return output::print(Err(Failure::new("limits", error.to_string(), next)), json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli)),
        Err(error) => Err(Failure::new("runtime", error.to_string(), "Try again.")),
    };
    output::print(result, json)
}

/// Memory that holds keys goes into no core dump, and to no other process of this user.
fn keep_memory_private() -> std::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

async fn dispatch(cli: Cli) -> Result<Output, Failure> {
    let common = &cli.common;
    match cli.command {
        Command::Init(init) => init.run(common).await,
        Command::Serve(serve) => serve.run(common).await,
        Command::EkRoots(roots) => roots.run(common).await,
        Command::Device(device) => device.run(common).await,
        Command::Code(code) => code.run(common).await,
        Command::ApiKey(key) => key.run(common).await,
        Command::Attest(attest) => attest.run(common).await,
        Command::Recover(recover) => recover.run(common).await,
        Command::Audit(audit) => audit.run(common).await,
    }
}

impl Common {
    fn folders(&self) -> Folders {
        Folders::new(self.data.clone(), self.secrets.clone())
    }

    async fn app(&self) -> Result<App, Failure> {
        self.app_with(Policy::default()).await
    }

    async fn app_with(&self, policy: Policy) -> Result<App, Failure> {
        Ok(App::open(&self.folders(), Limits::default(), policy).await?)
    }

    /// Who sits at the terminal, for the audit record: the user that owns this process.
    fn caller(&self) -> Caller {
        Caller::Cli(format!("uid {}", getuid().as_raw()))
    }
}
