//! What can go wrong with a chip, sorted by whose fault it is.

use std::fmt;

use crate::token::TokenFault;

/// Why the chip did not do what it was asked.
///
/// [`Error::code`] is stable. The `Display` text says what to do next, and holds no secret, no
/// serial and no key. Every code of a TPM is the `TSS2_RC` as tpm2-tss returned it (TPM 2.0
/// Library Part 2, section 6.6; TSS 2.0 Overview, section 3.1), so that `tpm2_rc_decode` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No chip answers: it is unplugged, its resource manager is down, or the path is wrong.
    Absent {
        /// What the transport said, or 0 where it said nothing.
        rc: u32,
    },
    /// The chip is in dictionary-attack lockout. Keys of this crate are exempt, so this comes from
    /// an owner or endorsement authorisation only.
    LockedOut,
    /// The authorisation of a hierarchy is set and the configured one is not it.
    Unauthorised {
        /// Which hierarchy's.
        hierarchy: Hierarchy,
        /// Which command the chip refused.
        command: &'static str,
    },
    /// The keys are not this chip's, or are no more; see [`Change`].
    Changed(Change),
    /// The chip refused what it was given: a credential for another chip, a point off the curve.
    Rejected {
        /// Which command.
        command: &'static str,
        /// The response code.
        rc: u32,
    },
    /// The chip failed, or does not know how.
    Failed {
        /// Which command.
        command: &'static str,
        /// The response code, or 0 where the TSS library's wrapper refused an answer.
        rc: u32,
    },
    /// A token, or its module, did not do what it was asked.
    Token(TokenFault),
    /// Too many requests are waiting, of everybody or of this caller.
    Busy,
    /// The hardware was closed before the request's turn came.
    Cancelled,
    /// The deadline passed. A request that was waiting has been removed; one that the chip was
    /// already working on is finished there, and its result thrown away.
    Deadline,
    /// The caller asked for something that no chip could do.
    Misuse(&'static str),
}

/// A hierarchy of a TPM (TPM 2.0 Library Part 1, section 13) whose authorisation an owner may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Parent of the storage root key, and of counters.
    Owner,
    /// Parent of what proves the chip.
    Endorsement,
}

/// How a chip differs from the one that made the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same endorsement seed, another owner seed: TPM2_Clear took the keys away.
    Cleared,
    /// Another endorsement seed, so another hardware serial: another chip, or TPM2_ChangeEPS.
    Replaced,
}

impl Error {
    /// The stable code, in lower case with hyphens.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Absent { .. } => "absent",
            Error::LockedOut => "locked-out",
            Error::Unauthorised { .. } => "unauthorised",
            Error::Changed(Change::Cleared) => "cleared",
            Error::Changed(Change::Replaced) => "replaced",
            Error::Rejected { .. } => "rejected",
            Error::Failed { .. } => "failed",
            Error::Token(fault) => fault.code(),
            Error::Busy => "busy",
            Error::Cancelled => "cancelled",
            Error::Deadline => "deadline",
            Error::Misuse(_) => "misuse",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Absent { rc } => write!(
                f,
                "no chip answers (0x{rc:08x}): check that it is there and that the tcti setting names it"
            ),
            Error::LockedOut => f.write_str(
                "the chip is in dictionary-attack lockout: wait for its recovery time, or let its owner run tpm2_dictionarylockout --clear-lockout",
            ),
            Error::Unauthorised { hierarchy, command } => write!(
                f,
                "{command} needs the chip's {hierarchy} authorisation, and what is configured is not it: put it into the file that hardware.{hierarchy}_auth_file names, and start the agent again"
            ),
            Error::Changed(Change::Cleared) => f.write_str(
                "the chip has been cleared since these keys were made: enrol the device again",
            ),
            Error::Changed(Change::Replaced) => f.write_str(
                "these keys belong to another chip: put that one back, or enrol this one",
            ),
            Error::Rejected { command, rc } => write!(
                f,
                "the chip refused what {command} was given (0x{rc:08x}): it is damaged or meant for another chip; ask the sender for a new one"
            ),
            Error::Failed { command, rc } => write!(
                f,
                "{command} failed (0x{rc:08x}): see what tpm2_rc_decode 0x{rc:x} says, then restart the chip or report this"
            ),
            Error::Token(fault) => fault.fmt(f),
            Error::Busy => f.write_str("too many requests are waiting for the chip: try again shortly"),
            Error::Cancelled => f.write_str("the hardware was closed: open it again"),
            Error::Deadline => f.write_str(
                "the chip did not get to it in time: try again, or allow more time; a TPM that hangs needs a start of the agent",
            ),
            Error::Misuse(what) => write!(f, "{what}: correct the call"),
        }
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hierarchy::Owner => "owner",
            Hierarchy::Endorsement => "endorsement",
        })
    }
}

impl std::error::Error for Error {}
