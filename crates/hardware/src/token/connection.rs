//! A module, and a session with one of its tokens.

use std::collections::HashMap;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Refusal, RvError};
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use twinseal_scheme::enrol::TokenIdentity;

use crate::config::AuthValue;
use crate::description::{Capacity, Description, Kind, Lockout};
use crate::error::Error;
use crate::keys::KeyFamily;
use crate::token::address::{Attribute, TokenAddress};
use crate::token::failure::TokenFault;

/// What a token says that it can do. Whether it can, each key shows when it is made.
pub(super) struct Abilities {
    ecdsa: bool,
    ecdh: bool,
    rsa_signatures: bool,
    rsa_oaep: bool,
}

/// A module that is loaded and started.
pub(super) struct Module(Pkcs11);

/// A token that was found.
pub(super) struct Found {
    module: Pkcs11,
    slot: Slot,
    info: TokenInfo,
    abilities: Abilities,
}

/// A session with a token, in which its user has logged in.
pub(crate) struct Connection {
    pub(super) session: Session,
    pub(super) identity: TokenIdentity,
    module: Pkcs11,
    slot: Slot,
    /// The private halves that were found, by CKA_ID.
    pub(super) found: HashMap<[u8; 16], ObjectHandle>,
    pub(super) abilities: Abilities,
    /// Whether points go to the token in an OCTET STRING, which some want and the standard does
    /// not ask for.
    pub(super) wraps_points: bool,
}

impl Module {
    pub(super) fn load(address: &TokenAddress) -> Result<Self, Error> {
        let module = Pkcs11::new(address.module())?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|e| TokenFault::Module(e.to_string().replace(": ", ", ")))?;
        Ok(Self(module))
    }

    /// Finds the token, and whether it can do what is needed and logging in cannot lock it.
    pub(super) fn find(self, address: &TokenAddress) -> Result<Found, Error> {
        let (slot, info) = self.look_for(address)?;
        let abilities = self.abilities(slot)?;
        abilities.check_any()?;
        if info.user_pin_locked() {
            return Err(TokenFault::PinLocked.into());
        }
        if info.user_pin_final_try() {
            return Err(TokenFault::PinLastTry.into());
        }
        if !info.user_pin_initialized() || info.user_pin_to_be_changed() {
            return Err(TokenFault::PinUnset.into());
        }
        Ok(Found { module: self.0, slot, info, abilities })
    }

    fn abilities(&self, slot: Slot) -> Result<Abilities, Error> {
        let knows = |mechanism| match self.0.get_mechanism_info(slot, mechanism) {
            Err(Refusal::Pkcs11(RvError::MechanismInvalid, _)) => Ok(false),
            known => known.map(|_| true),
        };
        let ecc = knows(MechanismType::ECC_KEY_PAIR_GEN)?;
        let rsa = knows(MechanismType::RSA_PKCS_KEY_PAIR_GEN)?;
        let pss = knows(MechanismType::RSA_PKCS_PSS)?;
        Ok(Abilities {
            ecdsa: ecc && knows(MechanismType::ECDSA)?,
            ecdh: ecc && knows(MechanismType::ECDH1_DERIVE)?,
            rsa_signatures: rsa && (pss || knows(MechanismType::RSA_PKCS)?),
            rsa_oaep: rsa && knows(MechanismType::RSA_PKCS_OAEP)?,
        })
    }

    fn look_for(&self, address: &TokenAddress) -> Result<(Slot, TokenInfo), Error> {
        let mut fitting = Vec::new();
        for slot in self.0.get_slots_with_token()? {
            // A token may go between two questions.
            let Ok(info) = self.0.get_token_info(slot) else { continue };
            let fits = address.fits(|attribute| {
                let identity = identity(&info);
                match attribute {
                    Attribute::Label => trimmed(info.label()),
                    Attribute::Serial => identity.number,
                    Attribute::Manufacturer => identity.manufacturer,
                    Attribute::Model => identity.model,
                }
            });
            if info.token_initialized() && fits {
                fitting.push((slot, info));
            }
        }
        match fitting.len() {
            0 | 1 => fitting.pop().ok_or(TokenFault::Absent.into()),
            _ => Err(TokenFault::Ambiguous.into()),
        }
    }
}

impl Abilities {
    /// # Errors
    /// [`TokenFault::Incapable`] of a token that has no such keys, by the name of what it lacks.
    pub(super) fn check(&self, family: KeyFamily, signs: bool) -> Result<(), TokenFault> {
        let (can, what) = match (family, signs) {
            (KeyFamily::Ecc, true) => (self.ecdsa, "ECDSA on P-256"),
            (KeyFamily::Ecc, false) => (self.ecdh, "ECDH on P-256"),
            (KeyFamily::Rsa, true) => (self.rsa_signatures, "RSA signatures"),
            (KeyFamily::Rsa, false) => (self.rsa_oaep, "RSA-OAEP"),
        };
        if can { Ok(()) } else { Err(TokenFault::incapable(what)) }
    }

    fn check_any(&self) -> Result<(), TokenFault> {
        match (self.ecdsa || self.rsa_signatures, self.ecdh || self.rsa_oaep) {
            (false, _) => Err(TokenFault::incapable("ECDSA on P-256, nor RSA signatures")),
            (_, false) => Err(TokenFault::incapable("ECDH on P-256, nor RSA-OAEP")),
            _ => Ok(()),
        }
    }
}

impl Found {
    /// Begins a session, and logs in where that is needed.
    pub(super) fn log_in(self, pin: &AuthValue) -> Result<Connection, Error> {
        let Found { module, slot, info, abilities } = self;
        let session = module.open_rw_session(slot)?;
        if info.login_required() {
            let pin = RawAuthPin::new(pin.expose().to_vec().into());
            match session.login_with_raw(UserType::User, &pin) {
                Ok(()) | Err(Refusal::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let identity = identity(&info);
        Ok(Connection {
            session,
            identity,
            module,
            slot,
            found: HashMap::new(),
            abilities,
            wraps_points: false,
        })
    }
}

impl Connection {
    /// Whether the session is alive, and how the PIN stands.
    pub(crate) fn lockout(&self) -> Result<Lockout, Error> {
        self.session.get_session_info()?;
        let info = self.module.get_token_info(self.slot)?;
        Ok(Lockout {
            locked_out: info.user_pin_locked(),
            failures: u32::from(info.user_pin_count_low()),
            failures_allowed: 0,
            recovery_seconds: 0,
        })
    }

    /// What it says of a mechanism, if it knows it.
    pub(super) fn mechanism(&self, mechanism: MechanismType) -> Option<MechanismInfo> {
        self.module.get_mechanism_info(self.slot, mechanism).ok()
    }

    pub(crate) fn describe(&self) -> Result<Description, Error> {
        let info = self.module.get_token_info(self.slot)?;
        let version = info.firmware_version();
        Ok(Description {
            kind: Kind::Token,
            manufacturer: self.identity.manufacturer.clone(),
            model: self.identity.model.clone(),
            firmware_version: u64::from(version.major()) << 8 | u64::from(version.minor()),
            algorithms: self.algorithms().iter().map(|known| known.word().to_owned()).collect(),
            certified_eks: Vec::new(),
            capacity: Capacity { objects: 0, sessions: 1, objects_loaded: 0, sessions_loaded: 1 },
            lockout: self.lockout()?,
            owner_authorisation: false,
            endorsement_authorisation: false,
        })
    }
}

/// What a token says of itself. The fields of CK_TOKEN_INFO are padded with blanks, or with
/// zeros, which is wrong and happens.
fn identity(info: &TokenInfo) -> TokenIdentity {
    TokenIdentity {
        manufacturer: trimmed(info.manufacturer_id()),
        model: trimmed(info.model()),
        number: trimmed(info.serial_number()),
    }
}

fn trimmed(field: &str) -> String {
    field.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
}
