//! The COSE objects of the scheme (RFC 9052), each in exactly one form.
//!
//! Headers are constants: an object is read by comparing them, not by believing them. So
//! an algorithm, a `crit`, a key id or a second recipient that somebody adds is refused
//! before any key is touched.

pub(crate) mod encrypt;
pub(crate) mod encrypt0;
pub(crate) mod gcm;
pub(crate) mod kdf;
pub(crate) mod sign;
pub(crate) mod sign1;

pub use sign1::Unsigned;

use ciborium::value::Value;

use crate::Reason;
use crate::cbor;

/// The longest COSE object or envelope, bytes.
pub const SIZE_MAX: usize = 256 * 1024;

/// {1: 3}, AES-256-GCM.
const PROTECTED_A256GCM: &[u8] = &[0xa1, 0x01, 0x03];

/// Takes the tag off.
fn untag(bytes: &[u8], tag: u64) -> Result<Value, Reason> {
    match cbor::decode(bytes, SIZE_MAX)? {
        Value::Tag(found, value) if found == tag => Ok(*value),
        _ => Err(Reason::WrongTag),
    }
}

/// {5: IV}.
fn iv_header(iv: &[u8; 12]) -> Value {
    Value::Map(vec![(Value::from(5), Value::Bytes(iv.to_vec()))])
}

/// Compares a header with the only one that may stand there.
fn expect(found: Value, expected: &Value) -> Result<(), Reason> {
    if found == *expected { Ok(()) } else { Err(Reason::WrongHeader) }
}
