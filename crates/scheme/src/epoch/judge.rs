//! What is decided about epochs and sealed messages, from facts alone (scheme, section 7).
//!
//! Nothing here verifies a signature or opens a layer: the callers have done that, or are
//! told by these functions that they may skip it.

use crate::Reason;
use crate::tpm::ClockInfo;

/// How far ahead of the last opened one an epoch may be: it bounds the walk of the ratchet.
pub const EPOCHS_AHEAD_MAX: u64 = 100_000;

/// How many closed epochs keep their upward key, for envelopes that applications carry themselves.
pub const EPOCHS_CLOSED_KEPT: u64 = 16;

/// An epoch-open that has verified, or one that was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The epoch's number: the chip's counter less the base of the enrolment.
    pub epoch: u64,
    /// SHA-256 of the epoch-open's envelope.
    pub hash: [u8; 32],
    /// The clock it attests. A token has none.
    pub clock: Option<ClockInfo>,
}

/// What follows from an epoch-open that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningVerdict {
    /// A new epoch: close the last one and open this one.
    NewEpoch,
    /// Accepted before, byte for byte: send the answer of then.
    StoredAnswer,
}

/// Refuses an epoch that is too far ahead, before the ratchet is walked to it.
///
/// # Errors
/// [`Reason::EpochTooFar`].
pub fn distance(epoch: u64, last_opened: Option<u64>) -> Result<(), Reason> {
    if epoch.saturating_sub(last_opened.unwrap_or(0)) > EPOCHS_AHEAD_MAX {
        return Err(Reason::EpochTooFar);
    }
    Ok(())
}

/// Judges an epoch-open all of whose layers, signatures and attests have verified.
///
/// `same` is the accepted opening with the candidate's number, `last` the highest accepted
/// one; both within the generation of the candidate.
///
/// # Errors
/// [`Reason::EpochRollback`] and [`Reason::EpochClone`]: quarantine the device.
/// [`Reason::EpochOvertaken`]: count it. [`Reason::EpochClock`]: alarm, no quarantine.
/// [`Reason::EpochTooFar`].
pub fn opening(
    candidate: &Opening,
    same: Option<&Opening>,
    last: Option<&Opening>,
) -> Result<OpeningVerdict, Reason> {
    if let Some(known) = same {
        return match (known.hash == candidate.hash, is_later(candidate, known)) {
            (true, _) => Ok(OpeningVerdict::StoredAnswer),
            (false, true) => Err(Reason::EpochClone),
            (false, false) => Err(Reason::EpochRollback),
        };
    }
    if let Some(last) = last {
        if candidate.epoch <= last.epoch {
            return Err(Reason::EpochOvertaken);
        }
        if !is_later(candidate, last) {
            return Err(Reason::EpochClock);
        }
    }
    distance(candidate.epoch, last.map(|last| last.epoch))?;
    Ok(OpeningVerdict::NewEpoch)
}

/// What to do with an envelope before anything of it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The same bytes were accepted before: send the answer of then, verify nothing.
    StoredAnswer,
    /// Open it with the keys of the open epoch.
    OpenEpoch,
    /// Open it with the upward key that was kept of its closed epoch.
    ClosedEpoch,
}

/// Judges an envelope (`seq` above 0) by its epoch and bytes.
///
/// `taken` is the envelope accepted under the same (device, generation, direction, epoch,
/// seq); `open` the epoch that is open, if one is.
///
/// # Errors
/// [`Reason::EpochNotOpen`], [`Reason::EpochClosed`]. Bytes that differ from `taken` are
/// no error yet: only [`sealing`], after all layers have verified, may blame the device.
pub fn arrival(
    epoch: u64,
    open: Option<u64>,
    taken: Option<[u8; 32]>,
    this: [u8; 32],
) -> Result<Arrival, Reason> {
    if taken == Some(this) {
        return Ok(Arrival::StoredAnswer);
    }
    match open.and_then(|open| open.checked_sub(epoch)) {
        None => Err(Reason::EpochNotOpen),
        Some(0) => Ok(Arrival::OpenEpoch),
        Some(age) if age <= EPOCHS_CLOSED_KEPT => Ok(Arrival::ClosedEpoch),
        Some(_) => Err(Reason::EpochClosed),
    }
}

/// Judges a verified envelope by what is accepted under its (device, generation,
/// direction, epoch, seq). Says whether it is new.
///
/// # Errors
/// [`Reason::SeqReused`]: alarm. An honest device never seals twice under one number.
pub fn sealing(taken: Option<[u8; 32]>, this: [u8; 32]) -> Result<bool, Reason> {
    match taken {
        None => Ok(true),
        Some(hash) if hash == this => Ok(false),
        Some(_) => Err(Reason::SeqReused),
    }
}

/// What the agent keeps of the chip's epoch counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    /// The value that the counter has, or is about to be given. Durable **before** the
    /// chip counts.
    pub intended: u64,
    /// Whether the epoch-open of that value is durable, which it is only after the chip
    /// has counted.
    pub opened: bool,
}

/// How the chip's counter compares with the agent's record at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterState {
    /// As it was left, also by a crash at any moment.
    Agrees,
    /// The chip has counted more than the record knows: the disk was rolled back. The
    /// agent reports it and goes on in a new epoch.
    DiskRolledBack,
    /// The chip has counted less: it was rolled back. The agent seals nothing.
    ChipRolledBack,
}

/// Compares the chip's counter with the agent's record at start.
///
/// A crash can only leave the counter one short of what was intended, and only while no
/// epoch-open of the intended value is durable. Everything else is somebody's doing.
pub fn counter(record: CounterRecord, chip: u64) -> CounterState {
    let not_yet_counted = !record.opened && chip.checked_add(1) == Some(record.intended);
    if chip == record.intended || not_yet_counted {
        CounterState::Agrees
    } else if chip > record.intended {
        CounterState::DiskRolledBack
    } else {
        CounterState::ChipRolledBack
    }
}

/// Whether `a` was made later than `b`. Without clocks nobody can tell, and the answer is
/// yes: a token is then never suspected of a rollback, only of a clone.
fn is_later(a: &Opening, b: &Opening) -> bool {
    match (a.clock, b.clock) {
        (Some(a), Some(b)) => a.is_later_than(&b),
        _ => true,
    }
}
