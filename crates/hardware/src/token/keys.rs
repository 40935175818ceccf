//! Keys in a token, as they are kept between two starts.

use twinseal_scheme::enrol::TokenIdentity;
use twinseal_scheme::keys::P256Public;
use zeroize::Zeroizing;

use crate::at_rest::{Reader, Writer};
use crate::error::Error;

const TITLE: &[u8] = b"twinseal token keys 1";

/// Everything that a token holds for one enrolment. It is worth nothing without the token, and
/// holds no secret: the PIN is what authorises the use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// Which token.
    pub identity: TokenIdentity,
    /// The signing key: ECDSA P-256.
    pub signing: TokenKey,
    /// The decryption key: ECDH P-256.
    pub decryption: TokenKey,
    /// The serial key: ECDH P-256.
    pub serial: TokenKey,
}

/// A key pair in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// CKA_ID of both halves: random.
    pub(crate) id: [u8; 16],
    pub(crate) public: P256Public,
}

impl TokenKey {
    /// The public half.
    pub fn public(&self) -> &P256Public {
        &self.public
    }
}

impl TokenKeys {
    pub(crate) fn all(&self) -> [&TokenKey; 3] {
        [&self.signing, &self.decryption, &self.serial]
    }

    /// The keys for a file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(TITLE);
        let TokenIdentity { manufacturer, model, number } = &self.identity;
        for text in [manufacturer, model, number] {
            writer.field(text.as_bytes());
        }
        for key in self.all() {
            writer.field(&key.id);
            writer.field(key.public.point());
        }
        writer.finish()
    }

    /// What [`TokenKeys::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(TITLE, bytes)?;
        let text = |reader: &mut Reader<'_>| {
            String::from_utf8(reader.field()?.to_vec())
                .map_err(|_| Error::Misuse("a stored token that is not named in UTF-8"))
        };
        let key = |reader: &mut Reader<'_>| {
            let id = reader.array()?;
            let public = P256Public::from_point(reader.field()?)
                .map_err(|_| Error::Misuse("a stored key that is not on P-256"))?;
            Ok::<_, Error>(TokenKey { id, public })
        };
        let keys = Self {
            identity: TokenIdentity {
                manufacturer: text(&mut reader)?,
                model: text(&mut reader)?,
                number: text(&mut reader)?,
            },
            signing: key(&mut reader)?,
            decryption: key(&mut reader)?,
            serial: key(&mut reader)?,
        };
        reader.finish()?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_core::OsRng;
    use twinseal_scheme::keys::P256Private;

    use super::*;
    use crate::chip::ChipKeys;

    #[test]
    fn stored_keys_come_back_as_they_were_and_every_cut_is_refused() {
        let key = |seed| TokenKey {
            id: [seed; 16],
            public: P256Private::generate(&mut OsRng).public().clone(),
        };
        let text = |text: &str| text.to_owned();
        let identity =
            TokenIdentity { manufacturer: text("V"), model: text("M"), number: text("42") };
        let keys = TokenKeys { identity, signing: key(1), decryption: key(2), serial: key(3) };
        let stored = keys.to_bytes();
        assert_eq!(TokenKeys::from_bytes(&stored).unwrap(), keys);
        assert_eq!(ChipKeys::from_bytes(&stored).unwrap().to_bytes(), stored);
        for length in 0..stored.len() {
            let cut = stored.get(..length).unwrap();
            assert_eq!(ChipKeys::from_bytes(cut).unwrap_err().code(), "misuse");
        }
    }
}
