//! What can go wrong, by the closed list of the D-Bus contract.

use std::borrow::Cow;
use std::fmt;

use twinseal_hardware::{self as hardware, Change};
use twinseal_scheme::{Outside, Reason};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $next:literal;)*) => {
        /// The kinds of errors: a closed list, the same on the bus (`org.twinseal.Error.<Kind>`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The name on the bus, without its prefix.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }

            /// What it means, in half a sentence.
            pub fn what(self) -> &'static str {
                match self { $(Kind::$name => $what,)* }
            }

            /// What to do next.
            pub fn next(self) -> &'static str {
                match self { $(Kind::$name => $next,)* }
            }
        }
    };
}

kinds! {
    /// No server has enrolled this device yet.
    NotEnrolled = "this device is not enrolled", "enrol it with `twinseal enrol LINK`";
    /// An operator has to say yes.
    AwaitingApproval = "an operator has not approved this device yet",
        "compare the short check on both sides and approve it at the server";
    /// The server has put the device aside.
    Suspended = "the server has put this device in quarantine",
        "ask the operator for a link, and run `twinseal recover LINK`";
    /// The enrolment has ended.
    Revoked = "the operator has revoked this device", "ask the operator for a new enrolment link";
    /// No chip answers.
    ChipAbsent = "no chip answers", "check that it is there and that hardware.tcti or hardware.token names it";
    /// The chip's owner hierarchy was cleared.
    ChipCleared = "the chip has been cleared since the enrolment",
        "have the operator readmit this device, and run `twinseal recover`";
    /// Another chip, or another endorsement seed.
    ChipReplaced = "this is not the chip that was enrolled",
        "put that one back, or enrol this one with `twinseal recover LINK`";
    /// The chip's counter is behind the agent's record.
    ChipRolledBack = "the chip has gone back to an earlier state, so nothing is sealed",
        "ask the operator, and run `twinseal recover`";
    /// Dictionary-attack protection.
    ChipLockedOut = "the chip is locked out after wrong authorisations",
        "wait for its recovery time, or let its owner clear the lockout";
    /// An authorisation was set in the chip that the configuration does not have.
    ChipUnauthorised = "the chip wants an authorisation or a PIN that is not configured",
        "see `twinseal status`, which says what to do";
    /// Too much waits.
    Busy = "too much is waiting", "try again shortly";
    /// Longer than allowed.
    TooLarge = "longer than one message may be", "split it";
    /// The server, or a check of what it sent, refused.
    Rejected = "refused", "see the reason, and ask the operator where it does not help";
    /// It belongs to a past that is over.
    Stale = "it belongs to a past that is over", "make it anew";
    /// There is no such thing for this caller.
    NotFound = "there is no such object for you", "list what there is";
    /// The caller may not.
    NotAllowed = "you may not do this", "ask the operator of this machine";
    /// The call itself is wrong.
    InvalidArgument = "an argument is wrong", "correct the call";
    /// Somebody stopped it.
    Cancelled = "it was cancelled", "start it again if it is still wanted";
    /// It did not finish in time.
    Timeout = "it did not finish in time", "it goes on; ask again for its result";
    /// Only a part is there.
    Incomplete = "only a part has arrived", "supply the rest first";
    /// The agent's own fault, or its machine's.
    Internal = "the agent failed", "see its log";
}

/// An error: its kind, and what happened in this case.
///
/// `Display` is a sentence for people that ends with what to do next. It holds no secret, no
/// serial and no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which of the closed list.
    pub kind: Kind,
    what: Cow<'static, str>,
    next: Cow<'static, str>,
}

impl Error {
    /// What happened in this case instead of the kind's own words.
    pub fn new(kind: Kind, what: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, what: what.into(), next: kind.next().into() }
    }

    /// Other advice than the kind's.
    #[must_use]
    pub fn and(self, next: impl Into<Cow<'static, str>>) -> Error {
        Error { next: next.into(), ..self }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Error {
        Error::new(kind, kind.what())
    }
}

/// What the scheme refuses, with its code.
impl From<Reason> for Error {
    fn from(reason: Reason) -> Error {
        let kind = match reason {
            Reason::TooLarge | Reason::PayloadTooLarge => Kind::TooLarge,
            Reason::BadService
            | Reason::BadContentType
            | Reason::BadLink
            | Reason::BadUserInfo
            | Reason::WrongKind => Kind::InvalidArgument,
            _ => match reason.outside() {
                Outside::Stale => Kind::Stale,
                Outside::Busy => Kind::Busy,
                Outside::Malformed | Outside::Rejected => Kind::Rejected,
            },
        };
        Error::new(kind, reason.to_string())
    }
}

impl From<hardware::Error> for Error {
    fn from(error: hardware::Error) -> Error {
        let kind = match &error {
            hardware::Error::Absent { .. } => Kind::ChipAbsent,
            hardware::Error::LockedOut => Kind::ChipLockedOut,
            hardware::Error::Unauthorised { .. } => Kind::ChipUnauthorised,
            // What to do about it the agent knows better.
            hardware::Error::Changed(Change::Cleared) => return Kind::ChipCleared.into(),
            hardware::Error::Changed(Change::Replaced) => return Kind::ChipReplaced.into(),
            hardware::Error::Token(_) => match error.code() {
                "absent" | "crashed" => Kind::ChipAbsent,
                "deadline" => Kind::Timeout,
                "unauthorised" => Kind::ChipUnauthorised,
                "locked-out" => Kind::ChipLockedOut,
                "incapable" | "full" | "rejected" | "unwanted" => Kind::Rejected,
                _ => Kind::Internal,
            },
            hardware::Error::Rejected { .. } => Kind::Rejected,
            hardware::Error::Busy => Kind::Busy,
            hardware::Error::Cancelled => Kind::Cancelled,
            hardware::Error::Deadline => Kind::Timeout,
            _ => Kind::Internal,
        };
        // The chip's own words end with what to do next, too.
        match error.to_string().split_once(": ") {
            Some((what, next)) => Error::new(kind, what.to_owned()).and(next.to_owned()),
            None => Error::new(kind, error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.next)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_what_to_do_next() {
        for kind in Kind::ALL {
            let text = Error::from(*kind).to_string();
            assert_eq!(text, format!("{}: {}", kind.what(), kind.next()));
            assert!(kind.next().len() > 5 && !kind.next().ends_with('.'), "{text}");
        }
    }

    #[test]
    fn the_chips_words_are_kept() {
        let absent = Error::from(hardware::Error::Absent { rc: 7 });
        assert_eq!(absent.kind, Kind::ChipAbsent);
        assert_eq!(absent.to_string(), hardware::Error::Absent { rc: 7 }.to_string());
    }
}
