//! A key layer by RSA-OAEP, item by item.

use crate::crypto::gcm;
use crate::forge::labels_map;
use crate::rsa::OAEP_SHA1;
use crate::wire::{array, bstr, int, tag, tstr, uint};

/// The COSE_Encrypt as its encoded items.
#[derive(Clone)]
pub struct OaepLayer {
    pub protected: Vec<u8>,
    pub algorithm: i64,
    pub encrypted_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

impl OaepLayer {
    pub fn new(
        algorithm: i64,
        encrypted: Vec<u8>,
        key: &[u8; 32],
        aad: &[u8],
        plaintext: &[u8],
    ) -> OaepLayer {
        let protected = labels_map(&[(1, uint(3))]);
        let structure = array(&[tstr("Encrypt"), bstr(&protected), bstr(aad)]);
        OaepLayer {
            protected: bstr([]),
            algorithm,
            encrypted_key: bstr(encrypted),
            ciphertext: bstr(gcm(key, &[0; 12], plaintext, &structure)),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = labels_map(&[(1, int(self.algorithm))]);
        let recipient = array(&[self.protected.clone(), header, self.encrypted_key.clone()]);
        let body = bstr(labels_map(&[(1, uint(3))]));
        let iv = labels_map(&[(5, bstr([0; 12]))]);
        tag(96, array(&[body, iv, self.ciphertext.clone(), array(&[recipient])]))
    }
}

/// Bytes of OAEP's seed.
pub fn seed_len(oaep: i64) -> usize {
    if oaep == OAEP_SHA1 { 20 } else { 32 }
}
