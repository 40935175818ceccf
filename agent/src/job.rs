//! Work that takes longer than a call may.

use crate::Error;

/// Names a job; counts from 1 at every start of the agent.
pub type JobId = u64;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Not done yet.
    Running,
    /// Done.
    Completed,
    /// Ended without success.
    Failed(Error),
}

impl JobState {
    /// The word on the bus.
    pub fn word(&self) -> &'static str {
        match self {
            JobState::Running => "Running",
            JobState::Completed => "Completed",
            JobState::Failed(_) => "Failed",
        }
    }
}

/// A job as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Who began it.
    pub uid: u32,
    /// How far it is.
    pub state: JobState,
    /// Steps done, of `steps`.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
}
