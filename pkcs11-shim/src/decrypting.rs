//! Decryption by RSAES-OAEP, in one part.

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::key::{Family, Key};
use crate::mechanism::{Mechanism, begun_with};
use crate::module::{Module, Output, Room};
use crate::rv::{Result, Rv, fail};

/// A decryption under way.
pub(crate) struct Decryption {
    key: Arc<Key>,
    scheme: String,
    hash_bytes: usize,
    label: Vec<u8>,
    /// What was opened already, while the caller had no room for it.
    opened: Option<Zeroizing<Vec<u8>>>,
}

impl Decryption {
    /// How long the plaintext is, at most.
    fn output_bytes(&self) -> usize {
        match &self.opened {
            Some(opened) => opened.len(),
            None => self.key.output_bytes().saturating_sub(2 * self.hash_bytes + 2),
        }
    }
}

impl Module {
    /// Begins a decryption. Without a mechanism it ends the one that is under way.
    pub(crate) fn decrypt_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism<'_>>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let mut tables = self.tables();
        let is_active = tables.session(session)?.decryption.is_some();
        let decryption = match begun_with(mechanism, is_active)? {
            None => None,
            Some(mechanism) => {
                mechanism.is_for(CKF_DECRYPT)?;
                let key = tables.private_key(key)?;
                if key.family() != Family::Rsa {
                    return fail(CKR_KEY_TYPE_INCONSISTENT);
                }
                if !key.uses.decrypt {
                    return fail(CKR_KEY_FUNCTION_NOT_PERMITTED);
                }
                let (hash, label) = mechanism.oaep()?;
                let (scheme, label) = (format!("rsa-oaep-{}", hash.word()), label.to_vec());
                Some(Decryption { key, scheme, hash_bytes: hash.bytes(), label, opened: None })
            }
        };
        tables.session(session)?.decryption = decryption;
        Ok(())
    }

    pub(crate) fn decrypt(
        &self,
        session: CK_SESSION_HANDLE,
        ciphertext: &[u8],
        room: Room,
    ) -> Result<Output> {
        let taken = self.tables().session(session)?.decryption.take();
        let mut decryption = taken.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        if let Room::Bytes(_) = room
            && decryption.opened.is_none()
        {
            if ciphertext.len() != decryption.key.output_bytes() {
                return fail(CKR_ENCRYPTED_DATA_LEN_RANGE);
            }
            let Decryption { key, scheme, label, .. } = &decryption;
            decryption.opened = Some(self.agent.decrypt(&key.path, ciphertext, scheme, label)?);
        }
        match (room.refuses(decryption.output_bytes()), decryption.opened.take()) {
            (None, Some(opened)) => Ok(Output::Bytes(opened)),
            (None, None) => fail(CKR_GENERAL_ERROR),
            (Some(refusal), opened) => {
                decryption.opened = opened;
                if let Ok(session) = self.tables().session(session) {
                    session.decryption = Some(decryption);
                }
                Ok(refusal)
            }
        }
    }
}
