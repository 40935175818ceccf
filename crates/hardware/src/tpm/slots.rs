//! Which objects are loaded.
//!
//! A bare TPM has three slots for transient objects, and a persistent one needs a free slot while
//! it is used: so never more than two transient objects stay loaded. The one not used for longest
//! makes room. It is saved first, because loading a saved context needs no parent and takes a
//! chip less time than deriving a primary key again.

use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy as TssHierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Private, Public};
use tss_esapi::traits::{Marshall, UnMarshall};

use crate::application::TpmApplicationKey;
use crate::error::{Change, Error, Hierarchy};
use crate::keys::{Child, EkKind, Primary};
use crate::tpm::connection::{Connection, Loaded};
use crate::tpm::failure::{Command, of_hierarchy};
use crate::tpm::template;

const LOADED_MAX: usize = 2;
/// Saved contexts are public, small and cheap to make again.
const SAVED_MAX: usize = 64;

impl Connection {
    /// Loads a child of the SRK, unless it is.
    pub(super) fn hold_child(&mut self, child: &Child) -> Result<KeyHandle, Error> {
        self.hold_below(child, Self::hold_srk)
    }

    /// Loads an application's key, unless it is.
    pub(super) fn hold_application(&mut self, key: &TpmApplicationKey) -> Result<KeyHandle, Error> {
        self.hold_below(&key.child, Self::hold_application_parent)
    }

    /// Makes the parent of applications' keys, unless it is loaded.
    ///
    /// # Errors
    /// [`Error::Rejected`] when it is another than `expected`: the key below it was made before
    /// the chip was cleared, or by another chip. That is said without asking the chip again, so
    /// that who has such a key does not wear it out.
    pub(super) fn hold_application_parent(&mut self, expected: &[u8]) -> Result<KeyHandle, Error> {
        if let Some(handle) = self.held(expected)? {
            return Ok(handle);
        }
        if self.application_parent.as_deref().is_none_or(|known| known == expected) {
            let template = template::application_parent()?;
            let (public, handle) = self.make_primary(Hierarchy::Owner, template)?;
            let is_same = public == expected;
            self.application_parent = Some(public);
            if is_same {
                return Ok(handle);
            }
        }
        Err(Error::Rejected { command: "TPM2_Load", rc: 0 })
    }

    fn hold_below(
        &mut self,
        child: &Child,
        hold_parent: impl FnOnce(&mut Self, &[u8]) -> Result<KeyHandle, Error>,
    ) -> Result<KeyHandle, Error> {
        if let Some(handle) = self.held(&child.public)? {
            return self.authorise(handle, child);
        }
        let parent = hold_parent(self, &child.parent)?;
        self.make_room(Some(parent))?;
        let private = Private::try_from(child.private.as_slice()).command("stored key")?;
        let public = Public::unmarshall(&child.public).command("stored key")?;
        let handle = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.load(parent, private, public)
            })
            .command("TPM2_Load")?;
        self.keep(child.public.clone(), handle, false);
        self.authorise(handle, child)
    }

    /// Makes the SRK, unless it is loaded.
    ///
    /// # Errors
    /// [`Change::Cleared`] when it is another than `expected`.
    pub(super) fn hold_srk(&mut self, expected: &[u8]) -> Result<KeyHandle, Error> {
        if let Some(handle) = self.held(expected)? {
            return Ok(handle);
        }
        let (public, handle) = self.make_primary(Hierarchy::Owner, template::storage_root()?)?;
        match public == expected {
            true => Ok(handle),
            false => Err(Error::Changed(Change::Cleared)),
        }
    }

    /// Makes the attestation or the serial key, unless it is loaded. May be held beside any other
    /// object that was held just before.
    ///
    /// # Errors
    /// [`Change::Replaced`] when it comes out as another than before.
    pub(super) fn hold_primary(&mut self, key: &Primary) -> Result<KeyHandle, Error> {
        if let Some(handle) = self.held(&key.public)? {
            return Ok(handle);
        }
        let template = template::primary(key.role, &key.unique)?;
        let (public, handle) = self.make_primary(Hierarchy::Endorsement, template)?;
        match public == key.public {
            true => Ok(handle),
            false => Err(Error::Changed(Change::Replaced)),
        }
    }

    /// Finds or makes the EK.
    ///
    /// # Errors
    /// [`Change::Replaced`] when it is another than `expected`.
    pub(super) fn hold_ek(&mut self, kind: EkKind, expected: &[u8]) -> Result<KeyHandle, Error> {
        if let Some(handle) = self.held(expected)? {
            return Ok(handle);
        }
        let (public, handle) = self.make_ek(kind)?;
        match public == expected {
            true => Ok(handle),
            false => Err(Error::Changed(Change::Replaced)),
        }
    }

    /// Finds the EK at one of its persistent handles, where it costs nothing, or makes it, which
    /// for RSA takes a real chip seconds.
    pub(super) fn make_ek(&mut self, kind: EkKind) -> Result<(Vec<u8>, KeyHandle), Error> {
        let template = template::endorsement(kind)?;
        for place in ek_handles(kind) {
            if let Some(found) = self.persistent(*place, &template)? {
                return Ok(found);
            }
        }
        self.make_primary(Hierarchy::Endorsement, template)
    }

    /// Makes a primary key and holds it. Returns its TPMT_PUBLIC with it.
    pub(super) fn make_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: Public,
    ) -> Result<(Vec<u8>, KeyHandle), Error> {
        self.with_hierarchy(hierarchy, |connection, session| {
            connection.make_primary_in(session, hierarchy, template)
        })
    }

    /// The same in a given session.
    pub(super) fn make_primary_in(
        &mut self,
        session: AuthSession,
        hierarchy: Hierarchy,
        template: Public,
    ) -> Result<(Vec<u8>, KeyHandle), Error> {
        self.make_room(None)?;
        let parent = match hierarchy {
            Hierarchy::Owner => TssHierarchy::Owner,
            Hierarchy::Endorsement => TssHierarchy::Endorsement,
        };
        let made = self
            .context
            .execute_with_session(Some(session), |context| {
                context.create_primary(parent, template, None, None, None, None)
            })
            .command("TPM2_CreatePrimary")
            .map_err(|error| of_hierarchy(error, hierarchy))?;
        let public = made.out_public.marshall().command("TPM2_CreatePrimary")?;
        self.keep(public.clone(), made.key_handle, false);
        Ok((public, made.key_handle))
    }

    /// The loaded object with this TPMT_PUBLIC, from its saved context if need be.
    fn held(&mut self, public: &[u8]) -> Result<Option<KeyHandle>, Error> {
        if let Some(place) = self.loaded.iter().position(|held| held.public == public) {
            let used = self.loaded.remove(place);
            let handle = used.handle;
            self.loaded.push(used);
            return Ok(Some(handle));
        }
        let Some(saved) = self.saved.get(public).cloned() else {
            return Ok(None);
        };
        self.make_room(None)?;
        let handle = self.context.context_load(saved).command("TPM2_ContextLoad")?;
        self.keep(public.to_vec(), KeyHandle::from(handle), false);
        Ok(Some(KeyHandle::from(handle)))
    }

    /// A loaded context has forgotten its authValue, and setting it again costs nothing.
    fn authorise(&mut self, handle: KeyHandle, child: &Child) -> Result<KeyHandle, Error> {
        let auth = Auth::try_from(child.auth.as_slice()).command("stored key")?;
        self.context.tr_set_auth(handle.into(), auth).command("stored key")?;
        Ok(handle)
    }

    fn keep(&mut self, public: Vec<u8>, handle: KeyHandle, persistent: bool) {
        self.loaded.push(Loaded { public, handle, persistent });
    }

    /// Makes sure that one more transient object may be loaded, without taking out `needed`.
    pub(super) fn make_room(&mut self, needed: Option<KeyHandle>) -> Result<(), Error> {
        while self.loaded.iter().filter(|held| !held.persistent).count() >= LOADED_MAX {
            let oldest =
                self.loaded.iter().position(|held| !held.persistent && Some(held.handle) != needed);
            let Some(oldest) = oldest else {
                return Ok(());
            };
            let oldest = self.loaded.remove(oldest);
            self.put_away(oldest)?;
        }
        Ok(())
    }

    fn put_away(&mut self, object: Loaded) -> Result<(), Error> {
        let handle = ObjectHandle::from(object.handle);
        if !self.saved.contains_key(&object.public) {
            let saved = self.context.context_save(handle).command("TPM2_ContextSave")?;
            if self.saved.len() >= SAVED_MAX {
                self.saved.clear();
            }
            self.saved.insert(object.public, saved);
        }
        self.context.flush_context(handle).command("TPM2_FlushContext")
    }

    /// The object at a persistent handle, if it is one that `template` could have made.
    fn persistent(
        &mut self,
        place: u32,
        template: &Public,
    ) -> Result<Option<(Vec<u8>, KeyHandle)>, Error> {
        if self.handles(place)?.first() != Some(&place) {
            return Ok(None);
        }
        let place = PersistentTpmHandle::new(place).command("EK handle")?;
        let mut object = self
            .context
            .tr_from_tpm_public(TpmHandle::Persistent(place))
            .command("TPM2_ReadPublic")?;
        let handle = KeyHandle::from(object);
        let (public, name, _) = self.context.read_public(handle).command("TPM2_ReadPublic")?;
        // The library salts sessions to what it read first: that must be what we compare.
        let same = self.context.tr_get_name(object).command("TPM2_ReadPublic")? == name;
        if !same || !template::fits(template, &public) {
            self.context.tr_close(&mut object).command("EK handle")?;
            return Ok(None);
        }
        let public = public.marshall().command("TPM2_ReadPublic")?;
        self.keep(public.clone(), handle, true);
        Ok(Some((public, handle)))
    }
}

/// Where provisioning tools put an EK: the TCG's recommended handles, then those that follow the
/// number of the certificate's NV index, as swtpm_setup has them.
fn ek_handles(kind: EkKind) -> &'static [u32] {
    match kind {
        EkKind::EccP256 => &[0x8101_0002, 0x8101_000a],
        EkKind::EccP256High => &[0x8101_0014],
        EkKind::EccP384 => &[0x8101_0016],
        EkKind::Rsa2048 => &[0x8101_0001],
        EkKind::Rsa2048High => &[0x8101_0012],
        EkKind::Rsa3072 => &[0x8101_001c],
    }
}
