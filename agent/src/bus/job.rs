//! `org.twinseal.Agent1.Job`: something of the caller's that takes longer than a call may.

use std::sync::{Arc, LazyLock};

use twinseal_client::JOB_INTERFACE;

use super::interface::Interface;
use super::options::NoOptions;
use super::refusal::Refusal;
use crate::{Agent, Caller, Error, Job, JobState};

/// A job as its owner sees it.
pub(super) struct View {
    pub(super) agent: Agent,
    pub(super) caller: Caller,
    pub(super) job: Job,
}

pub(super) static INTERFACE: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(JOB_INTERFACE)
        .method("Cancel", &["options"], &[], View::cancel)
        .signal::<(String, String)>("Completed", &["error", "text"])
        .property("State", |view| view.read(|job| job.state.word()))
        .property("Progress", |view| view.read(|job| (job.step, job.steps)))
        .property("Error", |view| view.read(|job| error_of(&job.state)))
});

impl View {
    async fn cancel(self: Arc<Self>, (_,): (NoOptions,)) -> Result<(), Error> {
        self.agent.cancel(&self.caller, self.job.id).await
    }

    fn read<V>(
        self: Arc<Self>,
        read: impl FnOnce(&Job) -> V,
    ) -> std::future::Ready<Result<V, Error>> {
        std::future::ready(Ok(read(&self.job)))
    }
}

/// Name and text of what it failed with; two empty texts when it has not.
fn error_of(state: &JobState) -> (String, String) {
    match state {
        JobState::Failed(error) => Refusal::from(error.clone()).into_parts(),
        JobState::Running | JobState::Completed => Default::default(),
    }
}
