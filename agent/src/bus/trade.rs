//! `org.twinseal.Agent1.Trade`: a trade of the caller's.

use std::sync::{Arc, LazyLock};

use serde_bytes::ByteBuf;
use twinseal_client::{MAX_WAIT_MS, TRADE_INTERFACE};

use super::interface::Interface;
use super::options::{NoOptions, PayloadOptions, WaitOptions, wait};
use crate::{Agent, Caller, Error, Message, TradeView};

/// A trade as its owner sees it.
pub(super) struct View {
    pub(super) agent: Agent,
    pub(super) caller: Caller,
    pub(super) trade: TradeView,
}

/// Index, content type, payload.
type Received = (u64, String, ByteBuf);

pub(super) static INTERFACE: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(TRADE_INTERFACE)
        .method("Send", &["payload", "options"], &["index"], View::send)
        .method("Receive", &["after", "wait_ms", "options"], &["messages"], View::receive)
        .method("Seal", &["payload", "options"], &["envelope"], View::seal)
        .method("Open", &["envelope", "options"], &["message"], View::open)
        .method(
            "Inspect",
            &["envelope", "options"],
            &["inner", "server_signed", "content"],
            View::inspect,
        )
        .method("Close", &["options"], &["receipt"], View::close)
        .method("Receipt", &["options"], &["receipt"], View::receipt)
        .signal::<(u64,)>("Message", &["index"])
        .signal::<()>("Closed", &[])
        .property("Id", |view| view.read(|trade| trade.id.to_string()))
        .property("Service", |view| view.read(|trade| trade.service.clone()))
        .property("State", |view| view.read(|trade| trade.state))
        .property("IsExchange", |view| view.read(|trade| trade.is_exchange))
        .property("IsOffered", |view| view.read(|trade| trade.is_offered))
        .property("Outer", |view| view.read(|trade| trade.outer.word()))
        .property("Sent", |view| view.read(|trade| trade.sent))
        .property("Accepted", |view| view.read(|trade| trade.accepted))
        .property("Received", |view| view.read(|trade| trade.received))
});

impl View {
    async fn send(
        self: Arc<Self>,
        (payload, options): (ByteBuf, PayloadOptions),
    ) -> Result<(u64,), Error> {
        let content_type = options.content_type.unwrap_or_default();
        let payload = payload.into_vec();
        let index = self.agent.send(&self.caller, self.trade.id, payload, &content_type).await?;
        Ok((index.into(),))
    }

    async fn receive(
        self: Arc<Self>,
        (after, wait_ms, _): (u64, u32, NoOptions),
    ) -> Result<(Vec<Received>,), Error> {
        // There is no message after an index that no message can have.
        let after = u32::try_from(after).unwrap_or(u32::MAX);
        let wait = wait(wait_ms);
        let messages = self.agent.receive(&self.caller, self.trade.id, after, wait).await?;
        Ok((messages.into_iter().map(received).collect(),))
    }

    async fn seal(
        self: Arc<Self>,
        (payload, options): (ByteBuf, PayloadOptions),
    ) -> Result<(ByteBuf,), Error> {
        let content_type = options.content_type.unwrap_or_default();
        let payload = payload.into_vec();
        let envelope = self.agent.seal(&self.caller, self.trade.id, payload, &content_type).await?;
        Ok((envelope.into(),))
    }

    async fn open(
        self: Arc<Self>,
        (envelope, _): (ByteBuf, NoOptions),
    ) -> Result<(Received,), Error> {
        let message = self.agent.open(&self.caller, self.trade.id, &envelope).await?;
        Ok((received(message),))
    }

    async fn inspect(
        self: Arc<Self>,
        (envelope, _): (ByteBuf, NoOptions),
    ) -> Result<(ByteBuf, ByteBuf, ByteBuf), Error> {
        let opened = self.agent.inspect(&self.caller, self.trade.id, &envelope).await?;
        let signed = opened.server_signed.unwrap_or_default();
        Ok((opened.inner.into(), signed.into(), opened.content.into()))
    }

    async fn close(self: Arc<Self>, (options,): (WaitOptions,)) -> Result<(ByteBuf,), Error> {
        let wait = wait(options.wait_ms.unwrap_or(MAX_WAIT_MS));
        let receipt = self.agent.close(&self.caller, self.trade.id, wait).await?;
        Ok((receipt.into(),))
    }

    async fn receipt(self: Arc<Self>, (_,): (NoOptions,)) -> Result<(ByteBuf,), Error> {
        Ok((self.agent.receipt(&self.caller, self.trade.id).await?.into(),))
    }

    fn read<V>(
        self: Arc<Self>,
        read: impl FnOnce(&TradeView) -> V,
    ) -> std::future::Ready<Result<V, Error>> {
        std::future::ready(Ok(read(&self.trade)))
    }
}

fn received(message: Message) -> Received {
    (message.index.into(), message.content_type, message.payload.into())
}
