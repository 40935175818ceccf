//! A connection to a TPM, and everything that dies with it.

use std::collections::HashMap;
use std::str::FromStr;

use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_LOADED_SESSION_FIRST, TPM2_TRANSIENT_FIRST};
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, CapabilityData, SymmetricDefinition};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Context, Error as TssError, TctiNameConf, WrapperErrorKind};

use crate::config::Config;
use crate::error::{Error, Hierarchy};
use crate::keys::KeyFamily;
use crate::tpm::describe::Known;
use crate::tpm::failure::{Command, code_of};

/// A connection. What it has loaded into the chip is flushed when it is dropped.
pub(crate) struct Connection {
    pub(super) context: Context,
    /// Loaded objects, the one used last at the end; see `slots`.
    pub(super) loaded: Vec<Loaded>,
    /// Saved contexts of objects that had to make room, by TPMT_PUBLIC.
    pub(super) saved: HashMap<Vec<u8>, TpmsContext>,
    /// What need not be asked again.
    pub(super) known: Known,
    /// The salted session, once there is one; see [`Connection::salted`].
    session: Option<AuthSession>,
    endorsement_is_set: bool,
    owner_is_set: bool,
    /// TPMT_PUBLIC of the parent of applications' keys, once it has been made.
    pub(super) application_parent: Option<Vec<u8>>,
    /// Which keys are made.
    pub(super) prefer: KeyFamily,
}

/// An object that the chip holds for us.
pub(super) struct Loaded {
    /// Its TPMT_PUBLIC.
    pub(super) public: Vec<u8>,
    pub(super) handle: KeyHandle,
    /// Whether it has a persistent handle, and so needs a slot only while it is used.
    pub(super) persistent: bool,
}

impl Connection {
    /// Connects, and flushes what a killed predecessor left in a chip without resource manager.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let tcti = TctiNameConf::from_str(&config.tcti.to_string()).command("TCTI")?;
        let mut context =
            Context::new(tcti).map_err(|error| Error::Absent { rc: code_of(error) })?;
        for (handle, auth) in
            [(ObjectHandle::Owner, &config.owner), (ObjectHandle::Endorsement, &config.endorsement)]
        {
            let auth = Auth::try_from(auth.expose()).command("authorisation")?;
            context.tr_set_auth(handle, auth).command("authorisation")?;
        }
        let mut connection = Self {
            context,
            loaded: Vec::new(),
            saved: HashMap::new(),
            known: Known::default(),
            session: None,
            application_parent: None,
            endorsement_is_set: !config.endorsement.expose().is_empty(),
            owner_is_set: !config.owner.expose().is_empty(),
            prefer: config.prefer,
        };
        if !config.tcti.is_managed() {
            connection.flush_leftovers()?;
        }
        Ok(connection)
    }

    /// The handles of one type that are defined or loaded, from `first` on.
    pub(super) fn handles(&mut self, first: u32) -> Result<Vec<u32>, Error> {
        let (data, _) = self
            .context
            .get_capability(CapabilityType::Handles, first, 254)
            .command("TPM2_GetCapability")?;
        match data {
            CapabilityData::Handles(list) => {
                Ok(list.into_inner().into_iter().map(u32::from).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn flush_leftovers(&mut self) -> Result<(), Error> {
        let mut left = self.handles(TPM2_TRANSIENT_FIRST)?;
        left.extend(self.handles(TPM2_LOADED_SESSION_FIRST)?);
        for handle in left {
            let handle = TpmHandle::try_from(handle).command("TPM2_GetCapability")?;
            let object = self.context.tr_from_tpm_public(handle).command("TPM2_ReadPublic")?;
            match self.context.flush_context(object) {
                // The wrapper takes a policy session for something that cannot be flushed, and
                // says so when it has been.
                Ok(()) | Err(TssError::WrapperError(WrapperErrorKind::InvalidHandleState)) => {}
                Err(error) => return Err(error).command("TPM2_FlushContext"),
            }
        }
        Ok(())
    }

    /// An HMAC session whose secret only the holder of `salt`'s private half can know, set to
    /// encrypt as `direction` says. One is kept for the life of the connection: every key it was
    /// ever salted to has been compared with what the caller expects.
    pub(super) fn salted(
        &mut self,
        salt: impl FnOnce(&mut Self) -> Result<KeyHandle, Error>,
        direction: Encrypt,
    ) -> Result<AuthSession, Error> {
        let session = match self.session {
            Some(session) => session,
            None => {
                let salt = salt(self)?;
                self.start_session(Some(salt), SessionType::Hmac, HashingAlgorithm::Sha256)?
            }
        };
        self.session = Some(session);
        self.set_direction(session, direction)?;
        Ok(session)
    }

    /// Whether the chip holds a session of ours.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Runs `work` in a session that authorises `hierarchy` without showing its authorisation.
    pub(super) fn with_hierarchy<T>(
        &mut self,
        hierarchy: Hierarchy,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let is_set = match hierarchy {
            Hierarchy::Owner => self.owner_is_set,
            Hierarchy::Endorsement => self.endorsement_is_set,
        };
        if !is_set {
            return work(self, AuthSession::Password);
        }
        // Without salt it hides nothing but the authorisation, and nothing else is secret here.
        self.with_session(None, SessionType::Hmac, HashingAlgorithm::Sha256, work)
    }

    /// Runs `work` in a new session and takes it out of the chip afterwards.
    pub(super) fn with_session<T>(
        &mut self,
        salt: Option<KeyHandle>,
        kind: SessionType,
        hash: HashingAlgorithm,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let session = self.start_session(salt, kind, hash)?;
        let result = work(self, session);
        let flushed = self
            .context
            .flush_context(SessionHandle::from(session).into())
            .command("TPM2_FlushContext");
        result.and_then(|value| flushed.map(|()| value))
    }

    /// What of the session's next command is encrypted: its first parameter there, or back.
    pub(super) fn set_direction(
        &mut self,
        session: AuthSession,
        direction: Encrypt,
    ) -> Result<(), Error> {
        let (attributes, _) = SessionAttributesBuilder::new()
            .with_decrypt(matches!(direction, Encrypt::Command | Encrypt::Both))
            .with_encrypt(matches!(direction, Encrypt::Response | Encrypt::Both))
            .build();
        let (_, mask) =
            SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true).build();
        self.context.tr_sess_set_attributes(session, attributes, mask).command("session attributes")
    }

    fn start_session(
        &mut self,
        salt: Option<KeyHandle>,
        kind: SessionType,
        hash: HashingAlgorithm,
    ) -> Result<AuthSession, Error> {
        self.context
            .execute_without_session(|context| {
                context.start_auth_session(
                    salt,
                    None,
                    None,
                    kind,
                    SymmetricDefinition::AES_128_CFB,
                    hash,
                )
            })
            .command("TPM2_StartAuthSession")?
            .ok_or(Error::Failed { command: "TPM2_StartAuthSession", rc: 0 })
    }
}

/// Which way a session encrypts (TPM 2.0 Library Part 1, section 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encrypt {
    /// Neither: the session only authorises.
    Nothing,
    /// The command's first parameter (the attribute `decrypt`, since the TPM decrypts).
    Command,
    /// The response's first parameter (the attribute `encrypt`).
    Response,
    /// Both.
    Both,
}
