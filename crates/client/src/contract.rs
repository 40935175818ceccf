//! The names of the D-Bus contract: bus, paths, interfaces and errors (`docs/dbus.md`).

use std::fmt;

/// The well-known name of the agent on the system bus.
pub const BUS_NAME: &str = "org.twinseal.Agent1";

/// The agent itself. Everything that belongs to a user stands below `u<uid>/` under it.
pub const ROOT_PATH: &str = "/org/twinseal/Agent1";

/// Interface of the root.
pub const AGENT_INTERFACE: &str = "org.twinseal.Agent1";

/// Interface of the root that only the courier may use.
pub const COURIER_INTERFACE: &str = "org.twinseal.Agent1.Courier";

/// Interface of a trade.
pub const TRADE_INTERFACE: &str = "org.twinseal.Agent1.Trade";

/// Interface of an application's key.
pub const KEY_INTERFACE: &str = "org.twinseal.Agent1.Key";

/// Interface of a job: something that may take longer than a D-Bus call.
pub const JOB_INTERFACE: &str = "org.twinseal.Agent1.Job";

/// The longest wait, in milliseconds, that a method with a `wait_ms` grants. Longer ones are cut
/// to it, so that an answer is there before the 25 seconds after which D-Bus gives a call up.
pub const MAX_WAIT_MS: u32 = 20_000;

const ERROR_PREFIX: &str = "org.twinseal.Error.";

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// What a call can be refused with. The list is closed: an agent sends no other name
        /// that begins with `org.twinseal.Error.`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The last part of the D-Bus name, such as `NotFound`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }
        }
    };
}

error_kinds! {
    /// The device has no server yet: enrol it.
    NotEnrolled,
    /// The server has not said yes yet.
    AwaitingApproval,
    /// The server has suspended the device, or holds it in quarantine.
    Suspended,
    /// The server has revoked the device.
    Revoked,
    /// No chip answers.
    ChipAbsent,
    /// The chip was cleared after the enrolment.
    ChipCleared,
    /// This is another chip than the enrolled one.
    ChipReplaced,
    /// The chip's counter is lower than it was.
    ChipRolledBack,
    /// The chip refuses because of too many failures.
    ChipLockedOut,
    /// The chip wants an authorisation that the agent does not have.
    ChipUnauthorised,
    /// Too much at once: try again.
    Busy,
    /// More than a message or a queue may hold.
    TooLarge,
    /// The other side, or a check of what it sent, said no.
    Rejected,
    /// It was for an earlier epoch or enrolment.
    Stale,
    /// There is no such thing, or it is not the caller's.
    NotFound,
    /// The caller may not do this.
    NotAllowed,
    /// The call itself is wrong.
    InvalidArgument,
    /// The job was cancelled.
    Cancelled,
    /// It did not happen in time; it may still happen.
    Timeout,
    /// A part is missing.
    Incomplete,
    /// The agent failed; its log says how.
    Internal,
}

impl ErrorKind {
    /// The whole D-Bus name, such as `org.twinseal.Error.NotFound`.
    pub fn dbus_name(self) -> String {
        format!("{ERROR_PREFIX}{}", self.name())
    }

    /// The kind that a D-Bus error name stands for; `None` for a name that is not of this list.
    pub fn from_dbus_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix(ERROR_PREFIX)?;
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_dbus_name(&kind.dbus_name()), Some(*kind));
        }
        assert_eq!(ErrorKind::ALL.len(), 21);
        for other in [
            "org.twinseal.Error.",
            "org.twinseal.Error.notfound",
            "org.freedesktop.DBus.Error.NotFound",
        ] {
            assert_eq!(ErrorKind::from_dbus_name(other), None);
        }
    }
}
