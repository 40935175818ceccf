//! What is the same for both kinds of chip: who owns one, and the keys of an enrolment.

use twinseal_scheme::keys::{DecryptionPublic, SigningPublic};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::{ChildKey, DeviceKeys};
use crate::token::{Token, TokenFault, TokenKey, TokenKeys};
use crate::tpm::Tpm;

/// The chip on the owner thread.
pub(crate) enum Chip {
    Tpm(Box<Tpm>),
    Token(Box<Token>),
}

impl Chip {
    /// # Errors
    /// [`TokenFault::Incapable`] of a token.
    pub(crate) fn tpm(&mut self) -> Result<&mut Tpm, Error> {
        match self {
            Chip::Tpm(tpm) => Ok(tpm),
            Chip::Token(_) => Err(TokenFault::incapable("what takes a TPM").into()),
        }
    }

    /// # Errors
    /// [`Error::Misuse`] of a TPM.
    pub(crate) fn token(&mut self) -> Result<&mut Token, Error> {
        match self {
            Chip::Token(token) => Ok(token),
            Chip::Tpm(_) => Err(Error::Misuse("something that only a token can do, of a TPM")),
        }
    }
}

/// Everything that a chip of either kind holds for one enrolment, as it is kept between two
/// starts.
#[derive(Clone, Debug)]
pub enum ChipKeys {
    /// Of a TPM.
    Tpm(DeviceKeys),
    /// Of a token.
    Token(Box<TokenKeys>),
}

/// A signing or a decryption key in a chip of either kind.
#[derive(Clone, Debug)]
pub enum MessageKey {
    /// In a TPM.
    Tpm(ChildKey),
    /// In a token, to sign with.
    TokenSigning(TokenKey<SigningPublic>),
    /// In a token, to agree or to decrypt with.
    TokenDecryption(TokenKey<DecryptionPublic>),
}

impl ChipKeys {
    /// Signs what the device sends.
    pub fn signing(&self) -> MessageKey {
        match self {
            ChipKeys::Tpm(keys) => MessageKey::Tpm(keys.signing.clone()),
            ChipKeys::Token(keys) => MessageKey::TokenSigning(keys.signing.clone()),
        }
    }

    /// Opens what it receives.
    pub fn decryption(&self) -> MessageKey {
        match self {
            ChipKeys::Tpm(keys) => MessageKey::Tpm(keys.decryption.clone()),
            ChipKeys::Token(keys) => MessageKey::TokenDecryption(keys.decryption.clone()),
        }
    }

    /// The keys for a file that only the agent can read. Those of a TPM hold authorisations in
    /// clear.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        match self {
            ChipKeys::Tpm(keys) => keys.to_bytes(),
            ChipKeys::Token(keys) => keys.to_bytes(),
        }
    }

    /// What [`ChipKeys::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match TokenKeys::from_bytes(bytes) {
            Ok(keys) => Ok(ChipKeys::Token(Box::new(keys))),
            Err(_) => DeviceKeys::from_bytes(bytes).map(ChipKeys::Tpm),
        }
    }
}

macro_rules! of_either {
    ($($from:ty => $variant:path as $into:ident;)*) => {$(
        impl From<&$from> for $into {
            fn from(it: &$from) -> Self {
                $variant(it.clone())
            }
        }
    )*};
}
of_either! {
    DeviceKeys => ChipKeys::Tpm as ChipKeys;
    ChildKey => MessageKey::Tpm as MessageKey;
    TokenKey<SigningPublic> => MessageKey::TokenSigning as MessageKey;
    TokenKey<DecryptionPublic> => MessageKey::TokenDecryption as MessageKey;
}

impl From<&TokenKeys> for ChipKeys {
    fn from(keys: &TokenKeys) -> Self {
        ChipKeys::Token(Box::new(keys.clone()))
    }
}

impl From<&ChipKeys> for ChipKeys {
    fn from(keys: &ChipKeys) -> Self {
        keys.clone()
    }
}

impl From<&MessageKey> for MessageKey {
    fn from(key: &MessageKey) -> Self {
        key.clone()
    }
}
