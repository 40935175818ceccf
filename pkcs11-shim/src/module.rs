//! The module of one process: sessions and handles, in memory alone. Keys and certificates are
//! the agent's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::decrypting::Decryption;
use crate::hash::Hasher;
use crate::key::Key;
use crate::object::Object;
use crate::rv::{Result, Rv, fail};
use crate::signing::Signature;

/// The one slot.
pub(crate) const SLOT: CK_SLOT_ID = 0;
/// As many as a process may have open.
pub(crate) const SESSIONS: usize = 4096;

/// What a process has between `C_Initialize` and `C_Finalize`.
pub(crate) struct Module {
    pub(crate) agent: Agent,
    /// Never locked while the agent is asked.
    tables: Mutex<Tables>,
}

/// Handles, and what they stand for.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    pub(crate) objects: BTreeMap<CK_OBJECT_HANDLE, Object>,
    pub(crate) is_logged_in: bool,
    last_session: CK_SESSION_HANDLE,
    last_object: CK_OBJECT_HANDLE,
}

/// A session, and what is under way in it.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) is_read_write: bool,
    pub(crate) found: Option<VecDeque<CK_OBJECT_HANDLE>>,
    pub(crate) signature: Option<Signature>,
    pub(crate) decryption: Option<Decryption>,
    pub(crate) digest: Option<Digest>,
}

/// A digest under way, and whether something was put in.
pub(crate) struct Digest {
    pub(crate) hasher: Hasher,
    pub(crate) is_begun: bool,
}

/// The caller's buffer for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Room {
    /// There is none: how long would it be?
    Question,
    /// Of so many bytes.
    Bytes(usize),
}

/// What goes into the caller's buffer.
#[derive(Debug)]
pub(crate) enum Output {
    /// Nothing: it would be as long as this, at most.
    Length(usize),
    /// Nothing: it would have to be as long as this. What was under way goes on.
    TooSmall(usize),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Room {
    /// What to say, instead of an answer of this length, to a question or a buffer too small.
    pub(crate) fn refuses(self, length: usize) -> Option<Output> {
        match self {
            Self::Question => Some(Output::Length(length)),
            Self::Bytes(room) if room < length => Some(Output::TooSmall(length)),
            Self::Bytes(_) => None,
        }
    }
}

impl Module {
    pub(crate) fn new() -> Self {
        Self { agent: Agent::new(), tables: Mutex::default() }
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing in there is left half done by a panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_session(
        &self,
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
    ) -> Result<CK_SESSION_HANDLE> {
        is_slot(slot)?;
        if flags & CKF_SERIAL_SESSION == 0 {
            return fail(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
        }
        self.agent.is_there()?;
        self.begin_session(flags)
    }

    /// A session, whether or not the agent is there.
    pub(crate) fn begin_session(&self, flags: CK_FLAGS) -> Result<CK_SESSION_HANDLE> {
        let mut tables = self.tables();
        if tables.sessions.len() >= SESSIONS {
            return fail(CKR_SESSION_COUNT);
        }
        tables.last_session += 1;
        let handle = tables.last_session;
        let is_read_write = flags & CKF_RW_SESSION != 0;
        tables.sessions.insert(handle, Session { is_read_write, ..Session::default() });
        Ok(handle)
    }

    pub(crate) fn close_session(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let mut tables = self.tables();
        tables.sessions.remove(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
        tables.objects.retain(|_, object| object.session() != Some(handle));
        // Who has no session is logged out.
        tables.is_logged_in &= !tables.sessions.is_empty();
        Ok(())
    }

    pub(crate) fn close_all_sessions(&self, slot: CK_SLOT_ID) -> Result<()> {
        is_slot(slot)?;
        let mut tables = self.tables();
        tables.sessions.clear();
        tables.objects.retain(|_, object| object.session().is_none());
        tables.is_logged_in = false;
        Ok(())
    }

    pub(crate) fn session_info(&self, handle: CK_SESSION_HANDLE) -> Result<CK_SESSION_INFO> {
        let mut tables = self.tables();
        let is_logged_in = tables.is_logged_in;
        let is_read_write = tables.session(handle)?.is_read_write;
        let (state, flags) = match (is_read_write, is_logged_in) {
            (false, false) => (CKS_RO_PUBLIC_SESSION, 0),
            (false, true) => (CKS_RO_USER_FUNCTIONS, 0),
            (true, false) => (CKS_RW_PUBLIC_SESSION, CKF_RW_SESSION),
            (true, true) => (CKS_RW_USER_FUNCTIONS, CKF_RW_SESSION),
        };
        let flags = flags | CKF_SERIAL_SESSION;
        Ok(CK_SESSION_INFO { slotID: SLOT, state, flags, ulDeviceError: 0 })
    }

    /// Any PIN will do: who the user is, the bus has established already.
    pub(crate) fn login(&self, handle: CK_SESSION_HANDLE, user: CK_USER_TYPE) -> Result<()> {
        let mut tables = self.tables();
        tables.session(handle)?;
        match (user, tables.is_logged_in) {
            (CKU_USER, false) => tables.is_logged_in = true,
            (CKU_USER, true) => return fail(CKR_USER_ALREADY_LOGGED_IN),
            (CKU_CONTEXT_SPECIFIC, _) => return fail(CKR_OPERATION_NOT_INITIALIZED),
            _ => return fail(CKR_USER_TYPE_INVALID),
        }
        Ok(())
    }

    pub(crate) fn logout(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let mut tables = self.tables();
        tables.session(handle)?;
        match std::mem::replace(&mut tables.is_logged_in, false) {
            true => Ok(()),
            false => fail(CKR_USER_NOT_LOGGED_IN),
        }
    }

    /// Ends what is under way in a session, as far as the flags `CKF_…` name it.
    pub(crate) fn cancel(&self, handle: CK_SESSION_HANDLE, flags: CK_FLAGS) -> Result<()> {
        let mut tables = self.tables();
        let session = tables.session(handle)?;
        if flags & CKF_FIND_OBJECTS != 0 {
            session.found = None;
        }
        if flags & CKF_SIGN != 0 {
            session.signature = None;
        }
        if flags & CKF_DECRYPT != 0 {
            session.decryption = None;
        }
        if flags & CKF_DIGEST != 0 {
            session.digest = None;
        }
        Ok(())
    }
}

impl Tables {
    pub(crate) fn session(&mut self, handle: CK_SESSION_HANDLE) -> Result<&mut Session> {
        self.sessions.get_mut(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Result<&Object> {
        self.objects.get(&handle).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))
    }

    /// The private key of this handle.
    pub(crate) fn private_key(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Key>> {
        match self.objects.get(&handle) {
            Some(Object::Private(key)) => Ok(key.clone()),
            Some(_) => fail(CKR_KEY_TYPE_INCONSISTENT),
            None => fail(CKR_KEY_HANDLE_INVALID),
        }
    }

    /// Gives the object a handle; where the agent's same object has one, that.
    pub(crate) fn put(&mut self, object: Object) -> CK_OBJECT_HANDLE {
        let place = object.place();
        let known = self.objects.iter().find(|(_, old)| place.is_some() && old.place() == place);
        let handle = known.map(|(handle, _)| *handle).unwrap_or_else(|| {
            self.last_object += 1;
            self.last_object
        });
        self.objects.insert(handle, object);
        handle
    }
}

pub(crate) fn is_slot(slot: CK_SLOT_ID) -> Result<()> {
    match slot {
        SLOT => Ok(()),
        _ => fail(CKR_SLOT_ID_INVALID),
    }
}
