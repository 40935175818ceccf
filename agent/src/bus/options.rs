//! The last argument of every method: `a{sv}`, in which an option that is not known is refused.

use std::time::Duration;

use twinseal_client::MAX_WAIT_MS;
use twinseal_scheme::message::Outer;
use zbus::{DeserializeDict, Type};

use crate::{Error, Kind, Options};

/// For methods that know no option yet.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct NoOptions {}

/// For OpenTrade.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct OpenOptions {
    /// `serial` or `key`.
    outer: Option<String>,
}

/// For Exchange.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct ExchangeOptions {
    /// `serial` or `key`.
    outer: Option<String>,
    /// The application's word for the payload.
    content_type: Option<String>,
    /// How long to wait for the reply, milliseconds.
    wait_ms: Option<u32>,
}

/// For methods that send.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct PayloadOptions {
    /// The application's word for the payload.
    pub(super) content_type: Option<String>,
}

/// For CreateKey.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct CreateKeyOptions {
    /// CKA_ID of PKCS #11.
    pub(super) id: Option<Vec<u8>>,
    /// What it may do: `sign`, `decrypt`, `agree`.
    pub(super) uses: Option<Vec<String>>,
    /// A group whose members may use it, too.
    pub(super) group: Option<u32>,
}

/// For ImportKey.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct ImportKeyOptions {
    /// CKA_ID of PKCS #11.
    pub(super) id: Option<Vec<u8>>,
    /// The key's password.
    pub(super) password: Option<Vec<u8>>,
    /// A group whose members may use it, too.
    pub(super) group: Option<u32>,
}

/// For Change.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct ChangeOptions {
    /// Its new label.
    pub(super) label: Option<String>,
    /// Its new CKA_ID.
    pub(super) id: Option<Vec<u8>>,
    /// Its new certificate, DER; empty for none.
    pub(super) certificate: Option<Vec<u8>>,
}

/// For Decrypt.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct DecryptOptions {
    /// OAEP's label.
    pub(super) label: Option<Vec<u8>>,
}

/// For methods that wait.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct WaitOptions {
    /// How long to wait, milliseconds.
    pub(super) wait_ms: Option<u32>,
}

impl TryFrom<OpenOptions> for Options {
    type Error = Error;

    fn try_from(options: OpenOptions) -> Result<Self, Error> {
        let defaults = Options::default();
        let outer = options.outer.map(|word| outer(&word)).transpose()?;
        Ok(Self { outer: outer.unwrap_or(defaults.outer), ..defaults })
    }
}

impl TryFrom<ExchangeOptions> for Options {
    type Error = Error;

    fn try_from(options: ExchangeOptions) -> Result<Self, Error> {
        let opened = Options::try_from(OpenOptions { outer: options.outer })?;
        Ok(Self {
            content_type: options.content_type.unwrap_or_default(),
            wait: wait(options.wait_ms.unwrap_or(MAX_WAIT_MS)),
            ..opened
        })
    }
}

/// A wait as it is granted: no call outlives what D-Bus gives it.
pub(super) fn wait(wait_ms: u32) -> Duration {
    Duration::from_millis(wait_ms.min(MAX_WAIT_MS).into())
}

fn outer(word: &str) -> Result<Outer, Error> {
    Outer::of_word(word).ok_or_else(|| {
        Error::new(Kind::InvalidArgument, "option outer is neither `serial` nor `key`")
    })
}
