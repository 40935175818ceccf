//! Jobs: what is said of work that takes longer than a call may.

use std::collections::BTreeMap;

use super::{Engine, lock};
use crate::{Caller, Error, Event, Job, JobId, JobState, Kind};

/// Ended jobs that can still be asked for.
const JOBS_KEPT: usize = 64;

/// What a fault of the chip that passes looks like. No response, none in time, or one that says
/// that something is full, has failed or is locked for a time.
const PASSING: [Kind; 5] =
    [Kind::ChipAbsent, Kind::ChipLockedOut, Kind::Timeout, Kind::Busy, Kind::Internal];

/// The jobs of this start.
#[derive(Default)]
pub(super) struct Jobs {
    last: JobId,
    jobs: BTreeMap<JobId, Job>,
    /// The job of the enrolment that is under way.
    enrolment: Option<JobId>,
    /// Whether the server has granted it, so that it ends with its first epoch.
    is_granted: bool,
}

impl Jobs {
    fn of(&self, caller: &Caller) -> Vec<Job> {
        self.jobs.values().filter(|job| job.uid == caller.uid).cloned().collect()
    }

    pub(super) fn one(&self, caller: &Caller, id: JobId) -> Result<Job, Error> {
        let job = self.jobs.get(&id).filter(|job| job.uid == caller.uid);
        job.cloned().ok_or_else(|| Kind::NotFound.into())
    }

    pub(super) fn enrolment(&self) -> Option<JobId> {
        self.enrolment
    }

    pub(super) fn begin_enrolment(&mut self, uid: u32, steps: u32) -> JobId {
        self.last += 1;
        let (id, state) = (self.last, JobState::Running);
        self.jobs.insert(id, Job { id, uid, state, step: 0, steps });
        (self.enrolment, self.is_granted) = (Some(id), false);
        while self.jobs.len() > JOBS_KEPT {
            self.jobs.pop_first();
        }
        id
    }

    /// The server has granted the enrolment that is under way.
    pub(super) fn grant(&mut self) {
        self.is_granted = true;
    }

    pub(super) fn is_granted(&self) -> bool {
        self.is_granted
    }

    pub(super) fn step(&mut self, step: u32) {
        if let Some(job) = self.enrolment.and_then(|id| self.jobs.get_mut(&id)) {
            job.step = step;
        }
    }

    fn end(&mut self, result: &Result<(), Error>) -> Option<Job> {
        let job = self.jobs.get_mut(&self.enrolment.take()?)?;
        match result {
            Ok(()) => (job.step, job.state) = (job.steps, JobState::Completed),
            Err(error) => job.state = JobState::Failed(error.clone()),
        }
        Some(job.clone())
    }
}

impl Engine {
    pub(crate) fn jobs_of(&self, caller: &Caller) -> Vec<Job> {
        lock(&self.jobs).of(caller)
    }

    pub(crate) fn job(&self, caller: &Caller, id: JobId) -> Result<Job, Error> {
        lock(&self.jobs).one(caller, id)
    }

    /// The first epoch belongs to the enrolment: its job ends with it, or when there can be none.
    /// A fault that passes ends nothing, since things are settled again after it.
    pub(super) fn end_granted_job(&self, settled: Result<(), &Error>) {
        let passes = |error: &Error| PASSING.contains(&error.kind);
        if lock(&self.jobs).is_granted() && !settled.is_err_and(passes) {
            self.end_job(settled.map_err(Error::clone));
        }
    }

    /// Ends the job of the enrolment; does nothing where there is none.
    pub(super) fn end_job(&self, result: Result<(), Error>) {
        let ended = lock(&self.jobs).end(&result);
        if let Some(job) = ended {
            self.tell(Event::JobCompleted { uid: job.uid, job: job.id, result });
        }
    }
}
