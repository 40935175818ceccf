//! The loop that takes calls from the bus and sends answers and signals.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::task::JoinSet;
use zbus::fdo::{DBusProxy, RequestNameFlags, RequestNameReply};
use zbus::message::{Flags, Type};
use zbus::names::{BusName, UniqueName};
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream};

use super::object::{Objects, Request};
use super::refusal::Refusal;
use super::session::{Entry, Sessions};
use super::standard;
use crate::{Error, Kind};

/// After this, a call is refused: the caller's D-Bus library gives up after 25 seconds.
const TIME_LIMIT: Duration = Duration::from_secs(24);

/// A name on the bus, and the objects behind it.
pub struct Service {
    shared: Arc<Shared>,
    stream: MessageStream,
}

/// Sends signals, each to the connections of one user and to nobody else.
#[derive(Clone)]
pub struct Signals {
    bus: Connection,
    sessions: Arc<Sessions>,
}

struct Shared {
    bus: Connection,
    sessions: Arc<Sessions>,
    objects: Arc<dyn Objects>,
    top: &'static str,
}

impl Service {
    /// Takes `name` on the bus, with `top` as the path of the object manager.
    ///
    /// # Errors
    /// Those of the bus, as when it does not let this user own the name, or when another has it.
    pub async fn start(
        bus: Connection,
        name: &'static str,
        top: &'static str,
        objects: impl FnOnce(Signals) -> Arc<dyn Objects>,
    ) -> zbus::Result<Self> {
        // The stream comes first, so that no call is lost between the name and the stream.
        let stream = MessageStream::from(&bus);
        let daemon = DBusProxy::new(&bus).await?;
        daemon.add_match_rule(departures()?).await?;
        let sessions = Arc::new(Sessions::default());
        let signals = Signals { bus: bus.clone(), sessions: Arc::clone(&sessions) };
        let shared = Shared { bus: bus.clone(), sessions, objects: objects(signals), top };
        let flags = RequestNameFlags::DO_NOT_QUEUE;
        match daemon.request_name(name.try_into()?, flags).await? {
            RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner => {}
            _ => return Err(zbus::Error::NameTaken),
        }
        Ok(Self { shared: Arc::new(shared), stream })
    }

    /// Answers calls until the bus goes away or the future is dropped; calls in work end with it.
    pub async fn run(mut self) {
        let mut calls = JoinSet::new();
        // Nothing in this loop waits for anything but the next message: while it waited, zbus
        // could not hand over the replies that the answers in work are waiting for.
        while let Some(Ok(message)) = self.stream.next().await {
            while calls.try_join_next().is_some() {}
            match message.message_type() {
                Type::MethodCall => self.take_call(message, &mut calls),
                Type::Signal => self.take_signal(&message),
                _ => {}
            }
        }
    }

    fn take_call(&self, message: Message, calls: &mut JoinSet<()>) {
        let Some(sender) = message.header().sender().map(UniqueName::to_owned) else { return };
        let entry = self.shared.sessions.note(&sender);
        let shared = Arc::clone(&self.shared);
        calls.spawn(async move { shared.serve(&sender, &entry, message).await });
    }

    fn take_signal(&self, message: &Message) {
        let Some(name) = departed(message) else { return };
        if let Some(session) = self.shared.sessions.leave(&name) {
            self.shared.objects.left(&session);
        }
    }
}

impl Shared {
    async fn serve(&self, sender: &UniqueName<'_>, entry: &Entry, message: Message) {
        let session = match self.sessions.identify(&self.bus, sender, entry).await {
            Ok(session) => session,
            Err(error) => {
                tracing::info!(%error, "a call from nobody: the bus does not say who it is");
                return self.refuse(&message, &not_identified()).await;
            }
        };
        let Some(_place) = self.sessions.admit(session.uid) else {
            return self.refuse(&message, &too_many_calls()).await;
        };
        let request = Request { session: session.clone(), message: message.clone() };
        let answer = standard::answer(Arc::clone(&self.objects), request, self.top);
        // Who has gone gets no answer, and what was waiting for him stops.
        let mut gone = pin!(session.gone());
        let answer = tokio::select! {
            biased;
            () = &mut gone => return tracing::info!(uid = session.uid, "a caller left before his answer"),
            answer = tokio::time::timeout(TIME_LIMIT, answer) => answer,
        };
        match answer.unwrap_or_else(|_| Err(took_too_long())) {
            Ok(reply) => self.send(&message, reply).await,
            Err(refusal) => self.refuse(&message, &refusal).await,
        }
    }

    async fn refuse(&self, call: &Message, refusal: &Refusal) {
        match refusal.reply_to(call) {
            Ok(reply) => self.send(call, reply).await,
            Err(error) => tracing::error!(%error, "no error reply could be made"),
        }
    }

    async fn send(&self, call: &Message, reply: Message) {
        if call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
            return;
        }
        if let Err(error) = self.bus.send(&reply).await {
            tracing::info!(%error, "a reply could not be sent");
        }
    }
}

impl Signals {
    /// How many connections of user `uid` a signal would reach now.
    pub fn listeners(&self, uid: u32) -> usize {
        self.sessions.of_user(uid).len()
    }

    /// Sends a signal to every connection of user `uid` that has called the agent.
    pub async fn to_user<B: Serialize + DynamicType>(
        &self,
        uid: u32,
        path: &str,
        interface: &str,
        name: &str,
        body: &B,
    ) {
        for session in self.sessions.of_user(uid) {
            self.to_session(&session, path, interface, name, body).await;
        }
    }

    /// Sends a signal to one connection.
    pub async fn to_session<B: Serialize + DynamicType>(
        &self,
        session: &UniqueName<'_>,
        path: &str,
        interface: &str,
        name: &str,
        body: &B,
    ) {
        let to = Some(BusName::Unique(session.as_ref()));
        if let Err(error) = self.bus.emit_signal(to, path, interface, name, body).await {
            tracing::info!(%error, signal = name, "a signal could not be sent");
        }
    }
}

/// The bus's signals that a name has no owner any more.
fn departures() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()
}

/// The connection that has left, if that is what the signal says. Only the bus itself says it:
/// nobody else can have its name as sender.
fn departed(signal: &Message) -> Option<UniqueName<'static>> {
    let header = signal.header();
    let from_bus = header.sender().is_some_and(|sender| sender == "org.freedesktop.DBus");
    let is_change = header.member().is_some_and(|member| member == "NameOwnerChanged");
    let body = signal.body();
    let (name, _, owner): (&str, &str, &str) = body.deserialize().ok()?;
    let left = from_bus && is_change && owner.is_empty() && name.starts_with(':');
    left.then(|| UniqueName::try_from(name.to_owned()).ok())?
}

fn not_identified() -> Refusal {
    Error::new(Kind::NotAllowed, "the bus does not say who is calling").and("connect again").into()
}

fn too_many_calls() -> Refusal {
    Error::new(Kind::Busy, "too many calls of this user at once").into()
}

fn took_too_long() -> Refusal {
    Error::from(Kind::Timeout).into()
}
