//! `twinseal recover`: the way back after a chip, or its history, has changed.

use twinseal_client::{Agent1Proxy, ErrorKind, Options};

use crate::answer::Answer;
use crate::device::{bus, enrolled, serial, wait_for};
use crate::failure::Failure;

/// States that no enrolment mends: what they say is to be done first.
const NOT_BY_ENROLMENT: [ErrorKind; 3] =
    [ErrorKind::ChipAbsent, ErrorKind::ChipLockedOut, ErrorKind::ChipUnauthorised];

pub(crate) async fn recover(link: &str, abandon: bool, json: bool) -> Result<Answer, Failure> {
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let (state, message) = (agent.state().await?, agent.message().await?);
    if let Some(kind) = NOT_BY_ENROLMENT.into_iter().find(|kind| kind.name() == state) {
        return Err(Failure::new(kind, message));
    }
    let pending = agent.pending().await?;
    if state == ErrorKind::ChipReplaced.name() && pending > 0 && !abandon {
        let text = format!(
            "{pending} sealed messages wait that only the chip of before can finish: put it back, \
             or give them up with --abandon"
        );
        return Err(Failure::new(ErrorKind::InvalidArgument, text));
    }
    let serial = serial(&agent).await?;
    let check = serial.as_ref().map(|serial| serial.short_check());
    if !json {
        eprintln!("{state}: {message}");
        if let Some(check) = &check {
            eprintln!("Short check of this device: {check}");
        }
    }
    let job = agent.recover(link, Options::new()).await?;
    wait_for(&bus, job.as_str(), json).await.map_err(|failure| advise(failure, &state))?;
    enrolled(&agent, check).await
}

/// What a refusal means here: the outside is told nothing, but the state says what is missing.
fn advise(failure: Failure, state: &str) -> Failure {
    if !failure.is(ErrorKind::Rejected) {
        return failure;
    }
    let next = match ErrorKind::ALL.iter().find(|kind| kind.name() == state) {
        Some(ErrorKind::ChipReplaced) => {
            "this chip is another device: ask the operator for a link with a code"
        }
        Some(ErrorKind::Suspended) => "ask the operator for a link with a code",
        Some(ErrorKind::Revoked) => {
            "ask the operator to register the serial that `twinseal hardware` shows"
        }
        _ => {
            "ask the operator for `twinseal-server device readmit` with the serial that \
             `twinseal hardware` shows, and run this again"
        }
    };
    Failure::new(ErrorKind::Rejected, format!("the server refuses this enrolment: {next}"))
}
