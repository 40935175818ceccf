//! One agent on a private TPM, one server in memory, and a courier that goes when he is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use twinseal_agent::{
    Agent, Caller, Carry, CarryId, CarryKind, Config, Error, JobState, Options, Outcome, State,
    TradeId,
};
use twinseal_swtpm_tests::{EkKind, Swtpm};

use super::server::Server;

pub const SERVICE: &str = "com.example.till";
/// Long enough for whatever does happen, so that only what does not happen is waited for.
pub const LONG: Duration = Duration::from_secs(240);

/// Fields drop in their order: the agent lets go of the chip before it is switched off.
pub struct World {
    pub agent: Option<Agent>,
    pub server: Server,
    pub chip: Swtpm,
    pub dir: TempDir,
}

pub fn user(uid: u32) -> Caller {
    Caller { uid, gids: vec![uid], connection: format!(":1.{uid}") }
}

pub fn alice() -> Caller {
    user(1000)
}

pub fn bob() -> Caller {
    user(1001)
}

pub fn root() -> Caller {
    user(0)
}

pub fn config(dir: &Path, chip: &Swtpm) -> Config {
    std::fs::create_dir_all(dir.join("services.d")).unwrap();
    let file = format!("service = '{SERVICE}'\nusers = [1000, 1001]");
    std::fs::write(dir.join("services.d/till.toml"), file).unwrap();
    let text = format!(
        "state_dir = '{0}/state'\nstate_key_file = '{0}/state.key'\n\
         services_dir = '{0}/services.d'\nhardware.tcti = '{1}'\nhardware.deadline_ms = {2}",
        dir.display(),
        chip.tcti(),
        // Many chips are emulated at once here, and none may seem absent for that.
        LONG.as_millis()
    );
    std::fs::write(dir.join("agent.toml"), text).unwrap();
    Config::read(&dir.join("agent.toml")).unwrap()
}

impl World {
    /// An agent that is not enrolled yet.
    pub async fn new() -> World {
        World::on(Swtpm::builder().only(EkKind::EccP384).start()).await
    }

    pub async fn on(chip: Swtpm) -> World {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::start(config(dir.path(), &chip)).await.unwrap();
        World { agent: Some(agent), server: Server::new(), chip, dir }
    }

    /// An enrolled agent whose first epoch is open at the server.
    pub async fn enrolled() -> World {
        let mut world = World::new().await;
        world.enrol().await.unwrap();
        world
    }

    pub async fn enrol(&mut self) -> Result<(), Error> {
        let info = BTreeMap::from([("name".to_owned(), "Eva Muster".to_owned())]);
        let job = self.agent().enrol(&root(), &self.server.link(), info).await?;
        while self.agent().job(&root(), job)?.state == JobState::Running {
            self.carry_patiently().await;
        }
        self.carry().await;
        match self.agent().job(&root(), job)?.state {
            JobState::Failed(error) => Err(error),
            state => {
                assert_eq!(state, JobState::Completed);
                assert_eq!(self.agent().status().state, State::Active);
                Ok(())
            }
        }
    }

    /// Carries until nothing is left to do: until a fetch brings nothing.
    pub async fn carry(&mut self) {
        while self.carry_one().await.is_some_and(|(_, is_done)| !is_done) {}
    }

    /// Carries until every message has its answer, also those that are still to be sealed anew.
    pub async fn carry_everything(&mut self) {
        let deadline = tokio::time::Instant::now() + LONG;
        while self.agent().status().pending > 0 {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", self.agent().status());
            self.carry().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Carries one thing; says what, and whether it was a fetch that changed nothing.
    pub async fn carry_one(&mut self) -> Option<(CarryKind, bool)> {
        let carry = self.agent().next(&root(), Duration::ZERO).await.unwrap()?;
        Some(self.carried(carry).await)
    }

    /// Carries the next thing that there will be; says what.
    pub async fn carry_next(&mut self) -> CarryKind {
        let carry = self.agent().next(&root(), LONG).await.unwrap().unwrap();
        self.carried(carry).await.0
    }

    async fn carried(&mut self, carry: Carry) -> (CarryKind, bool) {
        let before = self.server.device.as_ref().map(|device| device.waiting());
        let (outcome, body) = match self.server.handle(carry.kind, &carry.body) {
            Ok(body) => (Outcome::Ok, body),
            Err(word) => (Outcome::Refused, word.as_bytes().to_vec()),
        };
        self.agent().answer(&root(), carry.id, outcome, body).await.unwrap();
        let is_done = carry.kind == CarryKind::Fetch && before == Some(0);
        (carry.kind, is_done)
    }

    /// Carries while `call` waits for something.
    pub async fn during<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                biased;
                result = &mut call => return result,
                () = self.carry_patiently() => {}
            }
        }
    }

    async fn carry_patiently(&mut self) {
        if self.carry_one().await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The agent, while it runs.
    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// The agent ends and starts again; the server and the chip go on.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.restart_stopped().await;
    }

    pub async fn stop(&mut self) {
        self.agent.take().unwrap().stop().await;
    }

    /// Starts the agent that was stopped.
    pub async fn restart_stopped(&mut self) {
        self.agent = Some(start_when_free(config(self.dir.path(), &self.chip)).await);
    }

    /// Waits until the agent stands so.
    pub async fn state(&self, state: State) {
        self.until(|agent| agent.status().state == state).await;
    }

    /// Waits until so much is in the outbox.
    pub async fn until_pending(&self, pending: u32) {
        self.until(|agent| agent.status().pending == pending).await;
    }

    async fn until(&self, holds: impl Fn(&Agent) -> bool) {
        let deadline = tokio::time::Instant::now() + LONG;
        while !holds(self.agent()) {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", self.agent().status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The item of this kind that is offered: the same bytes as before, under another name. An
    /// item that is under way is given up first.
    pub async fn offered_again(&self, kind: CarryKind, body: &[u8]) -> CarryId {
        self.agent().caller_gone(&root().connection);
        loop {
            let carry = self.agent().next(&root(), LONG).await.unwrap().unwrap();
            if carry.kind == kind {
                assert_eq!(carry.body, body);
                return carry.id;
            }
        }
    }

    /// The message that is offered.
    pub async fn next_message(&self) -> (CarryId, Vec<u8>) {
        loop {
            let carry = self.agent().next(&root(), LONG).await.unwrap().unwrap();
            if carry.kind == CarryKind::Message {
                return (carry.id, carry.body);
            }
        }
    }

    pub async fn open_trade(&self, caller: &Caller, options: &Options) -> TradeId {
        self.agent().open_trade(caller, SERVICE, options).await.unwrap()
    }

    /// The payloads that the application gets.
    pub async fn received(&self, caller: &Caller, trade: TradeId, after: u32) -> Vec<Vec<u8>> {
        let messages = self.agent().receive(caller, trade, after, Duration::ZERO).await.unwrap();
        messages.into_iter().map(|message| message.payload).collect()
    }
}

/// Tasks of the old agent may hold its state for a moment.
pub async fn start_when_free(config: Config) -> Agent {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        match Agent::start(config.clone()).await {
            Ok(agent) => return agent,
            Err(error) => {
                assert!(error.to_string().contains("another agent"), "{error}");
                assert!(tokio::time::Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
