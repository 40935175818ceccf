//! The process of a token's module, from within.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::stdio::dup2_stdin;
use twinseal_scheme::wiping_stack;

use crate::config::AuthValue;
use crate::error::Error;
use crate::owner::REQUEST;
use crate::token::ask::Question;
use crate::token::connection::{Connection, Module};
use crate::token::wire::{self, Refusal, SecretBytes};

/// Serves the module of a token to the process that has started this one with
/// [`TOKEN_MODULE`](crate::TOKEN_MODULE), over the socket that is its standard input, and returns
/// when that is closed. To be called first in `main`, once the process's memory is private: it
/// is given the PIN.
pub fn serve_token_module() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process of the token's module ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    // In a call of the module nobody would see that the line is closed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // The line is not for the module.
    dup2_stdin(File::open("/dev/null")?)?;
    let Some(mut connection) = connect(&mut line)? else { return Ok(()) };
    while let Some(question) = next::<Question>(&mut line)? {
        wiping_stack::<REQUEST, _>(|| question.answer(&mut connection, &mut line))?;
    }
    Ok(())
}

/// Finds the token, and logs in when it has been found. `None` where there is nothing to do any
/// more: whoever asked has been told why.
fn connect(line: &mut UnixStream) -> io::Result<Option<Connection>> {
    let Some(address) = next::<String>(line)? else { return Ok(None) };
    let found = address.parse().and_then(|address| Module::load(&address)?.find(&address));
    let Some(found) = tell(line, found)? else { return Ok(None) };
    let Some(SecretBytes(pin)) = next(line)? else { return Ok(None) };
    let logged_in = wiping_stack::<REQUEST, _>(|| {
        AuthValue::new(pin.to_vec()).and_then(|pin| found.log_in(&pin))
    });
    tell(line, logged_in)
}

/// Says whether something has been had, and gives it.
fn tell<T>(line: &mut UnixStream, had: Result<T, Error>) -> io::Result<Option<T>> {
    match had {
        Ok(it) => wire::send(line, &Ok::<(), Refusal>(())).map(|()| Some(it)),
        Err(error) => wire::send(line, &Err::<(), _>(Refusal::from(error))).map(|()| None),
    }
}

/// The next message, or `None` when the line is closed.
fn next<T: serde::de::DeserializeOwned>(line: &mut UnixStream) -> io::Result<Option<T>> {
    match wire::receive(line) {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
