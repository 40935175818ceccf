//! RSA-2048 once more, by hand (RFC 8017), so that any part of it can be made wrong.

use ::rsa::BigUint;
use sha1::{Digest, Sha1};

use crate::crypto::{remembered, sha256};
use crate::format::{folder, parse, unhex};

/// RSAES-OAEP in COSE, with SHA-256 and with SHA-1.
pub const OAEP_SHA256: i64 = -41;
pub const OAEP_SHA1: i64 = -40;
/// Bytes of the modulus.
const LEN: usize = 256;

/// A key pair from the file `drawn-rsa.txt`, which OpenSSL made.
#[derive(Clone)]
pub struct RsaKey {
    pub modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaKey {
    /// `signing`, `decryption` or `serial`.
    pub fn kept(name: &str) -> RsaKey {
        let fields = parse(&std::fs::read_to_string(folder().join("drawn-rsa.txt")).unwrap());
        let field = |part: &str| {
            let key = format!("rsa-{name}-{part}");
            unhex(&fields.iter().find(|(found, _)| *found == key).unwrap().1)
        };
        RsaKey { modulus: field("modulus"), exponent: field("exponent") }
    }

    pub fn spki(&self) -> Vec<u8> {
        spki_of(&self.modulus)
    }

    pub fn id(&self) -> [u8; 32] {
        sha256(self.spki())
    }

    /// RSASSA-PSS with SHA-256 (section 8.1.1, 9.1.1).
    pub fn sign_pss(&self, message: &[u8], salt: &[u8]) -> Vec<u8> {
        let hash = sha256([&[0; 8][..], &sha256(message), salt].concat());
        let mut block = vec![0; LEN - salt.len() - 34];
        block.push(1);
        block.extend_from_slice(salt);
        mask(sha2, &mut block, &hash);
        // The modulus has 2048 bits, the encoding one less.
        block[0] &= 0x7f;
        self.private(&[&block[..], &hash, &[0xbc]].concat())
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 (section 8.2.1, 9.2).
    pub fn sign_pkcs1(&self, message: &[u8]) -> Vec<u8> {
        let digest = [unhex("3031300d060960864801650304020105000420"), sha256(message).to_vec()];
        let digest = digest.concat();
        let padding = vec![0xff; LEN - 3 - digest.len()];
        self.private(&[&[0, 1][..], &padding, &[0], &digest].concat())
    }

    /// RSAES-OAEP with the empty label, by its number in COSE (section 7.1.1); the seed is as long
    /// as the hash, of more the beginning counts.
    pub fn encrypt(&self, oaep: i64, message: &[u8], seed: [u8; 32]) -> Vec<u8> {
        let hash = if oaep == OAEP_SHA1 { sha1 } else { sha2 };
        let mut block = hash(&[]);
        let mut seed = seed[..block.len()].to_vec();
        block.resize(LEN - 2 - seed.len() - message.len(), 0);
        block.push(1);
        block.extend_from_slice(message);
        mask(hash, &mut block, &seed);
        mask(hash, &mut seed, &block);
        self.power(&[&[0][..], &seed, &block].concat(), &[1, 0, 1])
    }

    fn private(&self, encoded: &[u8]) -> Vec<u8> {
        let key = self.modulus.last_chunk().unwrap();
        remembered(b"rsa", key, encoded, || self.power(encoded, &self.exponent))
    }

    fn power(&self, base: &[u8], exponent: &[u8]) -> Vec<u8> {
        let number = BigUint::from_bytes_be;
        let power = number(base).modpow(&number(exponent), &number(&self.modulus)).to_bytes_be();
        [vec![0; LEN - power.len()], power].concat()
    }
}

/// SubjectPublicKeyInfo (RFC 3279 section 2.3.1) of a modulus of 2048 bits.
pub fn spki_of(modulus: &[u8]) -> Vec<u8> {
    let head = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
    [unhex(head), modulus.to_vec(), unhex("0203010001")].concat()
}

/// XORs with MGF1 (appendix B.2.1).
fn mask(hash: fn(&[u8]) -> Vec<u8>, block: &mut [u8], seed: &[u8]) {
    let len = hash(&[]).len();
    for (counter, part) in block.chunks_mut(len).enumerate() {
        let stream = hash(&[seed, &(counter as u32).to_be_bytes()].concat());
        part.iter_mut().zip(stream).for_each(|(byte, other)| *byte ^= other);
    }
}

fn sha2(bytes: &[u8]) -> Vec<u8> {
    sha256(bytes).to_vec()
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    Sha1::digest(bytes).to_vec()
}
