//! The key layer towards a public key, `Ea` and `Da`: ECDH-ES with an ephemeral key, or the content
//! key encrypted by RSA-OAEP.
//!
//! Used downward with the device's decryption key, and at enrolment with the server's
//! encryption key. Upward the key layer is a signature; see [`crate::cose::sign1`].

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::Reason;
use crate::cose::encrypt::{Encapsulation, Encrypted, PROTECTED_ECDH_ES, Recipient};
use crate::cose::kdf::{self, Context, Parties};
use crate::keys::{DecryptionPublic, P256Private, P256Public, RsaPublic};
use crate::secret::{Secret, expand, extract, sha256};

/// The context of one message: who speaks to whom, and what is authenticated besides.
pub(crate) struct KeyLayer<'a> {
    pub parties: Parties<'a>,
    pub aad: &'a [u8],
}

impl KeyLayer<'_> {
    /// Encrypts to a device's decryption key.
    pub(crate) fn seal_to(
        &self,
        to: &DecryptionPublic,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        match to {
            DecryptionPublic::EcdhEs(key) => self.seal(key, plaintext, rng),
            DecryptionPublic::RsaOaep(key) => self.seal_by_rsa(key, plaintext, rng),
        }
    }

    /// Encrypts to a P-256 key.
    pub(crate) fn seal(
        &self,
        to: &P256Public,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let ephemeral = P256Private::generate(rng);
        let key = self.agreed_key(ephemeral.public(), &ephemeral.agree(to)?);
        let recipient = Recipient::Key(Encapsulation::EcdhEs(ephemeral.public().clone()));
        Ok(Encrypted::seal(recipient, &key, plaintext, self.aad)?.encode())
    }

    /// Encrypts to an RSA key. The content key is hedged: a generator that repeats itself repeats
    /// it only for the same plaintext in the same place, so never under one nonce for two.
    fn seal_by_rsa(
        &self,
        to: &RsaPublic,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let mut random = Zeroizing::new([0; 32]);
        rng.fill_bytes(random.as_mut_slice());
        let hashes = [sha256(&[self.aad]), sha256(&[plaintext])];
        let key = expand(&Secret::new(*random), &[hashes.as_flattened()]);
        let recipient = Recipient::Key(Encapsulation::RsaOaep(to.encrypt(&key, rng)?));
        Ok(Encrypted::seal(recipient, &key, plaintext, self.aad)?.encode())
    }

    /// Decrypts, given the secret that the decryption key has made of the encapsulation.
    pub(crate) fn open(
        &self,
        encrypted: &Encrypted,
        encapsulation: &Encapsulation,
        secret: &Secret,
    ) -> Result<Vec<u8>, Reason> {
        let key = match encapsulation {
            Encapsulation::EcdhEs(ephemeral) => &self.agreed_key(ephemeral, secret),
            Encapsulation::RsaOaep(_) => secret,
        };
        encrypted.open(key, self.aad, Reason::BadKeyLayer)
    }

    /// Both coordinates of the ephemeral key are bound, since a negated point agrees on the
    /// same X and would make other valid bytes of the same message.
    fn agreed_key(&self, ephemeral: &P256Public, z: &Secret) -> Secret {
        let (x, y) = ephemeral.coordinates();
        let context = Context::new(self.parties, PROTECTED_ECDH_ES, &[self.aad, x, y]);
        // RFC 9053 section 5.1: without a salt the extract step uses zeros.
        kdf::content_key(&extract(&[0; 32], z.expose()), &context)
    }
}
