//! An application's key is used once when it is made, and the result is checked in software: a
//! token that computes with another key, or something else, says nothing of it.

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::{self, VerificationAlgorithm};
use cryptoki::mechanism::MechanismType;
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256, Sha384};
use twinseal_scheme::tpm::PublicKey;

use crate::application::{Hash, KeyAlgorithm, SignScheme};
use crate::error::Error;
use crate::token::application_key::TokenApplicationKey;
use crate::token::connection::Connection;
use crate::token::failure::TokenFault;

const OTHER_KEY: &str = "what it was asked for with the key that it was asked for";

impl Connection {
    /// Whether a key does what it is for.
    pub(super) fn try_application_key(&mut self, key: &TokenApplicationKey) -> Result<(), Error> {
        let Some(public) = &key.public else { return self.try_code(key) };
        if key.uses.sign {
            self.try_signature(key, public)?;
        }
        match (key.uses.decrypt, key.algorithm.curve()) {
            (true, Some(_)) => self.try_agreement(key, public),
            (true, None) => self.try_decryption(key, public),
            (false, _) => Ok(()),
        }
    }

    /// Nobody can check a code but who has the secret: that it depends on the data, and on nothing
    /// else, is what can be seen.
    fn try_code(&mut self, key: &TokenApplicationKey) -> Result<(), Error> {
        let mut code = |data: &[u8]| self.sign_digest(key, SignScheme::HmacSha256, data);
        let [one, again, other] = [code(b"one")?, code(b"one")?, code(b"other")?];
        expect(one == again && one != other)
    }

    fn try_signature(
        &mut self,
        key: &TokenApplicationKey,
        public: &PublicKey,
    ) -> Result<(), Error> {
        let mut message = [0; 32];
        OsRng.fill_bytes(&mut message);
        let sha256 = Sha256::digest(message).to_vec();
        let (scheme, digest, algorithm): (_, _, &dyn VerificationAlgorithm) = match key.algorithm {
            KeyAlgorithm::EccP256 => {
                (SignScheme::Ecdsa, sha256, &signature::ECDSA_P256_SHA256_FIXED)
            }
            KeyAlgorithm::EccP384 => {
                let digest = Sha384::digest(message).to_vec();
                (SignScheme::Ecdsa, digest, &signature::ECDSA_P384_SHA384_FIXED)
            }
            _ if self.has(MechanismType::RSA_PKCS, 0) => {
                let scheme = SignScheme::RsaPkcs1(Hash::Sha256);
                (scheme, sha256, &signature::RSA_PKCS1_2048_8192_SHA256)
            }
            _ => {
                let scheme = SignScheme::RsaPss(Hash::Sha256);
                (scheme, sha256, &signature::RSA_PSS_2048_8192_SHA256)
            }
        };
        let signed = self.sign_digest(key, scheme, &digest)?;
        let der = public.spki_der();
        let bytes = public.point().map_or(der.as_slice(), |(_, point)| point);
        let verifier = signature::UnparsedPublicKey::new(algorithm, bytes);
        expect(verifier.verify(&message, &signed).is_ok())
    }

    fn try_agreement(
        &mut self,
        key: &TokenApplicationKey,
        public: &PublicKey,
    ) -> Result<(), Error> {
        let curve = match key.algorithm {
            KeyAlgorithm::EccP256 => &agreement::ECDH_P256,
            _ => &agreement::ECDH_P384,
        };
        let failed = |_| Error::Misuse("no key on a curve of ours");
        let other = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(failed)?;
        let others_public = other.compute_public_key().map_err(failed)?;
        let agreed = self.agree_with(key, others_public.as_ref())?;
        let point = public.point().map(|(_, point)| point).unwrap_or_default();
        let public = UnparsedPublicKey::new(curve, point);
        let same = agree_ephemeral(other, public, (), |ours| Ok(ours == agreed.as_slice()));
        expect(same == Ok(true))
    }

    /// With SHA-256, or with SHA-1, which some tokens know alone.
    fn try_decryption(
        &mut self,
        key: &TokenApplicationKey,
        public: &PublicKey,
    ) -> Result<(), Error> {
        let mut message = [0; 32];
        OsRng.fill_bytes(&mut message);
        let mut opened = |hash, algorithm| {
            let ciphertext = encrypted(public, algorithm, &message)?;
            self.decrypt_oaep(key, hash, b"", &ciphertext)
        };
        let opened = match opened(Hash::Sha256, &OAEP_SHA256_MGF1SHA256) {
            Err(Error::Token(TokenFault::Incapable(_))) => opened(Hash::Sha1, &OAEP_SHA1_MGF1SHA1),
            opened => opened,
        };
        expect(*opened? == message)
    }
}

fn encrypted(
    public: &PublicKey,
    algorithm: &'static OaepAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let failed = Error::Misuse("no encryption to an RSA key of ours");
    let key = PublicEncryptingKey::from_der(&public.spki_der()).map_err(|_| failed.clone())?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed.clone())?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(algorithm, message, &mut ciphertext, None).map_err(|_| failed)?;
    Ok(ciphertext)
}

fn expect(it: bool) -> Result<(), Error> {
    match it {
        true => Ok(()),
        false => Err(TokenFault::incapable(OTHER_KEY).into()),
    }
}
