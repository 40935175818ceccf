//! `org.twinseal.Agent1`: the agent itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_bytes::ByteBuf;
use twinseal_client::AGENT_INTERFACE;
use zbus::{Connection, OwnedFd, OwnedObjectPath, OwnedVariant, Variant};

use super::interface::Interface;
use super::object::Request;
use super::options::{CreateKeyOptions, ExchangeOptions, ImportKeyOptions, NoOptions, OpenOptions};
use super::polkit;
use super::tree::{job_path, key_path, object_path, trade_path};
use crate::{Agent, Caller, Error, Kind, NewKey, Status, pin};

/// The agent as one caller sees it.
pub(super) struct View {
    pub(super) agent: Agent,
    pub(super) caller: Caller,
    pub(super) request: Request,
    pub(super) bus: Connection,
    pub(super) asking: Arc<polkit::Asking>,
}

pub(super) static INTERFACE: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(AGENT_INTERFACE)
        .method("Enrol", &["link", "user_info", "options"], &["job"], View::enrol)
        .method("Recover", &["link", "options"], &["job"], View::recover)
        .method("Unlock", &["pin", "options"], &[], View::unlock)
        .method("Exchange", &["service", "request", "options"], &["reply", "trade"], View::exchange)
        .method("OpenTrade", &["service", "options"], &["trade"], View::open_trade)
        .method("Listen", &["service", "options"], &[], View::listen)
        .method("CreateKey", &["label", "algorithm", "options"], &["key"], View::create_key)
        .method("ImportKey", &["label", "file", "options"], &["key"], View::import_key)
        .method("Random", &["length", "options"], &["bytes"], View::random)
        .signal::<(OwnedObjectPath, String)>("TradeOffered", &["trade", "service"])
        .property("Version", |view| view.status(|status| status.version))
        .property("State", |view| view.status(|status| status.state.word()))
        .property("Message", |view| view.status(|status| status.message))
        .property("Assurance", |view| view.status(|status| status.assurance))
        .property("ServerId", |view| view.status(|status| status.server_id))
        .property("Pending", |view| view.status(|status| status.pending))
        .property("LastContact", |view| view.status(|status| status.last_contact))
        .property("MaxMessage", |view| view.status(|status| status.max_message))
        .property("Hardware", View::hardware)
        .property("HardwareTag", View::hardware_tag)
        .property("HardwareSerial", View::hardware_serial)
        .property("EkCertificate", View::ek_certificate)
});

impl View {
    async fn enrol(
        self: Arc<Self>,
        (link, user_info, _): (String, HashMap<String, OwnedVariant>, NoOptions),
    ) -> Result<(OwnedObjectPath,), Error> {
        let user_info = texts(user_info)?;
        polkit::authorise(&self.asking, &self.bus, &self.request, polkit::ENROL).await?;
        let job = self.agent.enrol(&self.caller, &link, user_info).await?;
        Ok((object_path(job_path(self.caller.uid, job))?,))
    }

    async fn recover(
        self: Arc<Self>,
        (link, _): (String, NoOptions),
    ) -> Result<(OwnedObjectPath,), Error> {
        polkit::authorise(&self.asking, &self.bus, &self.request, polkit::ENROL).await?;
        let job = self.agent.recover(&self.caller, &link).await?;
        Ok((object_path(job_path(self.caller.uid, job))?,))
    }

    async fn unlock(self: Arc<Self>, (pipe, _): (OwnedFd, NoOptions)) -> Result<(), Error> {
        polkit::authorise(&self.asking, &self.bus, &self.request, polkit::UNLOCK).await?;
        let pin = pin::receive(pipe.into()).await?;
        self.agent.unlock(&self.caller, pin).await
    }

    async fn exchange(
        self: Arc<Self>,
        (service, request, options): (String, ByteBuf, ExchangeOptions),
    ) -> Result<(ByteBuf, OwnedObjectPath), Error> {
        let options = options.try_into()?;
        let request = request.into_vec();
        let done = self.agent.exchange(&self.caller, &service, request, &options).await?;
        let trade = object_path(trade_path(self.caller.uid, done.trade))?;
        Ok((done.reply.payload.into(), trade))
    }

    async fn open_trade(
        self: Arc<Self>,
        (service, options): (String, OpenOptions),
    ) -> Result<(OwnedObjectPath,), Error> {
        let options = options.try_into()?;
        let trade = self.agent.open_trade(&self.caller, &service, &options).await?;
        Ok((object_path(trade_path(self.caller.uid, trade))?,))
    }

    async fn listen(self: Arc<Self>, (service, _): (String, NoOptions)) -> Result<(), Error> {
        // The agent runs this to its end even when the caller has gone, so this waits for the end.
        let listening = tokio::spawn(async move {
            let done = self.agent.listen(&self.caller, &service).await;
            self.leave_nothing_behind();
            done
        });
        listening.await.unwrap_or_else(|_| Err(Kind::Internal.into()))
    }

    async fn create_key(
        self: Arc<Self>,
        (label, algorithm, options): (String, String, CreateKeyOptions),
    ) -> Result<(OwnedObjectPath,), Error> {
        let CreateKeyOptions { id: cka_id, uses, group } = options;
        let new = NewKey { label, cka_id, uses: uses.unwrap_or_default(), group };
        let key = self.agent.create_key(&self.caller, &algorithm, new).await?;
        Ok((object_path(key_path(self.caller.uid, key))?,))
    }

    async fn import_key(
        self: Arc<Self>,
        (label, file, options): (String, ByteBuf, ImportKeyOptions),
    ) -> Result<(OwnedObjectPath,), Error> {
        let ImportKeyOptions { id: cka_id, password, group } = options;
        let new = NewKey { label, cka_id, uses: Vec::new(), group };
        let password = password.unwrap_or_default().into();
        let key = self.agent.import_key(&self.caller, file.into_vec(), password, new).await?;
        Ok((object_path(key_path(self.caller.uid, key))?,))
    }

    async fn random(self: Arc<Self>, (length, _): (u32, NoOptions)) -> Result<(ByteBuf,), Error> {
        Ok((self.agent.random(&self.caller, length).await?.to_vec().into(),))
    }

    /// What a connection has taken on goes when it leaves. It may have left before it was given.
    pub(super) fn leave_nothing_behind(&self) {
        if self.request.session.is_gone() {
            self.agent.caller_gone(&self.caller.connection);
        }
    }

    fn status<V>(
        self: Arc<Self>,
        read: impl FnOnce(Status) -> V,
    ) -> std::future::Ready<Result<V, Error>> {
        std::future::ready(Ok(read(self.agent.status())))
    }

    async fn hardware(self: Arc<Self>) -> Result<HashMap<String, Variant<'static>>, Error> {
        let chip = self.agent.hardware(&self.caller).await?;
        Ok([
            ("kind", Variant::from(chip.kind)),
            ("manufacturer", chip.manufacturer.into()),
            ("model", chip.model.into()),
            ("firmware", chip.firmware.into()),
            ("ek", chip.ek.into()),
            ("algorithms", chip.algorithms.into()),
            ("lockout_failures", chip.lockout_failures.into()),
            ("lockout_allowed", chip.lockout_allowed.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }

    async fn hardware_tag(self: Arc<Self>) -> Result<String, Error> {
        self.agent.hardware_tag(&self.caller).await
    }

    async fn hardware_serial(self: Arc<Self>) -> Result<String, Error> {
        Ok(self.agent.identity(&self.caller).await?.serial.to_text())
    }

    async fn ek_certificate(self: Arc<Self>) -> Result<Vec<u8>, Error> {
        let identity = self.agent.identity(&self.caller).await?;
        Ok(identity.ek_certificate.unwrap_or_default())
    }
}

/// User information is text by name.
fn texts(values: HashMap<String, OwnedVariant>) -> Result<BTreeMap<String, String>, Error> {
    let text = |(name, value): (String, OwnedVariant)| match String::try_from(value) {
        Ok(text) => Ok((name, text)),
        Err(_) => {
            Err(Error::new(Kind::InvalidArgument, "user_info holds something else than text"))
        }
    };
    values.into_iter().map(text).collect()
}
