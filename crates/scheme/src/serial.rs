//! The hardware serial: what names a device's chip, and nothing else (scheme, section 1).
//!
//! It is computed from the public endorsement key, so it is no secret and never a key.
//! It does name one device for life, so it stays out of logs: `Debug` does not show it,
//! and there is no `Display`.

use std::fmt;

use ciborium::value::Value;
use subtle::{Choice, ConstantTimeEq};

use crate::cbor::{self, Item};
use crate::secret::sha256;
use crate::tpm::PublicKey;
use crate::{Reason, label};

/// The hardware serial `S`, 32 bytes.
#[derive(Clone, Copy)]
pub struct HardwareSerial([u8; 32]);

impl HardwareSerial {
    /// Of a TPM: `SHA-256("twinseal/S/v1" || 0x00 || EKc)`, where `EKc` is the one
    /// canonical encoding of the endorsement key.
    pub fn of_endorsement_key(key: &PublicKey) -> Self {
        HardwareSerial(tagged_hash(label::SERIAL, &canonical_key(key)))
    }

    /// Of a PKCS#11 token, from what `C_GetTokenInfo` says:
    /// `SHA-256("twinseal/S/token/v1" || 0x00 || CBOR[manufacturer, model, serial])`.
    /// Spaces and zero bytes around the three fields are padding and do not count.
    ///
    /// # Errors
    /// [`Reason::TokenSerialEmpty`], [`Reason::TokenSerialZero`]: such a serial number is
    /// no token's own.
    pub fn of_token(manufacturer: &str, model: &str, serial: &str) -> Result<Self, Reason> {
        let [manufacturer, model, serial] =
            [manufacturer, model, serial].map(|field| field.trim_matches(is_padding));
        if serial.is_empty() {
            return Err(Reason::TokenSerialEmpty);
        }
        if serial.bytes().all(|byte| byte == b'0') {
            return Err(Reason::TokenSerialZero);
        }
        let fields = Value::Array([manufacturer, model, serial].map(Item::item).to_vec());
        Ok(HardwareSerial(tagged_hash(label::TOKEN_SERIAL, &cbor::encode(&fields))))
    }

    /// A serial that was computed before, or that somebody states.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        HardwareSerial(bytes)
    }

    /// The 32 bytes, as they enter key derivations and authenticated data.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What two people read to each other when a device is approved by hand: eight
    /// base32 characters in two groups, the first 40 bits of
    /// `SHA-256("twinseal/S/check/v1" || 0x00 || S)`.
    pub fn short_check(&self) -> String {
        let hash = tagged_hash(label::SERIAL_CHECK, &self.0);
        grouped(&base32(&hash)[..CHECK_CHARS])
    }

    /// What programs tell chips apart by, without S: sixteen hexadecimal digits, the first 64 bits
    /// of `SHA-256("twinseal/S/tag/v1" || 0x00 || S)`.
    pub fn tag(&self) -> String {
        let hash = tagged_hash(label::SERIAL_TAG, &self.0);
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The form for people: lower-case base32 (RFC 4648, section 6, without padding) in
    /// groups of four, the last two groups being the [short check](Self::short_check).
    pub fn to_text(&self) -> String {
        format!("{}-{}", grouped(&base32(&self.0)), self.short_check())
    }

    /// Reads the form for people. Capitals, and other or no hyphens and spaces, do no harm.
    ///
    /// # Errors
    /// [`BadSerialText`] when it is none, or when the check does not fit: mistyped.
    pub fn from_text(text: &str) -> Result<Self, BadSerialText> {
        let characters: Vec<u8> = text
            .bytes()
            .filter(|byte| !matches!(byte, b'-' | b' '))
            .map(|byte| byte.to_ascii_lowercase())
            .collect();
        let (serial, check) = characters.split_at_checked(SERIAL_CHARS).ok_or(BadSerialText)?;
        let serial = HardwareSerial(from_base32(serial).ok_or(BadSerialText)?);
        let expected = base32(&tagged_hash(label::SERIAL_CHECK, &serial.0));
        match expected.get(..CHECK_CHARS) == Some(check) {
            true => Ok(serial),
            false => Err(BadSerialText),
        }
    }
}

/// What was typed is not a hardware serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a hardware serial, or mistyped: compare it again with `twinseal hardware` on the device"
)]
pub struct BadSerialText;

impl ConstantTimeEq for HardwareSerial {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for HardwareSerial {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for HardwareSerial {}

impl fmt::Debug for HardwareSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HardwareSerial(..)")
    }
}

/// 256 bits in base32.
const SERIAL_CHARS: usize = 52;
const CHECK_CHARS: usize = 8;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `EKc`: `u16(type) || u16(bits or curve) || key`, all of a fixed length per kind.
/// The public area or the SPKI would not do: one key has several of either.
fn canonical_key(key: &PublicKey) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(modulus) = key.modulus() {
        out.extend_from_slice(&[0x00, 0x01]);
        // At most 4096 bits, so the number fits.
        out.extend_from_slice(&(modulus.len() as u16 * 8).to_be_bytes());
        out.extend_from_slice(modulus);
        out.extend_from_slice(&65537u32.to_be_bytes());
    }
    if let Some((curve, point)) = key.point() {
        out.extend_from_slice(&[0x00, 0x23]);
        out.extend_from_slice(&curve.id().to_be_bytes());
        out.extend(point.iter().skip(1));
    }
    out
}

fn tagged_hash(label: &str, content: &[u8]) -> [u8; 32] {
    sha256(&[label.as_bytes(), &[0], content])
}

fn is_padding(c: char) -> bool {
    c.is_whitespace() || c == '\0'
}

/// The base32 characters of 32 bytes; the last one has four zero bits at its end.
fn base32(bytes: &[u8; 32]) -> [u8; SERIAL_CHARS] {
    std::array::from_fn(|character| {
        let value = (0..5).fold(0u8, |value, bit| {
            let position = character * 5 + bit;
            let byte = bytes.get(position / 8).copied().unwrap_or(0);
            value << 1 | (byte >> (7 - position % 8) & 1)
        });
        ALPHABET[usize::from(value)]
    })
}

/// `None` for other characters, or when the four bits that are left over are not zero.
fn from_base32(characters: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    for (index, character) in characters.iter().enumerate() {
        let value = ALPHABET.iter().position(|c| c == character)?;
        for bit in 0..5 {
            let position = index * 5 + bit;
            let set = value >> (4 - bit) & 1 == 1;
            match bytes.get_mut(position / 8) {
                Some(byte) => *byte |= u8::from(set) << (7 - position % 8),
                None if set => return None,
                None => (),
            }
        }
    }
    Some(bytes)
}

fn grouped(characters: &[u8]) -> String {
    let groups: Vec<_> = characters.chunks(4).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tpm::testing::{p256_key, rsa_2048_key};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn an_elliptic_curve_serial_is_the_hash_of_type_curve_and_coordinates() {
        let key = p256_key(1);
        let (_, point) = key.point().unwrap();
        let preimage = [b"twinseal/S/v1\0\x00\x23\x00\x03", &point[1..]].concat();
        let expected = sha256(&[&preimage[..]]);
        assert_eq!(HardwareSerial::of_endorsement_key(&key).as_bytes(), &expected);
    }

    #[test]
    fn an_rsa_serial_is_the_hash_of_type_bits_modulus_and_exponent() {
        let key = rsa_2048_key();
        let preimage =
            [b"twinseal/S/v1\0\x00\x01\x08\x00", key.modulus().unwrap(), &[0, 1, 0, 1]].concat();
        let expected = sha256(&[&preimage[..]]);
        assert_eq!(HardwareSerial::of_endorsement_key(&key).as_bytes(), &expected);
    }

    #[test]
    fn a_token_serial_ignores_padding_and_nothing_else() {
        let padded = HardwareSerial::of_token("Vendor   ", "Model\0\0", "  0042 ").unwrap();
        assert_eq!(padded, HardwareSerial::of_token("Vendor", "Model", "0042").unwrap());
        assert_ne!(padded, HardwareSerial::of_token("Vendor", "Mode", "l0042").unwrap());
        let preimage = b"twinseal/S/token/v1\0\x83\x66Vendor\x65Model\x640042";
        let expected = sha256(&[&preimage[..]]);
        assert_eq!(padded.as_bytes(), &expected);
    }

    #[test]
    fn a_token_without_a_serial_of_its_own_is_refused() {
        let of = |serial| HardwareSerial::of_token("Vendor", "Model", serial);
        assert_eq!(of(" \0 "), Err(Reason::TokenSerialEmpty));
        assert_eq!(of(" 0000 "), Err(Reason::TokenSerialZero));
        assert!(of("00001").is_ok());
    }

    #[test]
    fn the_form_for_people_is_fixed() {
        let serial = HardwareSerial::from_bytes([0; 32]);
        let check = sha256(&[b"twinseal/S/check/v1\0", &[0; 32]]);
        assert_eq!(hex(&check[..5]), "5a3f094fde");
        assert_eq!(serial.short_check(), "li7q-st66");
        assert_eq!(serial.tag(), "4bbe705afa98f06a");
        assert_eq!(serial.to_text(), format!("{}li7q-st66", "aaaa-".repeat(13)));
    }

    #[test]
    fn what_people_change_in_typing_does_no_harm_and_a_wrong_character_does() {
        let serial = HardwareSerial::from_bytes([0xa5; 32]);
        let text = serial.to_text();
        let typed = text.to_uppercase().replace('-', " ");
        assert_eq!(HardwareSerial::from_text(&typed), Ok(serial));
        let wrong = text.replacen(&text[..1], "b", 1);
        assert_ne!(wrong, text);
        assert_eq!(HardwareSerial::from_text(&wrong), Err(BadSerialText));
        assert_eq!(HardwareSerial::from_text(&text[..60]), Err(BadSerialText));
        assert_eq!(HardwareSerial::from_text(&format!("{text}a")), Err(BadSerialText));
    }

    #[test]
    fn bits_behind_the_last_byte_must_be_zero() {
        let text = HardwareSerial::from_bytes([0; 32]).to_text();
        let changed = format!("{}b{}", &text[..63], &text[64..]);
        assert_eq!(HardwareSerial::from_text(&changed), Err(BadSerialText));
    }

    #[test]
    fn debug_does_not_show_it() {
        let serial = HardwareSerial::from_bytes([0xa5; 32]);
        assert_eq!(format!("{serial:?}"), "HardwareSerial(..)");
    }

    proptest! {
        #[test]
        fn the_form_for_people_reads_back(bytes: [u8; 32]) {
            let serial = HardwareSerial::from_bytes(bytes);
            prop_assert_eq!(HardwareSerial::from_text(&serial.to_text()), Ok(serial));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = HardwareSerial::from_text(&text);
        }
    }
}
