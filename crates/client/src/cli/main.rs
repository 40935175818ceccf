//! twinseal: the command line.

mod answer;
mod arguments;
mod device;
mod explain;
mod failure;
mod files;
mod keys;
mod own;
mod receipts;
mod recover;
mod trades;
mod unlock;

use std::process::ExitCode;

use answer::Answer;
use arguments::{Arguments, Command};
use clap::Parser;
use failure::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments).await {
        Ok(answer) => answer.print(json),
        Err(failure) if json => Answer::print_failure(&failure),
        Err(failure) => {
            eprintln!("twinseal: {}", failure.text());
            ExitCode::from(failure.exit_code)
        }
    }
}

async fn run(arguments: Arguments) -> Result<Answer, Failure> {
    match arguments.command {
        Command::Status => device::status().await,
        Command::Hardware { ek_cert } => device::hardware(ek_cert.as_deref()).await,
        Command::Enrol { link, user_info } => {
            device::enrol(&link, &user_info, arguments.json).await
        }
        Command::Recover { link, abandon } => {
            recover::recover(link.as_deref().unwrap_or_default(), abandon, arguments.json).await
        }
        Command::Unlock => unlock::unlock().await,
        Command::Exchange { service, request, payload, order, wait, output } => {
            let exchange = trades::Exchange { service, request, payload, order, wait, output };
            trades::exchange(exchange).await
        }
        Command::Trade(trade) => trades::run(trade, arguments.json).await,
        Command::Key(key) => keys::run(key).await,
        Command::Receipt(receipt) => receipts::run(receipt),
        Command::Explain { envelope, trade } => explain::explain(&envelope, trade.as_deref()).await,
    }
}
