//! Keys in a token, as they are kept between two starts.

use rand_core::{OsRng, RngCore};
use twinseal_scheme::Reason;
use twinseal_scheme::enrol::TokenIdentity;
use twinseal_scheme::keys::{
    DecryptionAlgorithm, DecryptionPublic, SigningAlgorithm, SigningPublic,
};
use zeroize::Zeroizing;

use crate::at_rest::{Reader, Writer};
use crate::error::Error;

const TITLE: &[u8] = b"twinseal token keys 1";
const TITLE_OF_ONE: &[u8] = b"twinseal token key 1";

/// CKA_ID of whatever belongs together in a token: drawn at random.
pub type TokenId = [u8; 16];

/// Ids for what is about to be made in a token.
pub fn draw_token_ids<const N: usize>() -> [TokenId; N] {
    let mut ids = [[0; 16]; N];
    ids.iter_mut().for_each(|id| OsRng.fill_bytes(id));
    ids
}

/// Everything that a token holds for one enrolment. It is worth nothing without the token, and
/// holds no secret: the PIN is what authorises the use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// Which token.
    pub identity: TokenIdentity,
    /// The signing key: ECDSA P-256, or RSA-2048 with PSS or PKCS #1 v1.5.
    pub signing: TokenKey<SigningPublic>,
    /// The decryption key: ECDH P-256, or RSA-2048 with OAEP.
    pub decryption: TokenKey<DecryptionPublic>,
    /// The serial key: as the decryption key.
    pub serial: TokenKey<DecryptionPublic>,
}

/// A key pair in a token, with its public half, which says how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey<P> {
    /// CKA_ID of both halves: random.
    pub(crate) id: TokenId,
    pub(crate) public: P,
}

/// A public half with the number of its algorithm in COSE, and its SubjectPublicKeyInfo.
pub trait Stored: Sized {
    /// Number and key.
    fn parts(&self) -> (i16, Vec<u8>);

    /// What [`Stored::parts`] gave.
    ///
    /// # Errors
    /// Those of the key's own reading.
    fn from_parts(number: i16, spki: &[u8]) -> Result<Self, Reason>;
}

impl Stored for SigningPublic {
    fn parts(&self) -> (i16, Vec<u8>) {
        (self.algorithm().number(), self.spki())
    }

    fn from_parts(number: i16, spki: &[u8]) -> Result<Self, Reason> {
        Self::from_spki(SigningAlgorithm::of_number(number.into())?, spki)
    }
}

impl Stored for DecryptionPublic {
    fn parts(&self) -> (i16, Vec<u8>) {
        (self.algorithm().number(), self.spki())
    }

    fn from_parts(number: i16, spki: &[u8]) -> Result<Self, Reason> {
        Self::from_spki(DecryptionAlgorithm::of_number(number.into())?, spki)
    }
}

impl<P> TokenKey<P> {
    /// The public half.
    pub fn public(&self) -> &P {
        &self.public
    }
}

impl<P: Stored> TokenKey<P> {
    fn write(&self, writer: &mut Writer) {
        let (number, spki) = self.public.parts();
        writer.field(&self.id);
        writer.field(&number.to_be_bytes());
        writer.field(&spki);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let id = reader.array()?;
        let number = i16::from_be_bytes(reader.array()?);
        let public = P::from_parts(number, reader.field()?)
            .map_err(|_| Error::Misuse("a stored key that is not of the scheme"))?;
        Ok(Self { id, public })
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(TITLE_OF_ONE);
        self.write(&mut writer);
        writer.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(TITLE_OF_ONE, bytes)?;
        let key = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(key)
    }
}

impl TokenKeys {
    /// What they stand under in the token.
    pub fn ids(&self) -> [TokenId; 3] {
        [self.signing.id, self.decryption.id, self.serial.id]
    }

    /// The keys for a file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(TITLE);
        let TokenIdentity { manufacturer, model, number } = &self.identity;
        for text in [manufacturer, model, number] {
            writer.field(text.as_bytes());
        }
        self.signing.write(&mut writer);
        self.decryption.write(&mut writer);
        self.serial.write(&mut writer);
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
        let keys = Self {
            identity: TokenIdentity {
                manufacturer: text(&mut reader)?,
                model: text(&mut reader)?,
                number: text(&mut reader)?,
            },
            signing: TokenKey::read(&mut reader)?,
            decryption: TokenKey::read(&mut reader)?,
            serial: TokenKey::read(&mut reader)?,
        };
        reader.finish()?;
        Ok(keys)
    }
}

/// The form in which keys are stored is also that in which they go to the token's process.
macro_rules! sent_as_stored {
    ($($name:ty)*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.to_bytes())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
                Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(super) use sent_as_stored;

sent_as_stored!(TokenKey<SigningPublic> TokenKey<DecryptionPublic> TokenKeys);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_core::OsRng;
    use twinseal_scheme::keys::{OaepHash, P256Private, RsaPublic};

    use super::*;
    use crate::chip::ChipKeys;

    #[test]
    fn stored_keys_come_back_as_they_were_and_every_cut_is_refused() {
        let point = || P256Private::generate(&mut OsRng).public().clone();
        let rsa = RsaPublic::from_modulus(&[0xc5; 256]).unwrap();
        let signing = TokenKey { id: [1; 16], public: SigningPublic::Ps256(rsa.clone()) };
        let sha1 = DecryptionPublic::RsaOaep(OaepHash::Sha1, rsa);
        let decryption = TokenKey { id: [2; 16], public: sha1 };
        let serial = TokenKey { id: [3; 16], public: DecryptionPublic::EcdhEs(point()) };
        let text = |text: &str| text.to_owned();
        let identity =
            TokenIdentity { manufacturer: text("V"), model: text("M"), number: text("42") };
        let keys = TokenKeys { identity, signing, decryption, serial };
        let stored = keys.to_bytes();
        assert_eq!(TokenKeys::from_bytes(&stored).unwrap(), keys);
        assert_eq!(ChipKeys::from_bytes(&stored).unwrap().to_bytes(), stored);
        for length in 0..stored.len() {
            let cut = stored.get(..length).unwrap();
            assert_eq!(ChipKeys::from_bytes(cut).unwrap_err().code(), "misuse");
        }
    }
}
