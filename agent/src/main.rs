//! twinseal-agent: the agent as a system service.

use std::alloc::System;
use std::env;
use std::io::IsTerminal;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use twinseal_agent::{Agent, Config, bus};
use twinseal_hardware::{TOKEN_MODULE, serve_token_module};
use zbus::connection;
use zeroizing_alloc::ZeroAlloc;

/// Wipes whatever is given back: messages pass through many hands that do not.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Keeps this device's keys in its chip, seals and opens messages for the applications on the
/// system bus. It needs no network.
///
/// The bus is the one that DBUS_SYSTEM_BUS_ADDRESS names, or the system's. What is logged can be
/// chosen with TWINSEAL_LOG, such as `debug` or `twinseal_agent=trace`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE", default_value = "/etc/twinseal/agent.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|argument| argument == TOKEN_MODULE) {
        return token_module();
    }
    let arguments = Arguments::parse();
    if let Err(error) = quiet_tss() {
        eprintln!("twinseal-agent cannot start itself again: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = keep_memory_private() {
        eprintln!("twinseal-agent cannot keep its memory out of core dumps: {error}");
        return ExitCode::FAILURE;
    }
    let filter = EnvFilter::try_from_env("TWINSEAL_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!("info,{}=off", twinseal_hardware::TSS_LOG_TARGET))
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // One thread for the bus: what takes long is on the chip's, or waits for the disk on others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(&arguments)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "twinseal-agent ends");
            ExitCode::FAILURE
        }
    }
}

/// What the agent starts itself for, where the chip is a token.
fn token_module() -> ExitCode {
    match keep_memory_private() {
        Ok(()) => serve_token_module(),
        Err(error) => {
            eprintln!("the process of the token's module cannot keep its memory private: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The TSS library writes normal cases to standard error as errors, unless a variable is set when
/// it is loaded. A process cannot set one safely for itself, so it starts itself again with it.
fn quiet_tss() -> std::io::Result<()> {
    if env::var_os("TSS2_LOG").is_some() {
        return Ok(());
    }
    Err(Command::new("/proc/self/exe")
        .args(env::args_os().skip(1))
        .env("TSS2_LOG", "all+NONE")
        .exec())
}

/// Memory that holds keys goes into no core dump, and to no other process of this user.
fn keep_memory_private() -> std::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

async fn serve(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let agent = Agent::start(Config::read(&arguments.config)?).await?;
    let connection = connection::Builder::system().build().await?;
    let service = bus::publish(agent.clone(), connection).await?;
    notify_ready()?;
    tracing::info!(state = agent.status().state.word(), "ready");
    let outcome = tokio::select! {
        () = service.run() => Err("the bus has gone away: start the agent again".into()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    agent.stop().await;
    tracing::info!("stopped");
    outcome
}

/// Tells systemd, where it has asked for it (sd_notify(3)).
fn notify_ready() -> std::io::Result<()> {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").and_then(|path| path.into_string().ok()) else {
        return Ok(());
    };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
    Ok(())
}
