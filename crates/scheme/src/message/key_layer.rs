//! The key layer towards a public key, `Ea` and `Da`: ECDH-ES with an ephemeral key, or the content
//! key encrypted by RSA-OAEP.
//!
//! Used downward with the device's decryption key, and at enrolment with the server's
//! encryption key. Upward the key layer is a signature; see [`crate::cose::sign1`].

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cose::encrypt::{Encrypted, PROTECTED_ECDH_ES, Recipient};
use crate::cose::kdf::{self, Context, Parties};
use crate::keys::{DecryptionPublic, Encapsulation};
use crate::secret::{Secret, extract};

/// The context of one message: who speaks to whom, and what is authenticated besides.
pub(crate) struct KeyLayer<'a> {
    pub parties: Parties<'a>,
    pub aad: &'a [u8],
}

impl KeyLayer<'_> {
    /// Encrypts to a decryption key.
    pub(crate) fn seal(
        &self,
        to: &DecryptionPublic,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let (encapsulation, secret) = Encapsulation::draw(to, [self.aad, plaintext], rng)?;
        let key = self.content_key(&encapsulation, &secret);
        let recipient = Recipient::Key(encapsulation);
        Ok(Encrypted::seal(recipient, &key, plaintext, self.aad)?.encode())
    }

    /// Decrypts, given the secret that the decryption key has made of the encapsulation.
    pub(crate) fn open(
        &self,
        encrypted: &Encrypted,
        encapsulation: &Encapsulation,
        secret: &Secret,
    ) -> Result<Vec<u8>, Reason> {
        let key = self.content_key(encapsulation, secret);
        encrypted.open(&key, self.aad, Reason::BadKeyLayer)
    }

    /// Derived from what was agreed on; what was encrypted by RSA is the content key itself. Both
    /// coordinates of the ephemeral key are bound, since a negated point agrees on the same X and
    /// would make other valid bytes of the same message.
    fn content_key(&self, encapsulation: &Encapsulation, secret: &Secret) -> Secret {
        let Encapsulation::EcdhEs(ephemeral) = encapsulation else { return secret.clone() };
        let (x, y) = ephemeral.coordinates();
        let context = Context::new(self.parties, PROTECTED_ECDH_ES, &[self.aad, x, y]);
        // RFC 9053 section 5.1: without a salt the extract step uses zeros.
        kdf::content_key(&extract(&[0; 32], secret.expose()), &context)
    }
}
