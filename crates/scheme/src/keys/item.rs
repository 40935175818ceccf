//! A public key as it stands in statements: of P-256 its SubjectPublicKeyInfo, since that says all;
//! of RSA its algorithm as well, in an array of two.

use ciborium::value::Value;

use crate::Reason;
use crate::cbor::{self, Items};

/// The longest SubjectPublicKeyInfo that is looked at, bytes.
const SPKI_MAX: usize = 512;

pub(super) fn write(algorithm: Option<i16>, spki: &[u8]) -> Value {
    match algorithm {
        None => Value::Bytes(spki.to_vec()),
        Some(number) => cbor::value!(number, spki),
    }
}

pub(super) fn read(item: Value) -> Result<(Option<i64>, Vec<u8>), Reason> {
    match item {
        Value::Bytes(spki) if spki.len() <= SPKI_MAX => Ok((None, spki)),
        item => {
            let mut items = Items::of(item, 2)?;
            let number = items.any()?.as_integer().and_then(|number| number.try_into().ok());
            Ok((Some(number.ok_or(Reason::WrongShape)?), items.bytes(SPKI_MAX)?))
        }
    }
}
