//! Deterministic CBOR (RFC 8949 section 4.2.1), and nothing else.
//!
//! Reading is strict by construction: the bytes are decoded leniently, encoded again and
//! compared, so that a value has exactly one encoding. Map order, which survives a
//! round trip, is checked by itself.

use ciborium::value::Value;

use crate::Reason;

/// Nesting allowed in one item, counting arrays, maps and tags.
const DEPTH_MAX: usize = 8;

/// Decodes one item of at most `size_max` bytes.
///
/// # Errors
/// [`Reason::TooLarge`], [`Reason::NotCbor`], [`Reason::TooDeep`],
/// [`Reason::NotDeterministic`].
pub fn decode(bytes: &[u8], size_max: usize) -> Result<Value, Reason> {
    if bytes.len() > size_max {
        return Err(Reason::TooLarge);
    }
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
        .map_err(|e| match e {
            ciborium::de::Error::RecursionLimitExceeded => Reason::TooDeep,
            _ => Reason::NotCbor,
        })?;
    if !rest.is_empty() {
        return Err(Reason::NotCbor);
    }
    if !maps_sorted(&value) || encode(&value) != bytes {
        return Err(Reason::NotDeterministic);
    }
    Ok(value)
}

/// Encodes a value. Maps must have been built in order, which [`decode`] would refuse otherwise.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    // Writing to a Vec cannot fail, and a Value has no part that cannot be encoded.
    let _: Result<(), _> = ciborium::ser::into_writer(value, &mut out);
    out
}

/// Something with one place in a CBOR array.
pub trait Item {
    /// The value that stands for it.
    fn item(&self) -> Value;
}

impl Item for Value {
    fn item(&self) -> Value {
        self.clone()
    }
}

impl Item for [u8] {
    fn item(&self) -> Value {
        Value::Bytes(self.to_vec())
    }
}

impl<const N: usize> Item for [u8; N] {
    fn item(&self) -> Value {
        Value::Bytes(self.to_vec())
    }
}

impl Item for Vec<u8> {
    fn item(&self) -> Value {
        Value::Bytes(self.clone())
    }
}

impl Item for str {
    fn item(&self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl Item for String {
    fn item(&self) -> Value {
        Value::Text(self.clone())
    }
}

macro_rules! integer_items {
    ($($t:ty)*) => {$(
        impl Item for $t {
            fn item(&self) -> Value { Value::Integer((*self).into()) }
        }
    )*};
}
integer_items! { u8 u16 u32 u64 i16 i64 }

impl<T: Item + ?Sized> Item for &T {
    fn item(&self) -> Value {
        (**self).item()
    }
}

impl<T: Item> Item for Option<T> {
    fn item(&self) -> Value {
        self.as_ref().map_or(Value::Null, Item::item)
    }
}

/// The encoding of an array of [`Item`]s.
macro_rules! array {
    ($($item:expr),* $(,)?) => {
        $crate::cbor::encode(&$crate::cbor::value!($($item),*))
    };
}

/// The value of an array of [`Item`]s.
macro_rules! value {
    ($($item:expr),* $(,)?) => {
        ::ciborium::value::Value::Array(vec![$($crate::cbor::Item::item(&$item)),*])
    };
}

pub(crate) use {array, value};

/// The items of an array, taken one by one; each wrong type or length is [`Reason::WrongShape`].
pub struct Items(std::vec::IntoIter<Value>);

impl Items {
    /// Takes an array of exactly `len` items apart.
    pub fn of(value: Value, len: usize) -> Result<Items, Reason> {
        match value {
            Value::Array(items) if items.len() == len => Ok(Items(items.into_iter())),
            _ => Err(Reason::WrongShape),
        }
    }

    /// Decodes bytes that are one array of exactly `len` items.
    pub fn decode(bytes: &[u8], size_max: usize, len: usize) -> Result<Items, Reason> {
        Items::of(decode(bytes, size_max)?, len)
    }

    /// The next item, whatever it is.
    pub fn any(&mut self) -> Result<Value, Reason> {
        self.0.next().ok_or(Reason::WrongShape)
    }

    /// An unsigned integer that fits into `T`.
    pub fn uint<T: TryFrom<u64>>(&mut self) -> Result<T, Reason> {
        let Value::Integer(n) = self.any()? else {
            return Err(Reason::WrongShape);
        };
        let n = u64::try_from(n).map_err(|_| Reason::WrongShape)?;
        T::try_from(n).map_err(|_| Reason::WrongShape)
    }

    /// A byte string of at most `len_max` bytes.
    pub fn bytes(&mut self, len_max: usize) -> Result<Vec<u8>, Reason> {
        match self.any()? {
            Value::Bytes(b) if b.len() <= len_max => Ok(b),
            _ => Err(Reason::WrongShape),
        }
    }

    /// A byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        self.bytes(N)?.try_into().map_err(|_| Reason::WrongShape)
    }

    /// A text of at most `len_max` bytes.
    pub fn text(&mut self, len_max: usize) -> Result<String, Reason> {
        match self.any()? {
            Value::Text(t) if t.len() <= len_max => Ok(t),
            _ => Err(Reason::WrongShape),
        }
    }

    /// An array of at most `len_max` items.
    pub fn list(&mut self, len_max: usize) -> Result<Vec<Value>, Reason> {
        match self.any()? {
            Value::Array(items) if items.len() <= len_max => Ok(items),
            _ => Err(Reason::WrongShape),
        }
    }

    /// Whether the next item is null; it is taken only then.
    pub fn null(&mut self) -> bool {
        let is_null = matches!(self.0.as_slice().first(), Some(Value::Null));
        if is_null {
            self.0.next();
        }
        is_null
    }
}

fn maps_sorted(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(maps_sorted),
        Value::Tag(_, inner) => maps_sorted(inner),
        Value::Map(pairs) => {
            let keys: Vec<_> = pairs.iter().map(|(k, _)| encode(k)).collect();
            keys.windows(2).all(|pair| pair[0] < pair[1])
                && pairs.iter().all(|(k, v)| maps_sorted(k) && maps_sorted(v))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(hex: &[u8]) -> Option<Reason> {
        decode(hex, 64).err()
    }

    #[test]
    fn one_encoding_of_every_value() {
        assert_eq!(reason(&[0x82, 0x01, 0x41, 0x00]), None);
        assert_eq!(reason(&[0xa2, 0x01, 0x02, 0x20, 0x03]), None, "1 sorts before -1");
        for (bytes, why) in [
            (&[0x18, 0x01][..], "integer longer than needed"),
            (&[0x58, 0x01, 0x00], "length longer than needed"),
            (&[0x9f, 0x01, 0xff], "indefinite array"),
            (&[0x5f, 0x41, 0x00, 0xff], "indefinite string"),
            (&[0xa2, 0x20, 0x03, 0x01, 0x02], "map out of order"),
            (&[0xa2, 0x01, 0x03, 0x01, 0x02], "map with a key twice"),
        ] {
            assert_eq!(reason(bytes), Some(Reason::NotDeterministic), "{why}");
        }
    }

    #[test]
    fn not_one_item() {
        assert_eq!(reason(&[]), Some(Reason::NotCbor));
        assert_eq!(reason(&[0x01, 0x01]), Some(Reason::NotCbor), "trailing byte");
        assert_eq!(reason(&[0x43, 0x01]), Some(Reason::NotCbor), "cut short");
        assert_eq!(reason(&[0x61, 0xff]), Some(Reason::NotCbor), "not UTF-8");
        assert_eq!(reason(&[0; 65]), Some(Reason::TooLarge));
    }

    #[test]
    fn eight_levels_and_no_more() {
        let nested = |n: usize| [vec![0x81; n], vec![0x01]].concat();
        assert_eq!(reason(&nested(DEPTH_MAX)), None);
        assert_eq!(reason(&nested(DEPTH_MAX + 1)), Some(Reason::TooDeep));
    }

    #[test]
    fn items_have_types_and_bounds() {
        let take = |b: &[u8]| Items::decode(b, 64, 1);
        assert_eq!(take(&[0x81, 0x05]).unwrap().uint::<u8>(), Ok(5));
        assert_eq!(take(&[0x81, 0x19, 1, 0]).unwrap().uint::<u8>(), Err(Reason::WrongShape));
        assert_eq!(take(&[0x81, 0x20]).unwrap().uint::<u8>(), Err(Reason::WrongShape));
        assert_eq!(take(&[0x81, 0x42, 1, 2]).unwrap().fixed::<2>(), Ok([1, 2]));
        assert_eq!(take(&[0x81, 0x42, 1, 2]).unwrap().fixed::<3>(), Err(Reason::WrongShape));
        assert_eq!(take(&[0x82, 1, 2]).err(), Some(Reason::WrongShape));
        assert!(take(&[0x81, 0xf6]).unwrap().null());
    }
}
