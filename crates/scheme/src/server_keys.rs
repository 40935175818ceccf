//! The `server_keys` statement: the server's identity key names the keys that are in use now.
//!
//! Devices pin the identity's key id and nothing else, so every other key can change. A device
//! refuses a statement older than the last it has seen, or than its enrolment link demands.

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::sign1::{Signed, Unsigned};
use crate::id::ServerId;
use crate::keys::{KemPublic, P256Public};
use crate::label;

const NAME: &str = "server_keys";
/// The longest SubjectPublicKeyInfo in a statement, bytes.
const SPKI_MAX: usize = 2048;

/// The keys of a server at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    /// Grows with every statement: the unix time in seconds of its making, or one more than the last.
    pub sequence: u64,
    /// Statements below this one are void; never above `sequence`.
    pub min_sequence: u64,
    /// Signs challenges, messages down and receipts.
    pub signing: P256Public,
    /// Receives enrolment claims and, with `kem`, epoch secrets: Key21 of the patent.
    pub encryption: P256Public,
    /// The other half of epoch secrets.
    pub kem: KemPublic,
    /// Signs these statements. Its key id is the server id.
    pub identity: P256Public,
}

impl ServerKeys {
    /// The server's name, that devices pin.
    pub fn server_id(&self) -> ServerId {
        ServerId(self.identity.id().0)
    }

    /// The statement, to be signed by the identity key.
    pub fn unsigned(&self) -> Unsigned {
        let payload = cbor::array!(
            self.sequence,
            self.min_sequence,
            self.signing.spki(),
            self.encryption.spki(),
            self.kem.spki(),
            self.identity.spki()
        );
        Unsigned::new(payload, &by_server(NAME))
    }

    /// Verifies a statement against the pinned identity.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::UnknownServer`], [`Reason::BadServerSignature`], and
    /// [`Reason::StatementStale`] when it declares itself void.
    pub fn verify(statement: &[u8], server_id: &ServerId) -> Result<ServerKeys, Reason> {
        let signed = Signed::decode(statement)?;
        let keys = ServerKeys::decode(signed.unverified_payload())?;
        if keys.server_id() != *server_id {
            return Err(Reason::UnknownServer);
        }
        signed.verify(&keys.identity, &by_server(NAME), Reason::BadServerSignature)?;
        keys.at_least(keys.min_sequence)?;
        Ok(keys)
    }

    /// Refuses to go back: `least` is the highest sequence that the device has seen or was told.
    ///
    /// # Errors
    /// [`Reason::StatementStale`].
    pub fn at_least(&self, least: u64) -> Result<(), Reason> {
        if self.sequence < least { Err(Reason::StatementStale) } else { Ok(()) }
    }

    fn decode(payload: &[u8]) -> Result<ServerKeys, Reason> {
        let mut items = Items::decode(payload, 4 * SPKI_MAX, 6)?;
        Ok(ServerKeys {
            sequence: items.uint()?,
            min_sequence: items.uint()?,
            signing: P256Public::from_spki(&items.bytes(SPKI_MAX)?)?,
            encryption: P256Public::from_spki(&items.bytes(SPKI_MAX)?)?,
            kem: KemPublic::from_spki(&items.bytes(SPKI_MAX)?)?,
            identity: P256Public::from_spki(&items.bytes(SPKI_MAX)?)?,
        })
    }
}

/// external_aad of what the server signs outside a trade.
pub(crate) fn by_server(name: &str) -> Vec<u8> {
    cbor::array!(label::BY_SERVER, name)
}

/// external_aad of what the device signs outside a trade.
pub(crate) fn by_device(name: &str) -> Vec<u8> {
    cbor::array!(label::BY_DEVICE, name)
}

/// Verifies something that the server's signing key signed, and gives its payload.
pub(crate) fn signed_by_server(
    bytes: &[u8],
    name: &str,
    signing: &P256Public,
) -> Result<Vec<u8>, Reason> {
    Signed::decode(bytes)?.verify(signing, &by_server(name), Reason::BadServerSignature)
}
