//! What the agent can ask of the process of a token's module.
//!
//! Each question is a type with its answer's; a new one is a struct, its [`Ask`], and its name in
//! the list below. It is asked with [`Process::ask`](super::process::Process::ask).

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use twinseal_scheme::enrol::TokenIdentity;
use twinseal_scheme::keys::{DecryptionPublic, RSA_LEN, SigningPublic};
use zeroize::Zeroizing;

use crate::application::{Hash, KeyAlgorithm, SignScheme, Uses};
use crate::description::{self, Description};
use crate::error::Error;
use crate::keys::KeyFamily;
use crate::token::application_key::TokenApplicationKey;
use crate::token::connection::Connection;
use crate::token::keys::{TokenId, TokenKey, TokenKeys};
use crate::token::wire::{self, Refusal, SecretBytes};

/// A question to a token in which the user has logged in.
pub(crate) trait Ask: Into<Question> {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;

    /// Whether it may take as long as the making of keys.
    const MAKES_KEYS: bool = false;

    /// Answers it, in the module's process.
    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error>;
}

macro_rules! questions {
    ($($name:ident)*) => {
        /// Any question, as it is sent.
        #[derive(Serialize, Deserialize)]
        pub(crate) enum Question { $($name($name),)* }

        $(impl From<$name> for Question {
            fn from(question: $name) -> Question {
                Question::$name(question)
            }
        })*

        impl Question {
            /// Answers it on the line.
            pub(super) fn answer(
                self,
                connection: &mut Connection,
                line: &mut impl Write,
            ) -> io::Result<()> {
                match self {
                    $(Question::$name(question) => {
                        wire::send(line, &question.answer(connection).map_err(Refusal::from))
                    })*
                }
            }
        }
    };
}
questions! {
    Identity Lockout Describe Random
    CreateKeys Recognise Sign Agree Decrypt
    CreateApplicationKey SignDigest DecryptOaep AgreeWith Destroy
}

/// What the token says of itself: manufacturer, model, serial number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity;

impl Ask for Identity {
    type Answer = (String, String, String);

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        let TokenIdentity { manufacturer, model, number } = connection.identity.clone();
        Ok((manufacturer, model, number))
    }
}

/// Whether the session is alive, and how the PIN stands.
#[derive(Serialize, Deserialize)]
pub(crate) struct Lockout;

impl Ask for Lockout {
    type Answer = description::Lockout;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.lockout()
    }
}

/// What the token is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Describe;

impl Ask for Describe {
    type Answer = Description;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.describe()
    }
}

/// The keys of a new enrolment.
#[derive(Serialize, Deserialize)]
pub(crate) struct CreateKeys {
    pub(crate) ids: [TokenId; 3],
    pub(crate) prefer: KeyFamily,
}

impl Ask for CreateKeys {
    type Answer = TokenKeys;
    const MAKES_KEYS: bool = true;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.create_keys(self.ids, self.prefer)
    }
}

/// Whether this token made the keys, and has them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recognise(pub(crate) Box<TokenKeys>);

impl Ask for Recognise {
    type Answer = ();

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.recognise(&self.0)
    }
}

/// A signature over a digest.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sign {
    pub(crate) key: TokenKey<SigningPublic>,
    #[serde(with = "serde_bytes")]
    pub(crate) digest: [u8; 32],
}

impl Ask for Sign {
    type Answer = ByteBuf;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.sign(&self.key, &self.digest).map(ByteBuf::from)
    }
}

/// What a point times the key is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Agree {
    pub(crate) key: TokenKey<DecryptionPublic>,
    #[serde(with = "serde_bytes")]
    pub(crate) point: [u8; 65],
}

impl Ask for Agree {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        let agreed = connection.agree(&self.key, &self.point)?;
        Ok(SecretBytes(Zeroizing::new(agreed.expose().to_vec())))
    }
}

/// What was encrypted to an RSA key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Decrypt {
    pub(crate) key: TokenKey<DecryptionPublic>,
    #[serde(with = "serde_bytes")]
    pub(crate) ciphertext: [u8; RSA_LEN],
}

impl Ask for Decrypt {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        let decrypted = connection.decrypt(&self.key, &self.ciphertext)?;
        Ok(SecretBytes(Zeroizing::new(decrypted.expose().to_vec())))
    }
}

/// A key of an application.
#[derive(Serialize, Deserialize)]
pub(crate) struct CreateApplicationKey {
    pub(crate) id: TokenId,
    pub(crate) algorithm: KeyAlgorithm,
    pub(crate) uses: Uses,
}

impl Ask for CreateApplicationKey {
    type Answer = TokenApplicationKey;
    const MAKES_KEYS: bool = true;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.create_application_key(self.id, self.algorithm, self.uses)
    }
}

/// A signature of an application's key, or a code.
#[derive(Serialize, Deserialize)]
pub(crate) struct SignDigest {
    pub(crate) key: TokenApplicationKey,
    pub(crate) scheme: SignScheme,
    /// What a code is for may be secret.
    pub(crate) digest: SecretBytes,
}

impl Ask for SignDigest {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        let signed = connection.sign_digest(&self.key, self.scheme, &self.digest.0)?;
        Ok(SecretBytes(signed.into()))
    }
}

/// What is in a ciphertext for an application's key.
#[derive(Serialize, Deserialize)]
pub(crate) struct DecryptOaep {
    pub(crate) key: TokenApplicationKey,
    pub(crate) hash: Hash,
    #[serde(with = "serde_bytes")]
    pub(crate) label: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) ciphertext: Vec<u8>,
}

impl Ask for DecryptOaep {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        let Self { key, hash, label, ciphertext } = self;
        connection.decrypt_oaep(&key, hash, &label, &ciphertext).map(SecretBytes)
    }
}

/// What a point times an application's key is.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgreeWith {
    pub(crate) key: TokenApplicationKey,
    #[serde(with = "serde_bytes")]
    pub(crate) point: Vec<u8>,
}

impl Ask for AgreeWith {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.agree_with(&self.key, &self.point).map(SecretBytes)
    }
}

/// Takes whatever has one of these ids away.
#[derive(Serialize, Deserialize)]
pub(crate) struct Destroy(pub(crate) Vec<TokenId>);

impl Ask for Destroy {
    type Answer = ();

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        self.0.iter().try_for_each(|id| connection.destroy(id))
    }
}

/// Random bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Random {
    pub(crate) length_bytes: usize,
}

impl Ask for Random {
    type Answer = SecretBytes;

    fn answer(self, connection: &mut Connection) -> Result<Self::Answer, Error> {
        connection.random(self.length_bytes).map(SecretBytes)
    }
}
