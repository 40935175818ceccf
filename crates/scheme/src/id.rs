//! Names of parties and keys: fixed-length byte strings that cannot be mixed up.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($len:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Reason;

            /// Reads lower- or upper-case hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, crate::Reason> {
                unhex(text).map($name).ok_or(crate::Reason::WrongShape)
            }
        }

        impl crate::cbor::Item for $name {
            fn item(&self) -> ciborium::value::Value {
                self.0.item()
            }
        }
    )*};
}

ids! {
    /// A device as the wire knows it: random, given at enrolment, 16 bytes. It says nothing of the hardware.
    DeviceId(16);
    /// A server: the key id of its identity key, 32 bytes, pinned by devices.
    ServerId(32);
    /// A key: SHA-256 of its SubjectPublicKeyInfo in DER, 32 bytes.
    KeyId(32);
    /// One enrolment while it lives: random, 16 bytes.
    EnrolId(16);
    /// An application's key on one device: random, 16 bytes.
    ApplicationKeyId(16);
    /// One trade of one device: random, chosen by whoever opens it, 16 bytes.
    TradeId(16);
    /// What a message says, whatever it is sealed with: SHA-256 of its innermost content (scheme, section 8).
    InnerHash(32);
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut out = [0; N];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = digits else { return None };
        *byte = (char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_and_back() {
        let id = DeviceId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("a5".parse::<DeviceId>().is_err());
        assert!("+5".repeat(16).parse::<DeviceId>().is_err());
    }
}
