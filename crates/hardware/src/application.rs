//! Keys of applications: what kinds there are, and what can be asked of them.
//!
//! They are children of a parent of their own, so that no key of the scheme is ever among them,
//! and have a type of their own, so that none is ever taken for one of the scheme's.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twinseal_scheme::tpm::{Curve, Public, PublicKey};
use zeroize::Zeroizing;

use crate::at_rest::{Reader, Writer};
use crate::chip::Chip;
use crate::config::AuthValue;
use crate::error::Error;
use crate::hardware::Lane;
use crate::key_file::KeyFile;
use crate::keys::{Child, Ek};
use crate::token::TokenApplicationKey;

/// What an application's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// NIST P-256.
    EccP256,
    /// NIST P-384.
    EccP384,
    /// RSA, 2048 bits, exponent 65537.
    Rsa2048,
    /// RSA, 3072 bits, exponent 65537.
    Rsa3072,
    /// A secret of 32 bytes for HMAC with SHA-256.
    HmacSha256,
}

/// What an application's key may do. A chip refuses everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Uses {
    /// Sign digests; for [`KeyAlgorithm::HmacSha256`], authenticate data.
    pub sign: bool,
    /// Decrypt with RSA, agree on a secret with ECDH.
    pub decrypt: bool,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hash {
    /// SHA-1: for OAEP, which does not need it to be free of collisions, and nothing else.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a digest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SignScheme {
    /// ECDSA (FIPS 186-5) over a digest of 20 to 64 bytes.
    Ecdsa,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) over a digest of this hash.
    RsaPkcs1(Hash),
    /// RSASSA-PSS (RFC 8017, section 8.1) over a digest of this hash, which MGF1 uses, too. The
    /// chip chooses the length of the salt; what has another than that of the hash is refused.
    RsaPss(Hash),
    /// HMAC with SHA-256 (FIPS 198-1) over at most 1024 bytes, which are no digest.
    HmacSha256,
}

/// An application's key at rest, in a chip of either kind. It is worth nothing without the chip.
#[derive(Clone, Debug)]
pub enum ApplicationKey {
    /// In a TPM.
    Tpm(TpmApplicationKey),
    /// In a token.
    Token(Box<TokenApplicationKey>),
}

/// An application's key at rest, of a TPM.
#[derive(Clone)]
pub struct TpmApplicationKey {
    pub(crate) child: Arc<Child>,
    algorithm: KeyAlgorithm,
}

/// The longest digest, key and signature are far below; what a chip takes for HMAC at once.
const DATA_LEN_MAX: usize = 1024;
const TITLE: &[u8] = b"twinseal application key 1";
/// TPM_ALG_KEYEDHASH (TPM 2.0 Library Part 2, section 6.3).
const KEYED_HASH: [u8; 2] = [0x00, 0x08];
/// TPMA_OBJECT (Part 2, section 8.3).
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] =
        [Self::EccP256, Self::EccP384, Self::Rsa2048, Self::Rsa3072, Self::HmacSha256];

    /// Its word in [`Description::algorithms`](crate::Description) and for callers.
    pub fn word(self) -> &'static str {
        match self {
            Self::EccP256 => "ecc-p256",
            Self::EccP384 => "ecc-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    /// The algorithm of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    /// The curve, of an elliptic one.
    pub(crate) fn curve(self) -> Option<Curve> {
        match self {
            Self::EccP256 => Some(Curve::P256),
            Self::EccP384 => Some(Curve::P384),
            _ => None,
        }
    }

    /// The modulus' length in bytes, of an RSA key.
    pub(crate) fn modulus_len(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(256),
            Self::Rsa3072 => Some(384),
            _ => None,
        }
    }
}

impl Hash {
    /// Every hash.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its word, such as `sha256`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The hash of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.word() == word)
    }
}

impl SignScheme {
    /// The scheme of a word: `ecdsa`, `rsa-pkcs1-sha256`, `rsa-pss-sha384`, `hmac-sha256` and
    /// their like. None of them is with SHA-1.
    pub fn of_word(word: &str) -> Option<Self> {
        let strong = |hash| Hash::of_word(hash).filter(|hash| *hash != Hash::Sha1);
        match word {
            "ecdsa" => Some(Self::Ecdsa),
            "hmac-sha256" => Some(Self::HmacSha256),
            _ => match word.strip_prefix("rsa-pkcs1-") {
                Some(hash) => strong(hash).map(Self::RsaPkcs1),
                None => strong(word.strip_prefix("rsa-pss-")?).map(Self::RsaPss),
            },
        }
    }

    /// Whether keys of this algorithm sign so, and `digest` is one for it.
    fn check(self, algorithm: KeyAlgorithm, digest: &[u8]) -> Result<(), Error> {
        let (fits, lengths) = match self {
            Self::Ecdsa => (algorithm.curve().is_some(), 20..=64),
            Self::HmacSha256 => (algorithm == KeyAlgorithm::HmacSha256, 0..=DATA_LEN_MAX),
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) => {
                (algorithm.modulus_len().is_some(), hash.digest_len()..=hash.digest_len())
            }
        };
        match (fits, lengths.contains(&digest.len())) {
            (false, _) => Err(Error::Misuse("the key does not sign by this scheme")),
            (_, false) => Err(Error::Misuse("the digest has another length than the scheme's")),
            _ => Ok(()),
        }
    }
}

impl ApplicationKey {
    /// What it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match self {
            ApplicationKey::Tpm(key) => key.algorithm,
            ApplicationKey::Token(key) => key.algorithm,
        }
    }

    /// What it may do.
    pub fn uses(&self) -> Uses {
        match self {
            ApplicationKey::Tpm(key) => key.uses(),
            ApplicationKey::Token(key) => key.uses,
        }
    }

    /// Its public half; `None` for HMAC, which has none.
    pub fn public_key(&self) -> Option<PublicKey> {
        match self {
            ApplicationKey::Tpm(key) => key.public_key(),
            ApplicationKey::Token(key) => key.public.clone(),
        }
    }

    /// The key for the agent's encrypted state.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        match self {
            ApplicationKey::Tpm(key) => {
                let mut writer = Writer::new(TITLE);
                key.child.write(&mut writer);
                writer.finish()
            }
            ApplicationKey::Token(key) => key.to_bytes(),
        }
    }

    /// What [`ApplicationKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if let Ok(key) = TokenApplicationKey::from_bytes(bytes) {
            return Ok(key.into());
        }
        let mut reader = Reader::new(TITLE, bytes)?;
        let child = Child::read(&mut reader)?;
        reader.finish()?;
        TpmApplicationKey::new(child).map(ApplicationKey::Tpm)
    }
}

impl TpmApplicationKey {
    pub(crate) fn new(child: Child) -> Result<Self, Error> {
        let algorithm =
            algorithm_of(&child.public).ok_or(Error::Misuse("a key of an unknown algorithm"))?;
        Ok(Self { child: Arc::new(child), algorithm })
    }

    /// What it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Its TPMT_PUBLIC.
    pub fn public(&self) -> &[u8] {
        &self.child.public
    }

    /// The TPMT_PUBLIC of its parent.
    pub fn parent(&self) -> &[u8] {
        &self.child.parent
    }

    /// What it may do.
    pub fn uses(&self) -> Uses {
        let attributes = self.child.public.get(4..8).and_then(|bytes| bytes.try_into().ok());
        let attributes = attributes.map_or(0, u32::from_be_bytes);
        Uses { sign: attributes & SIGN != 0, decrypt: attributes & DECRYPT != 0 }
    }

    /// Its public half; `None` for HMAC, which has none.
    pub fn public_key(&self) -> Option<PublicKey> {
        Public::parse(&self.child.public).ok().map(|public| public.key().clone())
    }
}

impl Uses {
    /// Whether a key can be made for them.
    pub(crate) fn check(self, algorithm: KeyAlgorithm) -> Result<(), Error> {
        let is_hmac = algorithm == KeyAlgorithm::HmacSha256;
        match !(self.sign || self.decrypt) || (is_hmac && self.decrypt) {
            true => Err(Error::Misuse("a key of this algorithm cannot be made for these uses")),
            false => Ok(()),
        }
    }
}

impl From<&ApplicationKey> for ApplicationKey {
    fn from(key: &ApplicationKey) -> Self {
        key.clone()
    }
}

impl From<&TpmApplicationKey> for ApplicationKey {
    fn from(key: &TpmApplicationKey) -> Self {
        ApplicationKey::Tpm(key.clone())
    }
}

impl From<TokenApplicationKey> for ApplicationKey {
    fn from(key: TokenApplicationKey) -> Self {
        ApplicationKey::Token(Box::new(key))
    }
}

impl fmt::Debug for TpmApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmApplicationKey({})", self.algorithm.word())
    }
}

/// Beside the errors of every request: [`Error::Rejected`] of `TPM2_Load`, or [`Error::Changed`],
/// when the key is of another chip, or of before this one was cleared; [`Error::Misuse`] for what
/// the key is not for; of a token, [`TokenFault::Incapable`](crate::TokenFault) for what it cannot.
impl Lane {
    /// Makes a key in a TPM, in a session that `ek`, which is this chip's, vouches for. Nothing of it
    /// stays behind in the chip. Its authValue is empty: what guards it is the chip, and what
    /// the agent lets callers do.
    ///
    /// # Errors
    /// [`Error::Unauthorised`]; [`Error::Changed`] when `ek` is not this chip's; [`Error::Failed`]
    /// when the chip does not know the algorithm: see [`Description`](crate::Description).
    pub async fn create_application_key(
        &self,
        ek: &Ek,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<TpmApplicationKey, Error> {
        uses.check(algorithm)?;
        let ek = ek.clone();
        let lane = self.making_keys();
        lane.ask(move |chip| chip.run(|c| c.create_application_key(&ek, algorithm, uses))).await
    }

    /// Takes a key out of a file that this chip can load, in a session as for
    /// [`Lane::create_application_key`]. `auth` is the key's password, empty where it has none;
    /// the key that is given back has none any more, since the agent guards it.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the file is another chip's or below another parent, or the
    /// password is wrong; [`Error::Unauthorised`]; [`Error::Changed`].
    pub async fn import_application_key(
        &self,
        ek: &Ek,
        file: KeyFile,
        auth: AuthValue,
    ) -> Result<TpmApplicationKey, Error> {
        let ek = ek.clone();
        self.ask(move |chip| chip.run(|c| c.import_application_key(&ek, &file, &auth))).await
    }

    /// Signs a digest. ECDSA gives r and s, each as long as the curve's field; RSA as many bytes
    /// as the modulus has; HMAC 32.
    pub async fn sign_digest(
        &self,
        key: impl Into<ApplicationKey>,
        scheme: SignScheme,
        digest: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let (key, digest) = (key.into(), Zeroizing::new(digest));
        scheme.check(key.algorithm(), &digest)?;
        let sign = move |chip: &mut Chip| match &key {
            ApplicationKey::Tpm(key) => chip.tpm()?.run(|c| match scheme {
                SignScheme::HmacSha256 => c.authenticate_data(key, &digest),
                _ => c.sign_digest(key, scheme, &digest),
            }),
            ApplicationKey::Token(key) => {
                chip.token()?.run(|p| p.sign_digest(key, scheme, &digest))
            }
        };
        self.ask_chip(sign).await
    }

    /// Opens what was encrypted by RSAES-OAEP (RFC 8017, section 7.1), whose two hashes are
    /// `hash`. A chip takes only labels that are empty or end with a byte of zero.
    ///
    /// # Errors
    /// [`Error::Rejected`] when `ciphertext` is nothing of the kind, which leaves the chip as it
    /// was.
    pub async fn decrypt_oaep(
        &self,
        key: impl Into<ApplicationKey>,
        hash: Hash,
        label: Vec<u8>,
        ciphertext: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = key.into();
        if key.algorithm().modulus_len() != Some(ciphertext.len()) {
            return Err(Error::Misuse("a ciphertext is as long as its RSA key"));
        }
        if label.last().is_some_and(|byte| *byte != 0) || label.len() > 64 {
            return Err(Error::Misuse("a label of at most 64 bytes ends with a byte of zero"));
        }
        let open = move |chip: &mut Chip| match &key {
            ApplicationKey::Tpm(key) => {
                chip.tpm()?.run(|c| c.decrypt_oaep(key, hash, &label, &ciphertext))
            }
            ApplicationKey::Token(key) => {
                chip.token()?.run(|p| p.decrypt_oaep(key, hash, &label, &ciphertext))
            }
        };
        self.ask_chip(open).await
    }

    /// The x coordinate of `peer` (uncompressed: `04 || X || Y`) times the private key, as long
    /// as the curve's field. That the point is on the curve is checked first.
    pub async fn agree_with(
        &self,
        key: impl Into<ApplicationKey>,
        peer: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = key.into();
        let curve = key.algorithm().curve().ok_or(Error::Misuse("the key does not agree"))?;
        let wrong = Error::Misuse("the other's public key is no uncompressed point of this curve");
        let (x, y) = match peer {
            [0x04, xy @ ..] if xy.len() == 2 * curve.field_len() => xy.split_at(curve.field_len()),
            _ => return Err(wrong),
        };
        PublicKey::ecc(curve, x, y).map_err(|_| wrong)?;
        let (x, y, peer) = (x.to_vec(), y.to_vec(), peer.to_vec());
        let agree = move |chip: &mut Chip| match &key {
            ApplicationKey::Tpm(key) => chip.tpm()?.run(|c| c.agree_with(key, &x, &y)),
            ApplicationKey::Token(key) => chip.token()?.run(|p| p.agree_with(key, &peer)),
        };
        self.ask_chip(agree).await
    }
}

/// What a TPMT_PUBLIC is, if it is of an algorithm known here.
fn algorithm_of(public: &[u8]) -> Option<KeyAlgorithm> {
    if public.starts_with(&KEYED_HASH) {
        return Some(KeyAlgorithm::HmacSha256);
    }
    let public = Public::parse(public).ok()?;
    let curve = public.key().point().map(|(curve, _)| curve);
    let modulus_len = public.key().modulus().map(<[u8]>::len);
    KeyAlgorithm::ALL.into_iter().find(|algorithm| match (curve, modulus_len) {
        (None, None) => false,
        (curve, modulus_len) => {
            algorithm.curve() == curve && algorithm.modulus_len() == modulus_len
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_come_back() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(KeyAlgorithm::of_word(algorithm.word()), Some(algorithm));
        }
        assert_eq!(SignScheme::of_word("ecdsa"), Some(SignScheme::Ecdsa));
        let pss = SignScheme::RsaPss(Hash::Sha384);
        assert_eq!(SignScheme::of_word("rsa-pss-sha384"), Some(pss));
        assert_eq!(SignScheme::of_word("rsa-pkcs1-sha1"), None);
        assert_eq!(SignScheme::of_word("rsa-pkcs1"), None);
    }

    #[test]
    fn a_digest_fits_its_scheme_and_its_key() {
        let check = |scheme: SignScheme, algorithm, len| scheme.check(algorithm, &vec![1; len]);
        let pkcs1 = SignScheme::RsaPkcs1(Hash::Sha256);
        assert_eq!(check(pkcs1, KeyAlgorithm::Rsa2048, 32), Ok(()));
        assert!(check(pkcs1, KeyAlgorithm::Rsa2048, 48).is_err());
        assert!(check(pkcs1, KeyAlgorithm::EccP256, 32).is_err());
        assert_eq!(check(SignScheme::Ecdsa, KeyAlgorithm::EccP256, 64), Ok(()));
        assert!(check(SignScheme::Ecdsa, KeyAlgorithm::EccP256, 65).is_err());
        assert!(check(SignScheme::Ecdsa, KeyAlgorithm::EccP256, 19).is_err());
        assert_eq!(check(SignScheme::HmacSha256, KeyAlgorithm::HmacSha256, 1024), Ok(()));
        assert!(check(SignScheme::HmacSha256, KeyAlgorithm::HmacSha256, 1025).is_err());
    }
}
