//! An application's key in a token, as it is kept between two starts.

use twinseal_scheme::tpm::PublicKey;
use zeroize::Zeroizing;

use crate::application::{KeyAlgorithm, Uses};
use crate::at_rest::{Reader, Writer};
use crate::error::Error;
use crate::token::keys::{TokenId, sent_as_stored};

const TITLE: &[u8] = b"twinseal token application key 1";
const BROKEN: Error = Error::Misuse("a stored key of a token that is none");

/// An application's key in a token: a pair, or a secret for HMAC. It is worth nothing without
/// the token, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenApplicationKey {
    /// CKA_ID of all of it.
    pub(crate) id: TokenId,
    pub(crate) algorithm: KeyAlgorithm,
    pub(crate) uses: Uses,
    /// `None` for HMAC.
    pub(crate) public: Option<PublicKey>,
}

impl TokenApplicationKey {
    /// CKA_ID of its objects in the token, which its owner does not see.
    pub fn id(&self) -> TokenId {
        self.id
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let public = self.public.as_ref();
        let point = public.and_then(|key| key.point()).map(|(_, point)| point);
        let mut writer = Writer::new(TITLE);
        writer.field(&self.id);
        writer.field(self.algorithm.word().as_bytes());
        writer.field(&[u8::from(self.uses.sign), u8::from(self.uses.decrypt)]);
        writer.field(point.or_else(|| public?.modulus()).unwrap_or_default());
        writer.finish()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(TITLE, bytes)?;
        let id = reader.array()?;
        let word = std::str::from_utf8(reader.field()?).map_err(|_| BROKEN)?;
        let algorithm = KeyAlgorithm::of_word(word).ok_or(BROKEN)?;
        let [sign, decrypt] = reader.array()?;
        let public = public_of(algorithm, reader.field()?)?;
        reader.finish()?;
        Ok(Self { id, algorithm, uses: Uses { sign: sign != 0, decrypt: decrypt != 0 }, public })
    }
}

/// The public half out of an uncompressed point or a modulus, which is checked; of HMAC there is
/// none.
///
/// # Errors
/// [`Error::Misuse`] when it is none of this algorithm.
pub(super) fn public_of(algorithm: KeyAlgorithm, bytes: &[u8]) -> Result<Option<PublicKey>, Error> {
    let key = match (algorithm.curve(), algorithm.modulus_len(), bytes) {
        (Some(curve), _, [0x04, xy @ ..]) if xy.len() == 2 * curve.field_len() => {
            let (x, y) = xy.split_at(curve.field_len());
            PublicKey::ecc(curve, x, y)
        }
        (None, Some(length), modulus) if modulus.len() == length => PublicKey::rsa(modulus),
        (None, None, []) => return Ok(None),
        _ => return Err(BROKEN),
    };
    key.map(Some).map_err(|_| BROKEN)
}

sent_as_stored!(TokenApplicationKey);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_core::OsRng;
    use twinseal_scheme::keys::P256Private;

    use super::*;
    use crate::application::ApplicationKey;

    #[test]
    fn a_stored_key_comes_back_as_it_was_and_every_cut_is_refused() {
        let point = *P256Private::generate(&mut OsRng).public().point();
        let key = |algorithm, public: &[u8]| TokenApplicationKey {
            id: [7; 16],
            algorithm,
            uses: Uses { sign: true, decrypt: false },
            public: public_of(algorithm, public).unwrap(),
        };
        let mut modulus = [0xff; 256];
        modulus[0] = 0xc0;
        for key in [
            key(KeyAlgorithm::EccP256, &point),
            key(KeyAlgorithm::Rsa2048, &modulus),
            key(KeyAlgorithm::HmacSha256, &[]),
        ] {
            let stored = ApplicationKey::from(key.clone()).to_bytes();
            let ApplicationKey::Token(read) = ApplicationKey::from_bytes(&stored).unwrap() else {
                unreachable!("a TPM's");
            };
            assert_eq!(*read, key);
            for length in 0..stored.len() {
                let cut = stored.get(..length).unwrap();
                assert_eq!(ApplicationKey::from_bytes(cut).unwrap_err().code(), "misuse");
            }
        }
        assert!(public_of(KeyAlgorithm::EccP384, &point).is_err());
        assert!(public_of(KeyAlgorithm::HmacSha256, &point).is_err());
        assert!(public_of(KeyAlgorithm::EccP256, &[]).is_err());
    }
}
