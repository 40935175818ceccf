//! `twinseal unlock`: a PIN on its way from who knows it to the agent.

use std::io::{self, Write};

use rustix::io::{Errno, read};
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use twinseal_client::{Agent1Proxy, ErrorKind, Options};
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::device::{bus, enrolled};
use crate::failure::Failure;

/// PINs are no longer, in bytes.
const LEN_MAX: usize = 64;

pub(crate) async fn unlock() -> Result<Answer, Failure> {
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let failed = |e: io::Error| Failure::new(ErrorKind::Internal, format!("{e}: try again"));
    // As long as it is in no message, nobody who watches the bus or records it sees it.
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    writer.write_all(&pin()?).map_err(failed)?;
    drop(writer);
    agent.unlock((&reader).into(), Options::new()).await?;
    enrolled(&agent, None).await
}

/// Typed, or the first line of what is no terminal.
fn pin() -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !isatty(stdin()) {
        return line(|_| None);
    }
    let unseen = Unseen::begin()?;
    eprint!("PIN of the token: ");
    let pin = line(Key::of);
    drop(unseen);
    eprintln!();
    pin
}

/// What a key does that is no character of the PIN.
enum Key {
    Cancel,
    Erase,
    EraseAll,
}

impl Key {
    fn of(byte: u8) -> Option<Key> {
        match byte {
            // ^C and ^D
            0x03 | 0x04 => Some(Key::Cancel),
            // Backspace, in both ways, and ^U
            0x08 | 0x7f => Some(Key::Erase),
            0x15 => Some(Key::EraseAll),
            _ => None,
        }
    }
}

/// One byte at a time, so that nothing is read that nobody wipes.
fn line(key: impl Fn(u8) -> Option<Key>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut pin = Zeroizing::new(Vec::with_capacity(LEN_MAX));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        let read = match read(stdin(), byte.as_mut_slice()) {
            Err(Errno::INTR) => continue,
            read => read.map_err(|e| unreadable(&e))?,
        };
        match byte[0] {
            _ if read == 0 => return Ok(pin),
            b'\n' | b'\r' => return Ok(pin),
            typed => match key(typed) {
                Some(Key::Cancel) => {
                    return Err(Failure::new(
                        ErrorKind::Cancelled,
                        "no PIN was given: run this again",
                    ));
                }
                Some(Key::Erase) => drop(pin.pop()),
                Some(Key::EraseAll) => pin.clear(),
                None if pin.len() == LEN_MAX => {
                    return Err(Failure::new(
                        ErrorKind::TooLarge,
                        "PINs have at most 64 bytes: check what is given",
                    ));
                }
                None => pin.push(typed),
            },
        }
    }
}

/// A terminal that shows nothing and hands each key on, until this is dropped. Keys that end a
/// program come as bytes, so none leaves it like that.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn begin() -> Result<Unseen, Failure> {
        let before = tcgetattr(stdin()).map_err(|e| unreadable(&e))?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(stdin(), OptionalActions::Flush, &modes).map_err(|e| unreadable(&e))?;
        Ok(Unseen { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nothing else to try.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, format!("standard input cannot be read ({error}): try again"))
}
