//! Digests, without the chip.

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::hash::{Hash, Hasher};
use crate::mechanism::{Mechanism, begun_with};
use crate::module::{Digest, Module, Output, Room};
use crate::rv::{Result, Rv, fail};

impl Module {
    /// Begins a digest. Without a mechanism it ends the one that is under way.
    pub(crate) fn digest_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism<'_>>,
    ) -> Result<()> {
        let mut tables = self.tables();
        let session = tables.session(session)?;
        session.digest = match begun_with(mechanism, session.digest.is_some())? {
            None => None,
            Some(mechanism) => {
                let hash = Hash::of_mechanism(mechanism.kind).ok_or(Rv(CKR_MECHANISM_INVALID))?;
                mechanism.without_parameter()?;
                Some(Digest { hasher: Hasher::new(hash), is_begun: false })
            }
        };
        Ok(())
    }

    /// The digest of one part.
    pub(crate) fn digest(
        &self,
        session: CK_SESSION_HANDLE,
        data: &[u8],
        room: Room,
    ) -> Result<Output> {
        if self.with_digest(session, |digest| digest.is_begun)? {
            return fail(CKR_OPERATION_ACTIVE);
        }
        self.digested(session, Some(data), room)
    }

    pub(crate) fn digest_update(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Result<()> {
        self.with_digest(session, |digest| {
            digest.is_begun = true;
            digest.hasher.update(data);
        })
    }

    pub(crate) fn digest_final(&self, session: CK_SESSION_HANDLE, room: Room) -> Result<Output> {
        self.digested(session, None, room)
    }

    fn digested(
        &self,
        session: CK_SESSION_HANDLE,
        data: Option<&[u8]>,
        room: Room,
    ) -> Result<Output> {
        let length = self.with_digest(session, |digest| digest.hasher.bytes())?;
        if let Some(refusal) = room.refuses(length) {
            return Ok(refusal);
        }
        let taken = self.tables().session(session)?.digest.take();
        let mut hasher = taken.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?.hasher;
        hasher.update(data.unwrap_or_default());
        Ok(Output::Bytes(Zeroizing::new(hasher.finish())))
    }

    fn with_digest<V>(
        &self,
        session: CK_SESSION_HANDLE,
        work: impl FnOnce(&mut Digest) -> V,
    ) -> Result<V> {
        let taken = self.tables().session(session)?.digest.take();
        // Hashed while nothing is locked: it may be much.
        let mut digest = taken.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        let value = work(&mut digest);
        self.tables().session(session)?.digest = Some(digest);
        Ok(value)
    }
}
