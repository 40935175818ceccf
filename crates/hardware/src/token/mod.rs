//! A PKCS#11 token through the crate `cryptoki`, the only place that knows of it.
//!
//! A token's module is its maker's C code. It is loaded into a process of its own, which the
//! agent's program becomes when it is started with [`TOKEN_MODULE`]: one that crashes ends a call,
//! one that hangs is ended after a time. [`Token`], on the owner thread, starts that process when
//! it must (`process`) and asks it (`ask`); in it `Connection` answers (`serve`), and what it can
//! is spread over the other files here.
//!
//! What a token can do is tried, not believed: every key is used once when it is made and again
//! at each [`recognise`](crate::Lane::recognise), and the result is checked in software.

mod address;
mod application;
mod application_key;
pub(crate) mod ask;
mod connection;
mod failure;
mod keys;
mod making;
mod process;
mod requests;
mod serve;
mod trial;
mod wire;
mod work;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use address::TokenAddress;
pub use application_key::TokenApplicationKey;
pub use failure::TokenFault;
pub use keys::{TokenId, TokenKey, TokenKeys, draw_token_ids};
pub(crate) use process::Cut;
pub use serve::serve_token_module;

use crate::config::{AuthValue, Limits};
use crate::connected::{Connect, Connected};
use crate::error::Error;
use crate::keys::KeyFamily;
use process::Process;

/// The argument that makes a program serve a token's module.
pub const TOKEN_MODULE: &str = "serve-token-module";

/// How long nothing is started after a module has crashed or hung before it did anything, or has
/// found no token: whoever asks costs no more than an answer then.
const REST: Duration = Duration::from_millis(500);

/// How often the PIN may be given to a module that ends before it says how it likes it.
const LOGINS_UNANSWERED: u32 = 2;

/// Everything that is needed to open a token.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Which token, and the module that reaches it.
    pub address: TokenAddress,
    /// The PIN of its user. Without one it does nothing before [`Lane::log_in`](crate::Lane::log_in).
    pub pin: Option<AuthValue>,
    /// What the signing and the decryption key of a new enrolment are; with the default, RSA where
    /// the token cannot do it on P-256. The serial key is of P-256 wherever the token can agree.
    pub prefer: KeyFamily,
    /// How many requests may wait, and how long.
    pub limits: Limits,
    /// The program that is started for the module: with the argument [`TOKEN_MODULE`] it does
    /// nothing but [`serve_token_module`].
    pub program: PathBuf,
}

impl TokenConfig {
    /// The default limits, and this very program for the module.
    pub fn new(address: TokenAddress, pin: impl Into<Option<AuthValue>>) -> Self {
        let program = PathBuf::from("/proc/self/exe");
        let (pin, prefer, limits) = (pin.into(), KeyFamily::default(), Limits::default());
        Self { address, pin, prefer, limits, program }
    }
}

/// A token that is connected to when it is needed.
pub(crate) type Token = Connected<Starter>;

impl Token {
    /// Logs in with this PIN where one is wanted: once, and whenever the token was away.
    pub(crate) fn log_in(&mut self, pin: AuthValue) -> Result<(), Error> {
        self.way_mut().take_pin(pin)?;
        self.attempt(|_| Ok(()))
    }

    /// Ends the session, unless nothing was asked in it yet.
    pub(crate) fn begin_anew(&mut self) {
        if self.connection().is_some_and(Process::has_served) {
            self.disconnect();
        }
    }
}

/// Starts processes for the module, as long as that can do no harm.
pub(crate) struct Starter {
    config: TokenConfig,
    cut: Cut,
    /// Why the PIN is not to be tried again.
    refused: Option<TokenFault>,
    logins_unanswered: u32,
    /// Since when the module rests, and why.
    rests: Option<(Instant, TokenFault)>,
}

impl Starter {
    pub(crate) fn new(config: TokenConfig, cut: Cut) -> Self {
        Self { config, cut, refused: None, logins_unanswered: 0, rests: None }
    }

    /// From now on it is this one, of which nothing is known yet.
    fn take_pin(&mut self, pin: AuthValue) -> Result<(), TokenFault> {
        if self.config.pin.is_some() && self.refused.is_none() {
            return Err(TokenFault::PinUnwanted);
        }
        self.config.pin = Some(pin);
        (self.refused, self.logins_unanswered, self.rests) = (None, 0, None);
        Ok(())
    }

    /// Logs in, but never twice with a PIN that was refused: a few times more would lock it.
    fn start(&mut self) -> Result<Process, Error> {
        let Some(pin) = &self.config.pin else { return Err(TokenFault::PinWanted.into()) };
        let mut process = Process::start(&self.config, &self.cut)?;
        process.open(&self.config.address)?;
        let logged_in = process.log_in(pin);
        match &logged_in {
            Err(Error::Token(TokenFault::Crashed | TokenFault::Hung)) => {
                self.logins_unanswered += 1;
                if self.logins_unanswered >= LOGINS_UNANSWERED {
                    self.refused = Some(TokenFault::PinUnanswered);
                }
            }
            _ => self.logins_unanswered = 0,
        }
        logged_in.map(|()| process)
    }

    fn let_rest(&mut self, error: &Error) {
        use TokenFault::{Absent, Crashed, Hung, Module};
        if let Error::Token(fault @ (Crashed | Hung | Absent | Module(_))) = error {
            self.rests = Some((Instant::now(), fault.clone()));
        }
    }
}

impl Connect for Starter {
    type Connection = Process;

    fn connect(&mut self) -> Result<Process, Error> {
        if let Some(fault) = &self.refused {
            return Err(fault.clone().into());
        }
        if let Some((since, fault)) = &self.rests
            && since.elapsed() < REST
        {
            return Err(fault.clone().into());
        }
        let started = self.start();
        match &started {
            Err(Error::Token(fault)) if fault.is_about_the_pin() => {
                (self.refused, self.config.pin) = (Some(fault.clone()), None);
            }
            Err(error) => self.let_rest(error),
            Ok(_) => {}
        }
        started
    }

    fn is_gone(error: &Error) -> bool {
        use TokenFault::{Absent, Crashed, Hung, Lost};
        matches!(error, Error::Token(Absent | Crashed | Hung | Lost))
    }

    /// Whoever waited for a module that hangs has waited long enough.
    fn may_pass(error: &Error, was_connected: bool) -> bool {
        was_connected && Self::is_gone(error) && *error != Error::Token(TokenFault::Hung)
    }

    fn end(&mut self, process: Process, error: &Error) {
        if !process.has_served() {
            self.let_rest(error);
        }
    }
}
