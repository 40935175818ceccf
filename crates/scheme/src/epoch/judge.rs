//! What is decided about epochs and sealed messages, from facts alone (scheme, section 7).
//!
//! Nothing here verifies a signature or opens a layer: the callers have done that, or are
//! told by these functions that they may skip it.

use std::cmp::Ordering;

use crate::Reason;
use crate::tpm::ClockInfo;

/// How far ahead of the last opened one an epoch may be: it bounds the walk of the ratchet.
pub const EPOCHS_AHEAD_MAX: u64 = 100_000;

/// How many closed epochs, counting only those that were opened, keep their upward key for
/// envelopes that applications carry themselves.
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

/// What to do with an epoch-open before its serial layer is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningArrival {
    /// The same bytes were accepted before: send the answer of then, verify nothing.
    StoredAnswer,
    /// Verify every layer and the attest, then ask [`opening`].
    Verify,
}

/// Judges an epoch-open by its epoch and bytes. An error is told to a device whose outer
/// signature has verified, and to nobody else.
///
/// `known` is the SHA-256 of the open that was accepted for the same epoch, `last` the
/// highest epoch that was opened; both within the generation.
///
/// # Errors
/// [`Reason::EpochOvertaken`]: count it. The chain key of a closed epoch is gone, so the
/// serial layer cannot show that the chip made this, and nobody is suspected.
/// [`Reason::EpochTooFar`].
pub fn opening_arrival(
    epoch: u64,
    last: Option<u64>,
    known: Option<[u8; 32]>,
    this: [u8; 32],
) -> Result<OpeningArrival, Reason> {
    if known == Some(this) {
        return Ok(OpeningArrival::StoredAnswer);
    }
    match epoch.checked_sub(last.unwrap_or(0)) {
        None => Err(Reason::EpochOvertaken),
        Some(ahead) if ahead > EPOCHS_AHEAD_MAX => Err(Reason::EpochTooFar),
        Some(_) => Ok(OpeningArrival::Verify),
    }
}

/// Judges an epoch-open all of whose layers, signatures and attests have verified, against
/// the highest epoch that was opened within its generation: open the new epoch, or refuse.
///
/// # Errors
/// [`Reason::EpochRollback`] and [`Reason::EpochClone`]: quarantine the device.
/// [`Reason::EpochClock`]: alarm, no quarantine. [`Reason::EpochOvertaken`].
pub fn opening(candidate: &Opening, last: Option<&Opening>) -> Result<(), Reason> {
    let Some(last) = last else { return Ok(()) };
    match (candidate.epoch.cmp(&last.epoch), is_later(candidate, last)) {
        (Ordering::Less, _) => Err(Reason::EpochOvertaken),
        (Ordering::Equal, true) => Err(Reason::EpochClone),
        (Ordering::Equal, false) => Err(Reason::EpochRollback),
        (Ordering::Greater, false) => Err(Reason::EpochClock),
        (Ordering::Greater, true) => Ok(()),
    }
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
/// `taken` is the SHA-256 of the envelope accepted under the same (device, generation,
/// direction, epoch, seq); `open` the epoch that is open, if one is; `has_closed_key` whether
/// the upward key of the envelope's own epoch, now closed, is still kept.
///
/// # Errors
/// [`Reason::EpochNotOpen`], [`Reason::EpochClosed`]. Bytes that differ from `taken` are
/// no error yet: only [`sealing`], after all layers have verified, may blame the device.
pub fn arrival(
    epoch: u64,
    open: Option<u64>,
    has_closed_key: bool,
    taken: Option<[u8; 32]>,
    this: [u8; 32],
) -> Result<Arrival, Reason> {
    if taken == Some(this) {
        return Ok(Arrival::StoredAnswer);
    }
    match open.map(|open| epoch.cmp(&open)) {
        None | Some(Ordering::Greater) => Err(Reason::EpochNotOpen),
        Some(Ordering::Equal) => Ok(Arrival::OpenEpoch),
        Some(Ordering::Less) if has_closed_key => Ok(Arrival::ClosedEpoch),
        Some(Ordering::Less) => Err(Reason::EpochClosed),
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

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];

    fn at(epoch: u64, reset_count: u32, clock_ms: u64) -> Opening {
        let clock = ClockInfo { reset_count, clock_ms, restart_count: 0, safe: true };
        Opening { epoch, hash: OPEN, clock: Some(clock) }
    }

    #[test]
    fn an_opening_is_answered_refused_or_verified() {
        use OpeningArrival::{StoredAnswer, Verify};
        assert_eq!(opening_arrival(5, Some(9), Some(OPEN), OPEN), Ok(StoredAnswer));
        assert_eq!(opening_arrival(5, Some(9), Some(OPEN), OTHER), Err(Reason::EpochOvertaken));
        assert_eq!(opening_arrival(5, Some(9), None, OPEN), Err(Reason::EpochOvertaken));
        assert_eq!(opening_arrival(9, Some(9), Some(OPEN), OTHER), Ok(Verify));
        assert_eq!(opening_arrival(100_009, Some(9), None, OPEN), Ok(Verify));
        assert_eq!(opening_arrival(100_010, Some(9), None, OPEN), Err(Reason::EpochTooFar));
        assert_eq!(opening_arrival(100_000, None, None, OPEN), Ok(Verify));
        assert_eq!(opening_arrival(100_001, None, None, OPEN), Err(Reason::EpochTooFar));
    }

    #[test]
    fn a_chip_that_counts_twice_or_goes_back_is_noticed() {
        let last = at(9, 2, 500);
        let judged = |candidate: Opening| opening(&candidate, Some(&last));
        assert_eq!(judged(at(10, 2, 501)), Ok(()));
        assert_eq!(judged(at(10, 3, 0)), Ok(()), "a reset is later than any millisecond");
        assert_eq!(judged(at(10, 2, 500)), Err(Reason::EpochClock));
        assert_eq!(judged(at(9, 2, 501)), Err(Reason::EpochClone));
        assert_eq!(judged(at(9, 2, 500)), Err(Reason::EpochRollback));
        assert_eq!(judged(at(8, 2, 501)), Err(Reason::EpochOvertaken));
        assert_eq!(opening(&at(1, 0, 0), None), Ok(()));
        let token = |epoch| Opening { epoch, hash: OPEN, clock: None };
        assert_eq!(opening(&token(10), Some(&token(9))), Ok(()));
        assert_eq!(opening(&token(9), Some(&token(9))), Err(Reason::EpochClone));
    }

    #[test]
    fn an_envelope_goes_by_its_epoch_and_bytes() {
        let judged = |epoch, has_key, taken| arrival(epoch, Some(9), has_key, taken, OPEN);
        assert_eq!(judged(9, false, None), Ok(Arrival::OpenEpoch));
        assert_eq!(judged(9, false, Some(OTHER)), Ok(Arrival::OpenEpoch), "verified first");
        assert_eq!(judged(9, false, Some(OPEN)), Ok(Arrival::StoredAnswer));
        assert_eq!(judged(5, true, None), Ok(Arrival::ClosedEpoch));
        assert_eq!(judged(5, false, None), Err(Reason::EpochClosed));
        assert_eq!(judged(5, false, Some(OPEN)), Ok(Arrival::StoredAnswer));
        assert_eq!(judged(10, false, None), Err(Reason::EpochNotOpen));
        assert_eq!(arrival(1, None, false, None, OPEN), Err(Reason::EpochNotOpen));
        assert_eq!(sealing(None, OPEN), Ok(true));
        assert_eq!(sealing(Some(OPEN), OPEN), Ok(false));
        assert_eq!(sealing(Some(OTHER), OPEN), Err(Reason::SeqReused));
    }

    #[test]
    fn only_a_crash_before_counting_leaves_the_counter_behind() {
        let judged = |opened, chip| counter(CounterRecord { intended: 7, opened }, chip);
        assert_eq!(judged(true, 7), CounterState::Agrees);
        assert_eq!(judged(false, 7), CounterState::Agrees, "counted, and died");
        assert_eq!(judged(false, 6), CounterState::Agrees, "died before it counted");
        assert_eq!(judged(true, 6), CounterState::ChipRolledBack);
        assert_eq!(judged(false, 5), CounterState::ChipRolledBack);
        assert_eq!(judged(true, 8), CounterState::DiskRolledBack);
        assert_eq!(judged(false, 8), CounterState::DiskRolledBack);
    }
}
