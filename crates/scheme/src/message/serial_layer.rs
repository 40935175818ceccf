//! The serial layer, `Es` and `Ds`: symmetric, keyed through the hardware serial.

use crate::Reason;
use crate::cose::encrypt::{Encrypted, PROTECTED_DIRECT_HKDF, Recipient};
use crate::cose::kdf::{self, Context, Parties};
use crate::direction::Direction;
use crate::label;
use crate::message::aad::{Frame, Layer};
use crate::secret::{Secret, equal, expand, extract, hmac, sha256};

/// One message's serial layer, ready to seal or to open.
pub(crate) struct SerialLayer {
    key: Secret,
    aad: Vec<u8>,
    device_id: [u8; 16],
    server_id: [u8; 32],
    direction: Direction,
}

impl SerialLayer {
    pub(crate) fn new(frame: &Frame<'_>, layer: Layer) -> SerialLayer {
        SerialLayer {
            key: frame.key.clone(),
            aad: frame.aad(layer),
            device_id: frame.bond.device_id.0,
            server_id: frame.bond.server_id.0,
            direction: frame.direction,
        }
    }

    /// Seals. The salt is hedged: a generator that repeats itself repeats a salt only for the
    /// same plaintext in the same place.
    pub(crate) fn seal(&self, plaintext: &[u8], random: &[u8; 32]) -> Result<Vec<u8>, Reason> {
        let salt_key = expand(&self.key, &[label::SALT.as_bytes()]);
        let salt = hmac(&salt_key, &[random, &sha256(&[&self.aad]), &sha256(&[plaintext])]);
        let (key, commitment) = self.derive(&salt);
        let recipient = Recipient::Direct { salt, commitment };
        Ok(Encrypted::seal(recipient, &key, plaintext, &self.aad)?.encode())
    }

    /// Opens. The commitment is compared before anything is decrypted, since AES-GCM alone
    /// lets one ciphertext open under two keys.
    ///
    /// # Errors
    /// Those of form, [`Reason::BadCommitment`], [`Reason::BadSerialLayer`].
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Vec<u8>, Reason> {
        let encrypted = Encrypted::decode_direct(bytes)?;
        let Recipient::Direct { salt, commitment } = &encrypted.recipient else {
            return Err(Reason::WrongHeader);
        };
        let (key, expected) = self.derive(salt);
        if !equal(commitment, &expected) {
            return Err(Reason::BadCommitment);
        }
        encrypted.open(&key, &self.aad, Reason::BadSerialLayer)
    }

    fn derive(&self, salt: &[u8; 32]) -> (Secret, [u8; 32]) {
        let prk = extract(salt, self.key.expose());
        let (device, server) = (&self.device_id[..], &self.server_id[..]);
        let parties = match self.direction {
            Direction::Up => Parties { sender: Some(device), receiver: server },
            Direction::Down => Parties { sender: Some(server), receiver: device },
        };
        let context = Context::new(parties, PROTECTED_DIRECT_HKDF, &[&self.aad]);
        (kdf::content_key(&prk, &context), kdf::commitment(&prk, &context))
    }
}
