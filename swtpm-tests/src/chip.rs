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
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Tpm,
        Self::Token(TokenKind::SoftHsm),
        Self::Token(TokenKind::Kryoptic),
        Self::Token(TokenKind::KryopticRsa),
    ];

    /// What stands in the environment variable `TWINSEAL_TEST_CHIP`: `swtpm`, `softhsm`,
    /// `kryoptic` or `kryoptic-rsa`. It is the chip of each device of which a test does not say otherwise, a TPM
    /// where nothing stands there. With it any test runs with any.
    ///
    /// # Panics
    /// When it is anything else.
    pub fn of_environment() -> Self {
        let Ok(name) = std::env::var("TWINSEAL_TEST_CHIP") else { return Self::Tpm };
        let named = Self::ALL.into_iter().find(|kind| kind.name() == name);
        named.unwrap_or_else(|| {
            panic!("TWINSEAL_TEST_CHIP: {name}: swtpm, softhsm, kryoptic or kryoptic-rsa")
        })
    }

    /// Its name in that variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tpm => "swtpm",
            Self::Token(TokenKind::SoftHsm) => "softhsm",
            Self::Token(TokenKind::Kryoptic) => "kryoptic",
            Self::Token(TokenKind::KryopticRsa) => "kryoptic-rsa",
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

    /// Another chip that begins with all that this one remembers, so with the same keys.
    #[must_use]
    pub fn copy(&self) -> Self {
        match self {
            Self::Tpm(chip) => chip.copy().into(),
            Self::Token(token) => token.copy().into(),
        }
    }

    /// Takes away what the device's serial layer hangs on, and leaves everything else: a TPM gets
    /// another endorsement seed, a token loses its serial key.
    pub fn take_serial_away(&self) {
        match self {
            Self::Tpm(chip) => chip.change_endorsement_seed(),
            Self::Token(token) => token.delete_keys("twinseal serial key"),
        }
    }

    /// Takes the keys away that an enrolment has made: TPM2_Clear, or their deletion.
    pub fn lose_keys(&self) {
        match self {
            Self::Tpm(chip) => chip.clear(),
            Self::Token(token) => {
                token.public_keys().iter().for_each(|label| token.delete_keys(label));
            }
        }
    }

    /// What it holds while nobody uses it: the handles of a TPM, the objects of a token.
    pub fn contents(&self) -> Vec<String> {
        match self {
            Self::Tpm(chip) => chip.handles(),
            Self::Token(token) => token.objects(),
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
        let prefer = keys.map(|keys| format!("prefer = {keys:?}\n")).unwrap_or_default();
        match self {
            Self::Tpm(chip) => {
                format!("tcti = {:?}\n{prefer}", tcti.unwrap_or_else(|| chip.tcti()))
            }
            Self::Token(token) => {
                let uri = token.uri_by(module.unwrap_or(token.module()));
                format!("token = {uri:?}\npin_file = {:?}\n{prefer}", token.pin_file())
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
