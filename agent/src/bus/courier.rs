//! `org.twinseal.Agent1.Courier`: what must travel, for the courier's group only.

use std::sync::{Arc, LazyLock};

use serde_bytes::ByteBuf;
use twinseal_client::COURIER_INTERFACE;

use super::interface::Interface;
use super::options::{NoOptions, wait};
use super::root::View;
use crate::{Error, Kind, Outcome};

pub(super) static INTERFACE: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(COURIER_INTERFACE)
        .method("Next", &["wait_ms", "options"], &["id", "kind", "body"], View::next)
        .method("Answer", &["id", "outcome", "body", "options"], &[], View::answer)
        .property("Origin", |view| {
            std::future::ready(view.agent.origin(&view.caller).map(Option::unwrap_or_default))
        })
});

impl View {
    /// Nothing to carry is the id 0, which no item has.
    async fn next(
        self: Arc<Self>,
        (wait_ms, _): (u32, NoOptions),
    ) -> Result<(u64, &'static str, ByteBuf), Error> {
        let next = self.agent.next(&self.caller, wait(wait_ms)).await?;
        self.leave_nothing_behind();
        Ok(next.map_or((0, "", ByteBuf::new()), |carry| {
            (carry.id, carry.kind.word(), carry.body.into())
        }))
    }

    async fn answer(
        self: Arc<Self>,
        (id, outcome, body, _): (u64, String, ByteBuf, NoOptions),
    ) -> Result<(), Error> {
        let outcome = Outcome::of_word(&outcome).ok_or_else(|| {
            Error::new(Kind::InvalidArgument, "an outcome is ok, refused or unreachable")
        })?;
        self.agent.answer(&self.caller, id, outcome, body.into_vec()).await
    }
}
