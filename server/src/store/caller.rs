//! Who is changing something.

use std::fmt;

use twinseal_scheme::id::DeviceId;

/// Who is calling; it stands in every audit entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody at the command line: the name or number of the user.
    Cli(String),
    /// A back end, by the id of its API key.
    ApiKey(String),
    /// A device, by what it has proven to be.
    Device(DeviceId),
    /// Somebody who has proven nothing: an enrolment in progress.
    Stranger,
    /// The server itself, for what follows from its rules.
    Server,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Cli(user) => write!(f, "cli:{user}"),
            Caller::ApiKey(id) => write!(f, "api-key:{id}"),
            Caller::Device(id) => write!(f, "device:{id}"),
            Caller::Stranger => f.write_str("stranger"),
            Caller::Server => f.write_str("server"),
        }
    }
}
