//! The agent as plain functions.

mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use twinseal_hardware::AuthValue;
use twinseal_scheme::enrol::UserInfo;
use twinseal_scheme::message::Opened;

use crate::engine::{Engine, Opening};
use crate::{
    Caller, Carry, CarryId, Config, Error, Event, Exchanged, Hardware, Holdings, Identity, Job,
    JobId, Kind, Message, Options, Outcome, Status, TradeId, TradeView,
};

/// Longer than the server keeps an unfinished enrolment.
const ENROLMENT_TIME: Duration = Duration::from_secs(600);

/// The agent. Cheap to clone; all clones are one agent.
#[derive(Clone)]
pub struct Agent {
    engine: Arc<Engine>,
    _keeper: Arc<Keeper>,
}

/// The task that keeps things settled, as long as somebody holds the agent.
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Agent {
    /// Starts the agent. Whatever is wrong with the chip or with the enrolment, it starts, and
    /// [`Agent::status`] says so.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] and [`Kind::Internal`] when its configuration, its state folder
    /// or its state key cannot be used.
    pub async fn start(config: Config) -> Result<Agent, Error> {
        let engine = Arc::new(Engine::new(config)?);
        // What fails is shown by the state, and tried again by the keeper.
        let _ = engine.settle().await;
        let keeper = tokio::spawn(Arc::clone(&engine).keep_settled());
        Ok(Agent { engine, _keeper: Arc::new(Keeper(keeper.abort_handle())) })
    }

    /// Stops: the chip is left as it was found, and whatever is asked for after that fails.
    pub async fn stop(&self) {
        self._keeper.0.abort();
        self.engine.hardware.close().await;
    }

    /// Runs a call to its end, also when its caller has gone: what is half done could otherwise
    /// be seen by the next.
    async fn whole<T, F>(&self, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let task = tokio::spawn(work(Arc::clone(&self.engine)));
        let result = task.await.unwrap_or_else(|_| Err(Kind::Internal.into()));
        result.inspect_err(|error| self.engine.note(error))
    }

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.engine.events.subscribe()
    }

    /// How the agent stands.
    pub fn status(&self) -> Status {
        self.engine.current_status()
    }

    /// What the chip is. The chip works for this caller, in his turn.
    ///
    /// # Errors
    /// Those of the chip.
    pub async fn hardware(&self, caller: &Caller) -> Result<Hardware, Error> {
        let chip = self.engine.hardware.lane(caller.uid.into());
        let description = chip.describe().await?;
        let ek = match description.kind {
            twinseal_hardware::Kind::Tpm => word(self.engine.endorsement_key(&chip).await?.kind),
            twinseal_hardware::Kind::Token => String::new(),
        };
        Ok(Hardware {
            kind: word(description.kind),
            manufacturer: description.manufacturer,
            model: description.model,
            firmware: description.firmware_version,
            ek,
            algorithms: description.algorithms,
            lockout_failures: description.lockout.failures,
            lockout_allowed: description.lockout.failures_allowed,
        })
    }

    /// What names this very chip.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the operators' group; those of the chip.
    pub async fn identity(&self, caller: &Caller) -> Result<Identity, Error> {
        self.engine.access.operator(caller)?;
        let chip = self.engine.hardware.lane(caller.uid.into());
        let serial = self.engine.serial(&chip).await?;
        let ek_certificate = match self.engine.is_token() {
            true => None,
            false => self.engine.endorsement_key(&chip).await?.certificate,
        };
        Ok(Identity { serial, ek_certificate })
    }

    /// Begins an enrolment: `link` is the operator's, `user_info` says who the device belongs to.
    /// The caller has been authorised already.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::Busy`] while one is under way, those of the chip.
    pub async fn enrol(
        &self,
        caller: &Caller,
        link: &str,
        user_info: BTreeMap<String, String>,
    ) -> Result<JobId, Error> {
        let (caller, link) = (caller.clone(), link.to_owned());
        let user_info = UserInfo::new(user_info)?;
        let begin =
            |engine: Arc<Engine>| async move { engine.enrol(&caller, &link, user_info).await };
        Ok(self.bounded(self.whole(begin).await?))
    }

    /// Begins an enrolment with the server of before: `link` is the operator's, or empty where
    /// he has given none. The caller has been authorised already.
    ///
    /// # Errors
    /// [`Kind::NotEnrolled`], [`Kind::InvalidArgument`], [`Kind::Busy`] while one is under way,
    /// those of the chip.
    pub async fn recover(&self, caller: &Caller, link: &str) -> Result<JobId, Error> {
        let (caller, link) = (caller.clone(), link.to_owned());
        let begin = |engine: Arc<Engine>| async move { engine.recover(&caller, &link).await };
        Ok(self.bounded(self.whole(begin).await?))
    }

    /// Gives the token its PIN: it is tried once, and known from then on until the agent ends.
    /// The caller has been authorised already.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] of a TPM, [`Kind::Rejected`] where no PIN is wanted, and those of
    /// the chip: [`Kind::ChipUnauthorised`] for a wrong one.
    pub async fn unlock(&self, caller: &Caller, pin: AuthValue) -> Result<(), Error> {
        let caller = caller.clone();
        self.whole(move |engine| async move { engine.unlock(&caller, pin).await }).await
    }

    /// Ends the job of an enrolment when it takes too long.
    fn bounded(&self, begun: JobId) -> JobId {
        let engine = Arc::downgrade(&self.engine);
        tokio::spawn(async move {
            tokio::time::sleep(ENROLMENT_TIME).await;
            if let Some(engine) = engine.upgrade() {
                engine.time_out_enrolment(begun);
            }
        });
        begun
    }

    /// The caller's jobs, the ended ones among them for a while.
    pub fn jobs(&self, caller: &Caller) -> Vec<Job> {
        self.engine.jobs_of(caller)
    }

    /// One job of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn job(&self, caller: &Caller, job: JobId) -> Result<Job, Error> {
        self.engine.job(caller, job)
    }

    /// Stops a job of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn cancel(&self, caller: &Caller, job: JobId) -> Result<(), Error> {
        let caller = caller.clone();
        self.whole(move |engine| async move { engine.cancel(&caller, job).await }).await
    }

    /// From now on trades that the server opens for the service are the caller's, and so are
    /// those that wait.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::NotAllowed`].
    pub async fn listen(&self, caller: &Caller, service: &str) -> Result<(), Error> {
        let (caller, service) = (caller.clone(), service.to_owned());
        self.whole(|engine| async move { engine.listen(&caller, &service).await }).await
    }

    /// A connection has gone from the bus: it listens no more, and what it carried can be carried
    /// by another.
    pub fn caller_gone(&self, connection: &str) {
        self.engine.caller_gone(connection);
    }

    /// Opens a trade. Its opening message waits in the outbox.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::NotAllowed`], [`Kind::Busy`], those of the state and
    /// of the chip.
    pub async fn open_trade(
        &self,
        caller: &Caller,
        service: &str,
        options: &Options,
    ) -> Result<TradeId, Error> {
        let (caller, service) = (caller.clone(), service.to_owned());
        let options = options.clone();
        self.whole(|engine| async move {
            engine.open_trade(&caller, &service, &options, Opening::Trade).await
        })
        .await
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// Those of [`Agent::open_trade`]; [`Kind::Timeout`]: the reply can still be had with
    /// [`Agent::receive`] from the trade that the message names.
    pub async fn exchange(
        &self,
        caller: &Caller,
        service: &str,
        request: Vec<u8>,
        options: &Options,
    ) -> Result<Exchanged, Error> {
        let (caller, service) = (caller.clone(), service.to_owned());
        let (wait, options) = (options.wait, options.clone());
        let opening = Opening::Request(request);
        let trade =
            self.whole(|engine| async move {
                engine.open_trade(&caller, &service, &options, opening).await
            })
            .await?;
        let reply = self.engine.reply(trade, wait).await?;
        Ok(Exchanged { trade, reply })
    }

    /// The trades that are the caller's, and the keys that he may use.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub async fn holdings(&self, caller: &Caller) -> Result<Arc<Holdings>, Error> {
        self.engine.holdings(caller).await
    }

    /// One trade of the caller's.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn trade(&self, caller: &Caller, trade: TradeId) -> Result<TradeView, Error> {
        self.engine.trade(caller, trade).await
    }

    /// Seals a message and puts it into the outbox. In an exchange that the server began it is
    /// the reply. Gives the message's index.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::TooLarge`], [`Kind::InvalidArgument`], [`Kind::Busy`], those
    /// of the state and of the chip.
    pub async fn send(
        &self,
        caller: &Caller,
        trade: TradeId,
        payload: Vec<u8>,
        content_type: &str,
    ) -> Result<u32, Error> {
        let (caller, content_type) = (caller.clone(), content_type.to_owned());
        self.whole(move |engine| async move {
            engine.send(&caller, trade, payload, &content_type).await
        })
        .await
    }

    /// The messages after index `after`; waits for one as long as `wait`. What stands at or below
    /// `after` is forgotten: the caller has it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn receive(
        &self,
        caller: &Caller,
        trade: TradeId,
        after: u32,
        wait: Duration,
    ) -> Result<Vec<Message>, Error> {
        self.engine.receive(caller, trade, after, wait).await
    }

    /// Seals a message that the caller carries himself; gives the envelope.
    ///
    /// # Errors
    /// Those of [`Agent::send`].
    pub async fn seal(
        &self,
        caller: &Caller,
        trade: TradeId,
        payload: Vec<u8>,
        content_type: &str,
    ) -> Result<Vec<u8>, Error> {
        let (caller, content_type) = (caller.clone(), content_type.to_owned());
        self.whole(move |engine| async move {
            engine.seal(&caller, trade, payload, &content_type).await
        })
        .await
    }

    /// Opens an envelope that the caller carried himself. Opening the last one again gives the
    /// same message.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Rejected`], [`Kind::Stale`], [`Kind::Incomplete`] when a
    /// message before it is missing, those of the state and of the chip.
    pub async fn open(
        &self,
        caller: &Caller,
        trade: TradeId,
        envelope: &[u8],
    ) -> Result<Message, Error> {
        let (caller, envelope) = (caller.clone(), envelope.to_vec());
        self.whole(move |engine| async move { engine.open(&caller, trade, &envelope).await }).await
    }

    /// Opens a sealed message of the trade, of either direction and of the present epoch, for
    /// people to look at. Nothing changes.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Rejected`], [`Kind::Stale`], those of the state and of the
    /// chip.
    pub async fn inspect(
        &self,
        caller: &Caller,
        trade: TradeId,
        envelope: &[u8],
    ) -> Result<Opened, Error> {
        self.engine.inspect(caller, trade, envelope).await
    }

    /// Closes a trade and waits for its receipt. Closing again waits again. An exchange closes by
    /// itself, so that only its receipt is waited for.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Rejected`] for a trade that the server refused, [`Kind::Timeout`], those of the state and of the chip.
    pub async fn close(
        &self,
        caller: &Caller,
        trade: TradeId,
        wait: Duration,
    ) -> Result<Vec<u8>, Error> {
        let closer = caller.clone();
        self.whole(move |engine| async move { engine.close(&closer, trade).await }).await?;
        self.engine.closed(trade, wait).await
    }

    /// The receipt of a closed trade, signed by server and chip.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none.
    pub async fn receipt(&self, caller: &Caller, trade: TradeId) -> Result<Vec<u8>, Error> {
        self.engine.receipt(caller, trade).await
    }

    /// Where the server is: the URL out of the enrolment link, which the agent does not read.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the couriers' group.
    pub fn origin(&self, caller: &Caller) -> Result<Option<String>, Error> {
        self.engine.access.courier(caller)?;
        Ok(self.engine.current_origin())
    }

    /// The next thing to carry; waits for one as long as `wait`. Several can be under way.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the couriers' group.
    pub async fn next(&self, caller: &Caller, wait: Duration) -> Result<Option<Carry>, Error> {
        self.engine.next(caller, wait).await
    }

    /// How the carrying went.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`]; [`Kind::NotFound`] for something that is not under way with this
    /// connection.
    pub async fn answer(
        &self,
        caller: &Caller,
        id: CarryId,
        outcome: Outcome,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let caller = caller.clone();
        self.whole(move |engine| async move { engine.answer(&caller, id, outcome, body).await })
            .await
    }
}

/// The word that configuration files use for it.
fn word(value: impl serde::Serialize) -> String {
    let value = toml::Value::try_from(value).ok();
    value.as_ref().and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}
