//! COSE_KDF_Context (RFC 9053 section 5.2): what a content key is bound to.

use ciborium::value::Value;

use crate::cbor;
use crate::label;
use crate::secret::{Secret, expand, sha256};

/// Sender and receiver of a message: their identities in a COSE_KDF_Context.
#[derive(Clone, Copy)]
pub(crate) struct Parties<'a> {
    /// PartyU, the sender; nobody where he has no identity yet.
    pub sender: Option<&'a [u8]>,
    /// PartyV, the receiver.
    pub receiver: &'a [u8],
}

/// A content key for A256GCM from a pseudo-random key.
pub(crate) fn content_key(prk: &Secret, context: &Context<'_>) -> Secret {
    expand(prk, &[&context.encode(Value::from(3))])
}

/// The key commitment that belongs to [`content_key`].
pub(crate) fn commitment(prk: &Secret, context: &Context<'_>) -> [u8; 32] {
    *expand(prk, &[&context.encode(Value::from(label::COMMITMENT))]).expose()
}

/// The context but for its AlgorithmID.
pub(crate) struct Context<'a> {
    parties: Parties<'a>,
    recipient_protected: &'a [u8],
    other: [u8; 32],
}

impl<'a> Context<'a> {
    /// `other` is hashed from its parts.
    pub(crate) fn new(
        parties: Parties<'a>,
        recipient_protected: &'a [u8],
        other: &[&[u8]],
    ) -> Context<'a> {
        Context { parties, recipient_protected, other: sha256(other) }
    }

    fn encode(&self, algorithm: Value) -> Vec<u8> {
        let party = |identity: Option<&[u8]>| {
            let identity = identity.map_or(Value::Null, |i| Value::Bytes(i.to_vec()));
            Value::Array(vec![identity, Value::Null, Value::Null])
        };
        let supp_pub = cbor::value!(256u32, self.recipient_protected, self.other);
        cbor::array!(
            algorithm,
            party(self.parties.sender),
            party(Some(self.parties.receiver)),
            supp_pub
        )
    }
}
