//! A tap on the wire between a host and its TPM: what a probe on the bus sees, and faults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::door::Door;
use crate::plan::{Plan, kill};
use crate::ports::PortPair;
use crate::recorder::Recorder;
use crate::swtpm::Swtpm;

/// One TPM command and its answer, both whole, as in TPM 2.0 Part 1, section 18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The command.
    pub command: Vec<u8>,
    /// The response.
    pub response: Vec<u8>,
}

impl Exchange {
    /// TPM_CC, for example 0x15d for TPM2_Sign.
    pub fn command_code(&self) -> u32 {
        header_u32(&self.command, 6)
    }

    /// TPM_RC, zero for success.
    pub fn response_code(&self) -> u32 {
        header_u32(&self.response, 6)
    }
}

/// Stands between a [`Swtpm`] and who uses it, keeps what goes by, and fails a command on demand.
#[derive(Debug)]
pub struct Tap {
    ports: PortPair,
    shared: Arc<Mutex<Shared>>,
    _commands: Door,
    _control: Recorder,
}

#[derive(Debug, Default)]
struct Shared {
    exchanges: Vec<Exchange>,
    plan: Plan<ChipMishap>,
}

/// What can happen to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChipMishap {
    /// It gets this TPM_RC and does not reach the chip.
    Code(u32),
    /// The chip does it; this process is killed before the response.
    Kill(u32),
    /// The chip does it; half of the response comes, and the connection ends.
    Truncated,
    /// The chip does it; the response has more in it than a response can have.
    Oversized,
    /// The chip does it; the connection ends.
    Dropped,
    /// The chip does it; the response comes as much later.
    Late(Duration),
}

impl Tap {
    /// A tap on `chip`, which may be switched off and on behind it.
    pub fn on(chip: &Swtpm) -> Self {
        let ports = PortPair::claim();
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a claimed port");
        let upstream = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let control = Recorder::on(bind(ports.first + 1), upstream(chip.port() + 1));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (state, chip) = (Arc::clone(&shared), upstream(chip.port()));
        // One client after the other, as the chip does it. Either side may leave at any time; then
        // the next client comes.
        let commands = Door::open(bind(ports.first), move |client| {
            let _ = TcpStream::connect(chip).and_then(|chip| converse(client, chip, &state));
        });
        Self { ports, shared, _commands: commands, _control: control }
    }

    /// The chip's TCTI through this tap.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.ports.first)
    }

    /// All that went by.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared).exchanges.clone()
    }

    /// The command after the next `commands_before` gets this TPM_RC and does not reach the chip.
    /// Those after it do again.
    pub fn fail_after(&self, commands_before: u32, response_code: u32) {
        self.meet(commands_before + 1, ChipMishap::Code(response_code));
    }

    /// This happens to the `nth` command from now on, which is 1 for the next, and to no other.
    pub fn meet(&self, nth: u32, mishap: ChipMishap) {
        lock(&self.shared).plan.set(nth, mishap);
    }

    /// Whether the fault that was asked for is still to come; forgets it.
    pub fn take_fault(&self) -> bool {
        lock(&self.shared).plan.take()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(
    mut client: TcpStream,
    mut chip: TcpStream,
    shared: &Mutex<Shared>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    chip.set_nodelay(true)?;
    loop {
        let command = read_message(&mut client)?;
        let mishap = lock(shared).plan.pass();
        let response = match mishap {
            Some(ChipMishap::Code(code)) => failure(code),
            _ => {
                chip.write_all(&command)?;
                read_message(&mut chip)?
            }
        };
        lock(shared).exchanges.push(Exchange { command, response: response.clone() });
        match mishap {
            Some(ChipMishap::Kill(pid)) => {
                kill(pid);
                return Ok(());
            }
            Some(ChipMishap::Dropped) => return Ok(()),
            Some(ChipMishap::Truncated) => {
                return client.write_all(&response[..response.len() / 2]);
            }
            Some(ChipMishap::Oversized) => client.write_all(&oversized(response))?,
            Some(ChipMishap::Late(by)) => {
                thread::sleep(by);
                client.write_all(&response)?;
            }
            _ => client.write_all(&response)?,
        }
    }
}

/// Commands and responses begin alike: a tag of two bytes, then the size of the whole.
fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message)?;
    let size = header_u32(&message, 2) as usize;
    message.resize(size.clamp(10, 1 << 16), 0);
    stream.read_exact(&mut message[10..])?;
    Ok(message)
}

fn header_u32(message: &[u8], at: usize) -> u32 {
    message[at..at + 4].iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// A response with TPM_ST_NO_SESSIONS, as every failure has.
fn failure(response_code: u32) -> Vec<u8> {
    let mut response = vec![0x80, 0x01, 0, 0, 0, 10];
    response.extend(response_code.to_be_bytes());
    response
}

/// More than TPM2_MAX_RESPONSE_SIZE, 4096 bytes, in a form that is right otherwise.
fn oversized(mut response: Vec<u8>) -> Vec<u8> {
    response.resize(5000, 0);
    response[2..6].copy_from_slice(&5000_u32.to_be_bytes());
    response
}
