//! The agent as plain functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::{
    Caller, Carry, CarryId, Config, Error, Event, Exchanged, Hardware, Identity, Job, JobId, Kind,
    Message, Options, Outcome, State, Status, TradeId, TradeView,
};

/// The agent. Cheap to clone; all clones are one agent.
#[derive(Clone)]
pub struct Agent {
    events: Arc<broadcast::Sender<Event>>,
}

/// Events that a slow subscriber may be behind.
const EVENTS_KEPT: usize = 1024;

impl Agent {
    /// Starts the agent. Whatever is wrong with the chip or with the enrolment, it starts, and
    /// [`Agent::status`] says so.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] and [`Kind::Internal`] when its configuration, its state folder
    /// or its state key cannot be used.
    pub async fn start(_config: Config) -> Result<Agent, Error> {
        Ok(Agent { events: Arc::new(broadcast::channel(EVENTS_KEPT).0) })
    }

    /// Stops: nothing is begun any more, and the chip is left as it was found.
    pub async fn stop(&self) {}

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How the agent stands.
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            state: State::NotEnrolled,
            message: Error::from(Kind::NotEnrolled).to_string(),
            assurance: String::new(),
            server_id: String::new(),
            pending: 0,
            last_contact: 0,
            max_message: twinseal_scheme::trade::PAYLOAD_LEN_MAX as u32,
        }
    }

    /// What the chip is.
    ///
    /// # Errors
    /// Those of the chip.
    pub async fn hardware(&self) -> Result<Hardware, Error> {
        Err(Kind::ChipAbsent.into())
    }

    /// What names this very chip.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the operators' group; those of the chip.
    pub async fn identity(&self, _caller: &Caller) -> Result<Identity, Error> {
        Err(Kind::ChipAbsent.into())
    }

    /// Begins an enrolment: `link` is the operator's, `user_info` says who the device belongs to.
    /// The caller has been authorised already.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::Busy`] while one is under way, those of the chip.
    pub async fn enrol(
        &self,
        _caller: &Caller,
        _link: &str,
        _user_info: BTreeMap<String, String>,
    ) -> Result<JobId, Error> {
        Err(Kind::ChipAbsent.into())
    }

    /// The caller's jobs, the ended ones among them for a while.
    pub fn jobs(&self, _caller: &Caller) -> Vec<Job> {
        vec![]
    }

    /// One job of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn job(&self, _caller: &Caller, _job: JobId) -> Result<Job, Error> {
        Err(Kind::NotFound.into())
    }

    /// Stops a job of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn cancel(&self, _caller: &Caller, _job: JobId) -> Result<(), Error> {
        Err(Kind::NotFound.into())
    }

    /// From now on trades that the server opens for the service are the caller's, and so are
    /// those that wait.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::NotAllowed`].
    pub async fn listen(&self, _caller: &Caller, _service: &str) -> Result<(), Error> {
        Err(Kind::NotAllowed.into())
    }

    /// A connection has gone from the bus: it listens no more, and what it carried can be carried
    /// by another.
    pub fn caller_gone(&self, _connection: &str) {}

    /// Opens a trade. Its opening message waits in the outbox.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::NotAllowed`], [`Kind::Busy`], those of the state and
    /// of the chip.
    pub async fn open_trade(
        &self,
        _caller: &Caller,
        _service: &str,
        _options: &Options,
    ) -> Result<TradeId, Error> {
        Err(Kind::NotEnrolled.into())
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// Those of [`Agent::open_trade`]; [`Kind::Timeout`]: the reply can still be had with
    /// [`Agent::receive`] from the trade that the message names.
    pub async fn exchange(
        &self,
        _caller: &Caller,
        _service: &str,
        _request: Vec<u8>,
        _options: &Options,
    ) -> Result<Exchanged, Error> {
        Err(Kind::NotEnrolled.into())
    }

    /// The caller's trades.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub async fn trades(&self, _caller: &Caller) -> Result<Vec<TradeView>, Error> {
        Ok(vec![])
    }

    /// One trade of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn trade(&self, _caller: &Caller, _trade: TradeId) -> Result<TradeView, Error> {
        Err(Kind::NotFound.into())
    }

    /// Seals a message and puts it into the outbox. In an exchange that the server began it is
    /// the reply. Gives the message's index.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::TooLarge`], [`Kind::InvalidArgument`], [`Kind::Busy`], those
    /// of the state and of the chip.
    pub async fn send(
        &self,
        _caller: &Caller,
        _trade: TradeId,
        _payload: Vec<u8>,
        _content_type: &str,
    ) -> Result<u32, Error> {
        Err(Kind::NotFound.into())
    }

    /// The messages after index `after`; waits for one as long as `wait`. What stands at or below
    /// `after` is forgotten: the caller has it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn receive(
        &self,
        _caller: &Caller,
        _trade: TradeId,
        _after: u32,
        _wait: Duration,
    ) -> Result<Vec<Message>, Error> {
        Err(Kind::NotFound.into())
    }

    /// Seals a message that the caller carries himself; gives the envelope.
    ///
    /// # Errors
    /// Those of [`Agent::send`].
    pub async fn seal(
        &self,
        _caller: &Caller,
        _trade: TradeId,
        _payload: Vec<u8>,
        _content_type: &str,
    ) -> Result<Vec<u8>, Error> {
        Err(Kind::NotFound.into())
    }

    /// Opens an envelope that the caller carried himself. Opening the last one again gives the
    /// same message.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Rejected`], [`Kind::Stale`], [`Kind::Incomplete`] when a
    /// message before it is missing, those of the state and of the chip.
    pub async fn open(
        &self,
        _caller: &Caller,
        _trade: TradeId,
        _envelope: &[u8],
    ) -> Result<Message, Error> {
        Err(Kind::NotFound.into())
    }

    /// Closes a trade and waits for its receipt. Closing again waits again.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::InvalidArgument`] for an exchange, [`Kind::Rejected`] for a
    /// trade that the server refused, [`Kind::Timeout`], those of the state and of the chip.
    pub async fn close(
        &self,
        _caller: &Caller,
        _trade: TradeId,
        _wait: Duration,
    ) -> Result<Vec<u8>, Error> {
        Err(Kind::NotFound.into())
    }

    /// The receipt of a closed trade, signed by server and chip.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none.
    pub async fn receipt(&self, _caller: &Caller, _trade: TradeId) -> Result<Vec<u8>, Error> {
        Err(Kind::NotFound.into())
    }

    /// Where the server is: the URL out of the enrolment link, which the agent does not read.
    pub fn origin(&self) -> Option<String> {
        None
    }

    /// The next thing to carry; waits for one as long as `wait`. Several can be under way.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the couriers' group.
    pub async fn next(&self, _caller: &Caller, _wait: Duration) -> Result<Option<Carry>, Error> {
        Err(Kind::NotAllowed.into())
    }

    /// How the carrying went.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`]; [`Kind::NotFound`] for something that is not under way with this
    /// connection.
    pub async fn answer(
        &self,
        _caller: &Caller,
        _id: CarryId,
        _outcome: Outcome,
        _body: Vec<u8>,
    ) -> Result<(), Error> {
        Err(Kind::NotAllowed.into())
    }
}
