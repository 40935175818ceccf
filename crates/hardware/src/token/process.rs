//! The process of a token's module, as the agent sees it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{DecryptionPublic, RSA_LEN};
use zeroize::Zeroizing;

use crate::application::{Hash, SignScheme};
use crate::config::{AuthValue, Limits};
use crate::error::Error;
use crate::hardware::MAKING_KEYS;
use crate::keys::KeyFamily;
use crate::token::ask::{self, Ask, Question};
use crate::token::failure::TokenFault;
use crate::token::wire::{self, Refusal, SecretBytes};
use crate::token::{
    TOKEN_MODULE, TokenAddress, TokenApplicationKey, TokenConfig, TokenId, TokenKey, TokenKeys,
};

/// How long a process may take to end: first by itself, then when it was killed.
const ENDING: Duration = Duration::from_secs(1);

/// A process that has loaded a module, and the line to it. It ends when this value is dropped.
pub(crate) struct Process {
    child: Child,
    line: UnixStream,
    limits: Limits,
    prefer: KeyFamily,
    has_served: bool,
    /// It has ended or hangs, or what it says is no answer.
    is_broken: bool,
}

/// Cuts the line to whatever process there is, from another thread, and for good.
#[derive(Clone, Default)]
pub(crate) struct Cut(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    is_cut: bool,
    last: Option<UnixStream>,
}

impl Process {
    /// Starts one. It has loaded nothing yet, and is told what to load on the line alone.
    pub(super) fn start(config: &TokenConfig, cut: &Cut) -> Result<Process, Error> {
        let (line, child) = spawn(config).map_err(|error| {
            TokenFault::Module(format!("its process cannot be started, {error}"))
        })?;
        let TokenConfig { limits, prefer, .. } = *config;
        let process = Process { child, line, limits, prefer, has_served: false, is_broken: false };
        cut.watch(&process.line)?;
        Ok(process)
    }

    /// Has it load the module and find the token.
    pub(super) fn open(&mut self, address: &TokenAddress) -> Result<(), Error> {
        self.exchange(&address.to_string(), self.limit())
    }

    /// Has it log in, which is the first that can do harm.
    pub(super) fn log_in(&mut self, pin: &AuthValue) -> Result<(), Error> {
        self.exchange(&SecretBytes(pin.expose().to_vec().into()), self.limit())
    }

    /// Asks a question, and waits for the answer as long as that may take.
    pub(crate) fn ask<A: Ask>(&mut self, question: A) -> Result<A::Answer, Error> {
        let limit = match A::MAKES_KEYS {
            true => self.limit().max(MAKING_KEYS),
            false => self.limit(),
        };
        let question: Question = question.into();
        let answer = self.exchange(&question, limit);
        self.has_served |= !self.is_broken;
        answer
    }

    /// What a point on P-256 times a key is.
    pub(crate) fn agree(
        &mut self,
        key: &TokenKey<DecryptionPublic>,
        point: [u8; 65],
    ) -> Result<Secret, Error> {
        secret(self.ask(ask::Agree { key: key.clone(), point })?)
    }

    /// What was encrypted to an RSA key.
    pub(crate) fn decrypt(
        &mut self,
        key: &TokenKey<DecryptionPublic>,
        ciphertext: [u8; RSA_LEN],
    ) -> Result<Secret, Error> {
        secret(self.ask(ask::Decrypt { key: key.clone(), ciphertext })?)
    }

    /// Makes the keys of a new enrolment, as the configuration wants them.
    pub(super) fn create_keys(&mut self, ids: [TokenId; 3]) -> Result<TokenKeys, Error> {
        self.ask(ask::CreateKeys { ids, prefer: self.prefer })
    }

    /// See [`Lane::sign_digest`](crate::Lane::sign_digest).
    pub(crate) fn sign_digest(
        &mut self,
        key: &TokenApplicationKey,
        scheme: SignScheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let digest = SecretBytes(digest.to_vec().into());
        Ok(self.ask(ask::SignDigest { key: key.clone(), scheme, digest })?.0.to_vec())
    }

    /// See [`Lane::decrypt_oaep`](crate::Lane::decrypt_oaep).
    pub(crate) fn decrypt_oaep(
        &mut self,
        key: &TokenApplicationKey,
        hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (key, label, ciphertext) = (key.clone(), label.to_vec(), ciphertext.to_vec());
        Ok(self.ask(ask::DecryptOaep { key, hash, label, ciphertext })?.0)
    }

    /// See [`Lane::agree_with`](crate::Lane::agree_with).
    pub(crate) fn agree_with(
        &mut self,
        key: &TokenApplicationKey,
        point: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(self.ask(ask::AgreeWith { key: key.clone(), point: point.to_vec() })?.0)
    }

    /// Whether it has ever answered a question.
    pub(super) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Less than a caller waits, so that he hears what it was.
    fn limit(&self) -> Duration {
        self.limits.deadline * 7 / 8
    }

    fn exchange<T: DeserializeOwned>(
        &mut self,
        message: &impl Serialize,
        limit: Duration,
    ) -> Result<T, Error> {
        let mut line = Until { line: &self.line, end: Instant::now() + limit };
        let answer = wire::send(&mut line, message)
            .and_then(|()| wire::receive::<Result<T, Refusal>>(&mut line));
        match answer {
            Ok(answer) => answer.map_err(Error::from),
            Err(error) => {
                self.is_broken = true;
                let hangs = error.kind() == io::ErrorKind::TimedOut;
                let fault = if hangs { TokenFault::Hung } else { TokenFault::Crashed };
                let ended = self.end().map_or("it still runs".to_owned(), |s| s.to_string());
                tracing::warn!(ended, %error, "the token's module did not answer");
                Err(fault.into())
            }
        }
    }

    /// Ends it, by its own will first where it has one. `None` where even a kill does not help:
    /// then a driver holds it.
    fn end(&mut self) -> Option<ExitStatus> {
        let _ = self.line.shutdown(Shutdown::Both);
        if !self.is_broken
            && let Some(status) = self.wait()
        {
            return Some(status);
        }
        // Of one that has ended by itself the kernel keeps how.
        let _ = self.child.kill();
        self.wait()
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + ENDING;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < end => sleep(Duration::from_millis(2)),
                status => return status.ok().flatten(),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Cut {
    /// Cuts the line. Whoever waits for an answer waits no more.
    pub(crate) fn cut(&self) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.is_cut = true;
        if let Some(last) = line.last.take() {
            let _ = last.shutdown(Shutdown::Both);
        }
    }

    fn watch(&self, new: &UnixStream) -> Result<(), Error> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_cut {
            return Err(Error::Cancelled);
        }
        line.last = new.try_clone().ok();
        Ok(())
    }
}

/// Of that length it was sent.
fn secret(SecretBytes(bytes): SecretBytes) -> Result<Secret, Error> {
    Secret::try_from(bytes.as_slice()).map_err(|_| TokenFault::Crashed.into())
}

/// Its end of the line is its standard input: no descriptor is passed on otherwise. It is in a
/// process group of its own, since it ends with the agent and not before.
fn spawn(config: &TokenConfig) -> io::Result<(UnixStream, Child)> {
    let (ours, its) = UnixStream::pair()?;
    let child = Command::new(&config.program)
        .arg(TOKEN_MODULE)
        .stdin(Stdio::from(OwnedFd::from(its)))
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok((ours, child))
}

/// A line that is read and written until a time.
struct Until<'a> {
    line: &'a UnixStream,
    end: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Until<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.line.set_read_timeout(Some(self.left()?))?;
        self.line.read(bytes).map_err(timed_out)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.set_write_timeout(Some(self.left()?))?;
        self.line.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
