//! Jobs: what is said of work that takes longer than a call may.

use std::collections::BTreeMap;

use super::{Engine, lock};
use crate::{Caller, Error, Event, Job, JobId, JobState, Kind};

/// Ended jobs that can still be asked for.
const JOBS_KEPT: usize = 64;

/// The jobs of this start.
#[derive(Default)]
pub(super) struct Jobs {
    last: JobId,
    jobs: BTreeMap<JobId, Job>,
    /// The job of the enrolment that is under way.
    enrolment: Option<JobId>,
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
        self.enrolment = Some(id);
        while self.jobs.len() > JOBS_KEPT {
            self.jobs.pop_first();
        }
        id
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

    /// Ends the job of the enrolment; does nothing where there is none.
    pub(super) fn end_job(&self, result: Result<(), Error>) {
        let ended = lock(&self.jobs).end(&result);
        if let Some(job) = ended {
            self.tell(Event::JobCompleted { uid: job.uid, job: job.id, result });
        }
    }
}
