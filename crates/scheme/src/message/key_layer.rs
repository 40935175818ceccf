//! The key layer towards a public key, `Ea` and `Da`: ECDH-ES with an ephemeral key.
//!
//! Used downward with the device's decryption key, and at enrolment with the server's
//! encryption key. Upward the key layer is a signature; see [`crate::cose::sign1`].

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cose::encrypt::{Encrypted, PROTECTED_ECDH_ES, Recipient};
use crate::cose::kdf::{self, Context, Parties};
use crate::keys::{P256Private, P256Public};
use crate::secret::{Secret, extract};

/// The context of one message: who speaks to whom, and what is authenticated besides.
pub(crate) struct KeyLayer<'a> {
    pub parties: Parties<'a>,
    pub aad: &'a [u8],
}

impl KeyLayer<'_> {
    /// Encrypts to a public key.
    pub(crate) fn seal(
        &self,
        to: &P256Public,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let ephemeral = P256Private::generate(rng);
        let key = self.content_key(ephemeral.public(), &ephemeral.agree(to)?);
        let recipient = Recipient::EcdhEs { ephemeral: ephemeral.public().clone() };
        Ok(Encrypted::seal(recipient, &key, plaintext, self.aad)?.encode())
    }

    /// Decrypts what was read with [`Encrypted::decode_ecdh_es`], given the X coordinate of
    /// ECDH(own key, `ephemeral`).
    pub(crate) fn open(
        &self,
        encrypted: &Encrypted,
        ephemeral: &P256Public,
        z: &Secret,
    ) -> Result<Vec<u8>, Reason> {
        encrypted.open(&self.content_key(ephemeral, z), self.aad, Reason::BadKeyLayer)
    }

    /// Both coordinates of the ephemeral key are bound, since a negated point agrees on the
    /// same X and would make other valid bytes of the same message.
    fn content_key(&self, ephemeral: &P256Public, z: &Secret) -> Secret {
        let (x, y) = ephemeral.coordinates();
        let context = Context::new(self.parties, PROTECTED_ECDH_ES, &[self.aad, x, y]);
        // RFC 9053 section 5.1: without a salt the extract step uses zeros.
        kdf::content_key(&extract(&[0; 32], z.expose()), &context)
    }
}
