//! What keeps a device's keys: a TPM or a token.

use std::path::Path;

use crate::swtpm::Swtpm;
use crate::token::{Token, TokenKind};

/// A kind of chip that a test can run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChipKind {
    /// A TPM 2.0, emulated.
    Tpm,
    /// A PKCS#11 token in software.
    Token(TokenKind),
}

/// The chip of a device.
#[derive(Debug)]
pub enum Chip {
    /// A TPM 2.0, emulated.
    Tpm(Box<Swtpm>),
    /// A PKCS#11 token in software.
    Token(Token),
}

impl ChipKind {
    /// What stands in the environment variable `TWINSEAL_TEST_CHIP`: `swtpm`, `softhsm` or
    /// `kryoptic`. It is the chip of each device of which a test does not say otherwise, a TPM
    /// where nothing stands there. With it any test runs with any.
    ///
    /// # Panics
    /// When it is anything else.
    pub fn of_environment() -> Self {
        match std::env::var("TWINSEAL_TEST_CHIP").as_deref() {
            Err(_) | Ok("swtpm") => Self::Tpm,
            Ok("softhsm") => Self::Token(TokenKind::SoftHsm),
            Ok("kryoptic") => Self::Token(TokenKind::Kryoptic),
            Ok(other) => panic!("TWINSEAL_TEST_CHIP: {other}: swtpm, softhsm or kryoptic"),
        }
    }

    /// The agent's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Token(_) => "token",
        }
    }

    /// The assurance class of a device that is enrolled with it at a [`World`](crate::World).
    pub fn assurance(self) -> &'static str {
        match self {
            Self::Tpm => "tpm-ek",
            Self::Token(_) => "token",
        }
    }
}

impl Chip {
    /// Of the kind that the environment names.
    pub fn start() -> Self {
        Self::of(ChipKind::of_environment())
    }

    /// Of this kind.
    pub fn of(kind: ChipKind) -> Self {
        match kind {
            ChipKind::Tpm => Swtpm::start().into(),
            ChipKind::Token(kind) => Token::of(kind).into(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> ChipKind {
        match self {
            Self::Tpm(_) => ChipKind::Tpm,
            Self::Token(token) => ChipKind::Token(token.kind()),
        }
    }

    /// What a program that uses it is to find in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        match self {
            Self::Tpm(_) => Vec::new(),
            Self::Token(token) => token.environment(),
        }
    }

    /// The lines of the agent's configuration that say where it is: by another TCTI or module
    /// than its own, where one is given, and which keys a TPM makes.
    pub(crate) fn address(
        &self,
        tcti: Option<String>,
        keys: Option<String>,
        module: Option<&Path>,
    ) -> String {
        match self {
            Self::Tpm(chip) => {
                let prefer = keys.map(|keys| format!("prefer = {keys:?}\n")).unwrap_or_default();
                format!("tcti = {:?}\n{prefer}", tcti.unwrap_or_else(|| chip.tcti()))
            }
            Self::Token(token) => {
                let uri = token.uri_by(module.unwrap_or(token.module()));
                format!("token = {uri:?}\npin_file = {:?}\n", token.pin_file())
            }
        }
    }
}

impl From<Swtpm> for Chip {
    fn from(tpm: Swtpm) -> Self {
        Self::Tpm(Box::new(tpm))
    }
}

impl From<Token> for Chip {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}
