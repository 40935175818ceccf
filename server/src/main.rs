//! The `twinseal-server` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    twinseal_server::cli::run()
}
