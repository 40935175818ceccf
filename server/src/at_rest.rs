//! Encryption of what the database holds: AES-256-GCM under keys derived from the at-rest key.
//!
//! The at-rest key is in the secrets folder, outside the data folder, so a stolen database says
//! neither who the devices belong to nor what they trade. Every value is bound to its place, so
//! values cannot change places either.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hmac::{Hmac, Mac};
use rand_core::{OsRng, RngCore};
use sha2::Sha256;
use twinseal_scheme::Secret;
use twinseal_scheme::id::DeviceId;
use zeroize::Zeroizing;

const NONCE_LEN: usize = 12;
const VALUE: &[u8] = b"twinseal-server/at-rest/v1";
const TAG: &[u8] = b"twinseal-server/at-rest-tag/v1";

/// Where an encrypted value stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Table and column, such as `devices.user_info`.
    pub column: &'static str,
    /// The device that the value belongs to; zeros where there is none.
    pub device: DeviceId,
    /// The device's generation; 0 where the value outlives generations.
    pub generation: u32,
    /// The rest of the row's natural key.
    pub row: &'a [u8],
}

/// A value that does not open: another at-rest key, or bytes that were changed or moved.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not open under the at-rest key")]
pub struct Unreadable(pub &'static str);

/// The at-rest key.
pub struct AtRest {
    key: Secret,
}

impl AtRest {
    /// Takes the key over.
    pub fn new(key: Secret) -> AtRest {
        AtRest { key }
    }

    /// Encrypts a value for its place: nonce, ciphertext, tag.
    ///
    /// # Errors
    /// [`Unreadable`] for a value of more than 64 GiB.
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut nonce = [0; NONCE_LEN];
        OsRng.fill_bytes(&mut nonce);
        let aad = place.aad();
        let sealed = self
            .cipher(&aad)
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: plaintext, aad: &aad })
            .map_err(|_| Unreadable(place.column))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Decrypts a value in its place.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(&self, place: &Place<'_>, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let unreadable = || Unreadable(place.column);
        let (nonce, sealed) = value.split_at_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let aad = place.aad();
        let payload = Payload { msg: sealed, aad: &aad };
        let opened = self.cipher(&aad).decrypt(Nonce::from_slice(nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| unreadable())
    }

    /// A value to look something up by without storing it: equal things have equal tags, and
    /// without the key nobody can try candidates.
    pub fn tag(&self, what: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut input = vec![what.as_bytes()];
        input.extend_from_slice(parts);
        self.mac(TAG, &input)
    }

    /// One key a place, so that random nonces of 96 bits never get near their limit.
    fn cipher(&self, aad: &[u8]) -> Aes256Gcm {
        let key = Zeroizing::new(self.mac(VALUE, &[aad]));
        Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&*key))
    }

    fn mac(&self, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..32].copy_from_slice(self.key.expose());
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block);
        zeroize::Zeroize::zeroize(block.as_mut_slice());
        for part in [label].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        let column = self.column.as_bytes();
        let length = (column.len() as u32).to_be_bytes();
        [&length[..], column, &self.device.0, &self.generation.to_be_bytes(), self.row].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_place_only() {
        let at_rest = AtRest::new(Secret::new([1; 32]));
        let place =
            |column, generation, row| Place { column, device: DeviceId([2; 16]), generation, row };
        let here = place("devices.user_info", 1, &[][..]);
        let value = at_rest.seal(&here, b"plain").unwrap();
        assert_eq!(*at_rest.open(&here, &value).unwrap(), b"plain");
        for other in [
            place("devices.verdict", 1, &[][..]),
            place("devices.user_info", 2, &[][..]),
            place("devices.user_info", 1, &[0][..]),
        ] {
            assert!(at_rest.open(&other, &value).is_err());
        }
        assert!(AtRest::new(Secret::new([3; 32])).open(&here, &value).is_err());
        assert!(at_rest.open(&here, &value[..5]).is_err());
    }

    #[test]
    fn tags_depend_on_every_part_and_its_borders() {
        let at_rest = AtRest::new(Secret::new([1; 32]));
        let tag = at_rest.tag("serial", &[b"ab", b"c"]);
        assert_eq!(tag, at_rest.tag("serial", &[b"ab", b"c"]));
        assert_ne!(tag, at_rest.tag("serial", &[b"a", b"bc"]));
        assert_ne!(tag, at_rest.tag("term", &[b"ab", b"c"]));
    }
}
