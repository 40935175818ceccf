//! `org.twinseal.Agent1.Key`: a key that the caller may use.

use std::sync::{Arc, LazyLock};

use serde_bytes::ByteBuf;
use twinseal_client::KEY_INTERFACE;

use super::interface::Interface;
use super::options::{ChangeOptions, DecryptOptions, NoOptions};
use crate::{Agent, Caller, Error, KeyChange, KeyView, Kind};

/// A key as somebody who may use it sees it.
pub(super) struct View {
    pub(super) agent: Agent,
    pub(super) caller: Caller,
    pub(super) key: KeyView,
}

pub(super) static INTERFACE: LazyLock<Interface<View>> = LazyLock::new(|| {
    Interface::new(KEY_INTERFACE)
        .method("Sign", &["digest", "scheme", "options"], &["signature"], View::sign)
        .method("Decrypt", &["ciphertext", "scheme", "options"], &["plaintext"], View::decrypt)
        .method("Agree", &["peer", "options"], &["secret"], View::agree)
        .method("Attest", &["nonce", "options"], &["attestation"], View::attest)
        .method("Export", &["options"], &["file"], View::export)
        .method("Change", &["options"], &[], View::change)
        .method("Delete", &["options"], &[], View::delete)
        .property("Id", |view| view.read(|key| Ok(key.cka_id.clone())))
        .property("Label", |view| view.read(|key| Ok(key.label.clone())))
        .property("Algorithm", |view| view.read(|key| Ok(key.algorithm())))
        .property("Uses", |view| view.read(|key| Ok(key.uses())))
        .property("PublicKey", |view| view.read(|key| Ok(key.public_key())))
        .property("Certificate", |view| {
            view.read(|key| Ok(key.certificate.clone().unwrap_or_default()))
        })
        .property("Created", |view| view.read(|key| Ok(key.created)))
        .property("Owner", |view| view.read(|key| Ok(key.owner)))
        .property("Group", |view| {
            view.read(|key| key.group.ok_or_else(|| Error::from(Kind::NotFound)))
        })
});

impl View {
    async fn sign(
        self: Arc<Self>,
        (digest, scheme, _): (ByteBuf, String, NoOptions),
    ) -> Result<(ByteBuf,), Error> {
        let signed = self.agent.sign(&self.caller, &self.key, digest.into_vec(), &scheme);
        Ok((signed.await?.into(),))
    }

    async fn decrypt(
        self: Arc<Self>,
        (ciphertext, scheme, options): (ByteBuf, String, DecryptOptions),
    ) -> Result<(ByteBuf,), Error> {
        let (ciphertext, label) = (ciphertext.into_vec(), options.label.unwrap_or_default());
        let opened = self.agent.decrypt(&self.caller, &self.key, ciphertext, &scheme, label);
        Ok((opened.await?.to_vec().into(),))
    }

    async fn agree(self: Arc<Self>, (peer, _): (ByteBuf, NoOptions)) -> Result<(ByteBuf,), Error> {
        let secret = self.agent.agree(&self.caller, &self.key, &peer).await?;
        Ok((secret.to_vec().into(),))
    }

    async fn attest(
        self: Arc<Self>,
        (nonce, _): (ByteBuf, NoOptions),
    ) -> Result<(ByteBuf,), Error> {
        Ok((self.agent.attest(&self.caller, &self.key, &nonce).await?.into(),))
    }

    async fn export(self: Arc<Self>, (_,): (NoOptions,)) -> Result<(ByteBuf,), Error> {
        Ok((self.agent.export_key(&self.caller, &self.key)?.into_bytes().into(),))
    }

    async fn change(self: Arc<Self>, (options,): (ChangeOptions,)) -> Result<(), Error> {
        let ChangeOptions { label, id, certificate } = options;
        let change = KeyChange { label, cka_id: id, certificate };
        self.agent.change_key(&self.caller, &self.key, change).await
    }

    async fn delete(self: Arc<Self>, (_,): (NoOptions,)) -> Result<(), Error> {
        self.agent.delete_key(&self.caller, &self.key).await
    }

    fn read<V>(
        self: Arc<Self>,
        read: impl FnOnce(&KeyView) -> Result<V, Error>,
    ) -> std::future::Ready<Result<V, Error>> {
        std::future::ready(read(&self.key))
    }
}
