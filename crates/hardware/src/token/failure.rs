//! What a token's module says when it does not do what it is asked.

use std::borrow::Cow;
use std::fmt;

use cryptoki::error::{Error as Refusal, RvError};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Why a token did not do what it was asked. The `Display` text says what to do next, and holds
/// no PIN and no serial number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenFault {
    /// The module cannot be loaded or started.
    Module(String),
    /// The module has ended its process in the middle of a call.
    Crashed,
    /// The module did not come back from a call in time, and its process was ended.
    Hung,
    /// No token fits the address: it is not plugged in, or named wrongly.
    Absent,
    /// Several tokens fit the address.
    Ambiguous,
    /// No PIN is known: somebody has to give one.
    PinWanted,
    /// A PIN was given where none is wanted. It was not tried.
    PinUnwanted,
    /// The PIN is wrong. It is not tried again.
    PinWrong,
    /// A last wrong PIN would lock the token, so none is tried.
    PinLastTry,
    /// The PIN is locked.
    PinLocked,
    /// The module's process has ended twice while the PIN was tried, so nobody knows how the token
    /// counts. It is not tried again.
    PinUnanswered,
    /// No PIN was set yet, or it has to be changed.
    PinUnset,
    /// It has no room for more keys.
    Full,
    /// It cannot do something that is needed.
    Incapable(Cow<'static, str>),
    /// It refuses what it was given: a ciphertext that was not made for this key.
    Rejected,
    /// The session, the login or an object is gone.
    Lost,
    /// Anything else: the function, and the name of the return value.
    Failed(String),
}

impl TokenFault {
    pub(crate) fn incapable(of: &'static str) -> TokenFault {
        TokenFault::Incapable(of.into())
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            TokenFault::Module(_) | TokenFault::Absent | TokenFault::Ambiguous => "absent",
            TokenFault::Crashed => "crashed",
            TokenFault::Hung => "deadline",
            TokenFault::PinWanted
            | TokenFault::PinWrong
            | TokenFault::PinLastTry
            | TokenFault::PinUnanswered
            | TokenFault::PinUnset => "unauthorised",
            TokenFault::PinLocked => "locked-out",
            TokenFault::PinUnwanted => "unwanted",
            TokenFault::Full => "full",
            TokenFault::Incapable(_) => "incapable",
            TokenFault::Rejected => "rejected",
            TokenFault::Lost | TokenFault::Failed(_) => "failed",
        }
    }

    /// Whether trying again could lock the token.
    pub(super) fn is_about_the_pin(&self) -> bool {
        matches!(self, TokenFault::PinWrong | TokenFault::PinLastTry | TokenFault::PinLocked)
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenFault::Module(why) => write!(
                f,
                "the token's module cannot be used ({why}): check the module-path of hardware.token"
            ),
            TokenFault::Crashed => f.write_str(
                "the token's module has crashed, and is started again with the next request: if it does so again, update the module or use another one",
            ),
            TokenFault::Hung => f.write_str(
                "the token's module hangs, and was ended: try again; if it does so again, take the token out and put it back, or allow more time with hardware.deadline_ms",
            ),
            TokenFault::Absent => f.write_str(
                "no such token is there: plug it in, and check that hardware.token names it",
            ),
            TokenFault::Ambiguous => f.write_str(
                "several tokens fit: add serial= to hardware.token, as pkcs11-tool --list-slots shows it",
            ),
            TokenFault::PinWanted => f.write_str(
                "the token's PIN is not configured: give it with `twinseal unlock`",
            ),
            TokenFault::PinUnwanted => f.write_str(
                "the token's PIN is known, so this one was not tried: see what `twinseal status` says",
            ),
            TokenFault::PinWrong => f.write_str(
                "the token refuses its PIN, which is not tried again: give the right one with `twinseal unlock`, and correct the file that hardware.pin_file names where there is one",
            ),
            TokenFault::PinLastTry => f.write_str(
                "the token has one try left for its PIN, which is not used up: log in by hand with pkcs11-tool --login, then give the PIN with `twinseal unlock`",
            ),
            TokenFault::PinUnanswered => f.write_str(
                "the token's module has ended twice when it was given the PIN, which is not tried again: log in by hand with pkcs11-tool --login, then give the PIN with `twinseal unlock`",
            ),
            TokenFault::PinLocked => f.write_str(
                "the token's PIN is locked: set a new one as its security officer, then give it with `twinseal unlock`",
            ),
            TokenFault::PinUnset => f.write_str(
                "the token's PIN has not been set, or must be changed: set it with pkcs11-tool --init-pin",
            ),
            TokenFault::Full => f.write_str(
                "the token has no room for more keys: delete what nobody needs with pkcs11-tool --delete-object",
            ),
            TokenFault::Incapable(what) => {
                write!(f, "the token cannot do {what}: use one that can, or a TPM")
            }
            TokenFault::Rejected => f.write_str(
                "the token refuses what it was given: see whether it was made for this key",
            ),
            TokenFault::Lost => f.write_str("the token has forgotten its session: try again"),
            TokenFault::Failed(what) => {
                write!(f, "the token failed ({what}): take it out and put it back, or report this")
            }
        }
    }
}

impl From<TokenFault> for Error {
    fn from(fault: TokenFault) -> Error {
        Error::Token(fault)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        fault(&refusal).into()
    }
}

fn fault(refusal: &Refusal) -> TokenFault {
    let (rv, function) = match refusal {
        Refusal::Pkcs11(rv, function) => (rv, function),
        Refusal::LibraryLoading(_) | Refusal::MissingSymbol(_) => {
            return TokenFault::Module(refusal.to_string().replace(": ", ", "));
        }
        Refusal::NullFunctionPointer | Refusal::NotSupported => {
            return TokenFault::incapable("a function that every token has");
        }
        _ => return TokenFault::Failed("an answer that is none".to_owned()),
    };
    match rv {
        RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid => TokenFault::Absent,
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => TokenFault::PinWrong,
        RvError::PinLocked => TokenFault::PinLocked,
        RvError::PinExpired | RvError::UserPinNotInitialized => TokenFault::PinUnset,
        RvError::DeviceMemory | RvError::HostMemory => TokenFault::Full,
        RvError::MechanismInvalid
        | RvError::FunctionNotSupported
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid => TokenFault::incapable("a key of this kind"),
        RvError::KeyFunctionNotPermitted => TokenFault::Rejected,
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::CryptokiNotInitialized
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid => TokenFault::Lost,
        _ => TokenFault::Failed(format!("{function:?}: {rv:?}")),
    }
}
