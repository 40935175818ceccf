//! What can be wrong with a request, by whose fault it is.

use twinseal_scheme::Reason;

use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scheme's rules refuse it.
    #[error(transparent)]
    Refused(#[from] Reason),
    /// The same, and the peer must not learn which rule: he has not proven who he is.
    #[error(transparent)]
    Hidden(Reason),
    /// The caller's request makes no sense; what it should be.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing, or it is not for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is there: a stable code, and what to do.
    #[error("{1}")]
    Conflict(&'static str, String),
    /// A limit is reached: try again later.
    #[error("too much of this at the moment: try again later")]
    Busy,
    /// The server's own fault; the log says which.
    #[error("the server failed; its log says why")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A failure of the server's own.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Internal(error.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Internal(Box::new(error))
    }
}
