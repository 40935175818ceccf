//! A secret on its way to whoever has a decryption key.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{DecryptionPublic, OaepHash, P256Private, P256Public, RSA_LEN};
use crate::Reason;
use crate::secret::{Secret, expand, sha256};

/// What a decryption key, or a token's serial key, turns into a secret of 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// An ephemeral key to agree with. The secret is the shared X coordinate.
    EcdhEs(P256Public),
    /// The secret by RSAES-OAEP with the empty label: 256 bytes to decrypt.
    RsaOaep(OaepHash, Box<[u8; RSA_LEN]>),
}

impl Encapsulation {
    /// Draws a secret for `to`. An agreement gives one that both keys have made. What RSA encrypts
    /// is the sender's alone, and so it is hedged: a generator that repeats itself repeats it only
    /// for the same `context`, never under one nonce for two plaintexts.
    ///
    /// # Errors
    /// [`Reason::BadPoint`], [`Reason::UnknownKey`]; neither can happen with a key that was checked.
    pub fn draw<const N: usize>(
        to: &DecryptionPublic,
        context: [&[u8]; N],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Encapsulation, Secret), Reason> {
        match to {
            DecryptionPublic::EcdhEs(key) => {
                let ephemeral = P256Private::generate(rng);
                let secret = ephemeral.agree(key)?;
                Ok((Encapsulation::EcdhEs(ephemeral.public().clone()), secret))
            }
            DecryptionPublic::RsaOaep(hash, key) => {
                let mut random = Zeroizing::new([0; 32]);
                rng.fill_bytes(random.as_mut_slice());
                let hashes = context.map(|part| sha256(&[part]));
                let secret = expand(&Secret::new(*random), &[hashes.as_flattened()]);
                let encrypted = Box::new(key.encrypt(*hash, &secret, rng)?);
                Ok((Encapsulation::RsaOaep(*hash, encrypted), secret))
            }
        }
    }

    /// Reads what [`Encapsulation::bytes`] gives of one for `key`, before a chip sees it.
    ///
    /// # Errors
    /// [`Reason::WrongShape`] for another length, [`Reason::BadPoint`]; [`Reason::RsaNumber`] for
    /// one that is not below the modulus.
    pub fn decode(key: &DecryptionPublic, bytes: &[u8]) -> Result<Encapsulation, Reason> {
        match key {
            DecryptionPublic::EcdhEs(_) if bytes.len() == super::POINT_LEN => {
                P256Public::from_point(bytes).map(Encapsulation::EcdhEs)
            }
            DecryptionPublic::RsaOaep(hash, key) if bytes.len() == RSA_LEN => {
                let number = key.number(bytes).and_then(|number| number.try_into().ok());
                let number = Box::new(number.ok_or(Reason::RsaNumber)?);
                Ok(Encapsulation::RsaOaep(*hash, number))
            }
            _ => Err(Reason::WrongShape),
        }
    }

    /// The uncompressed point, 65 bytes, or the ciphertext, 256 bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Encapsulation::EcdhEs(ephemeral) => ephemeral.point(),
            Encapsulation::RsaOaep(_, encrypted) => encrypted.as_slice(),
        }
    }
}
