//! What a token does with its keys.

use cryptoki::error::{Error as Refusal, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{
    DecryptionPublic, Encapsulation, OaepHash, RSA_LEN, SigningAlgorithm, SigningPublic,
};
use zeroize::Zeroizing;

use crate::application::Hash;
use crate::error::{Change, Error};
use crate::token::application::{digest_info, hashes, in_use};
use crate::token::connection::Connection;
use crate::token::failure::TokenFault;
use crate::token::keys::{TokenId, TokenKey, TokenKeys};

/// The tag of the OCTET STRING that some want around a point.
const OCTET_STRING: u8 = 0x04;

impl Connection {
    /// Whether this is the token that made `keys`, whether it still has them, and whether each
    /// does what its public half says.
    pub(crate) fn recognise(&mut self, keys: &TokenKeys) -> Result<(), Error> {
        if self.identity != keys.identity {
            return Err(Error::Changed(Change::Replaced));
        }
        self.try_signing(&keys.signing)?;
        self.try_opening(&keys.decryption)?;
        self.try_opening(&keys.serial)?;
        self.try_apart(keys)
    }

    /// Of a SHA-256 digest, as the key is used: by CKM_ECDSA r and s, s in the lower half; by
    /// CKM_RSA_PKCS_PSS or CKM_RSA_PKCS 256 bytes.
    pub(crate) fn sign(
        &mut self,
        key: &TokenKey<SigningPublic>,
        digest: &[u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let private = self.hold(&key.id)?;
        if let SigningPublic::Es256(_) = key.public {
            let signature = self.session.sign(&Mechanism::Ecdsa, private, digest)?;
            let signature = <[u8; 64]>::try_from(signature.as_slice());
            let mut signature =
                signature.map_err(|_| TokenFault::incapable("ECDSA signatures of 64 bytes"))?;
            twinseal_scheme::keys::low_s(&mut signature);
            return Ok(signature.to_vec());
        }
        let signed = match key.public.algorithm() {
            SigningAlgorithm::Rs256 => {
                let info = [&digest_info(Hash::Sha256), &digest[..]].concat();
                self.session.sign(&Mechanism::RsaPkcs, private, &info)
            }
            _ => {
                let (hash_alg, mgf) = hashes(Hash::Sha256);
                let parameters = PkcsPssParams { hash_alg, mgf, s_len: 32.into() };
                self.session.sign(&Mechanism::RsaPkcsPss(parameters), private, digest)
            }
        };
        let signature = signed.map_err(|refusal| in_use(refusal, "RSA signatures with SHA-256"))?;
        match signature.len() {
            RSA_LEN => Ok(signature),
            _ => Err(TokenFault::incapable("RSA signatures of 256 bytes").into()),
        }
    }

    /// The 32 bytes that were encrypted to an RSA key (CKM_RSA_PKCS_OAEP, no label). What is
    /// nothing of the kind is [`TokenFault::Rejected`]; of a token that decrypts with another key
    /// and says nothing, whoever uses the bytes finds out.
    pub(crate) fn decrypt(
        &mut self,
        key: &TokenKey<DecryptionPublic>,
        ciphertext: &[u8; RSA_LEN],
    ) -> Result<Secret, Error> {
        let DecryptionPublic::RsaOaep(hash, _) = key.public else {
            return Err(Error::Misuse("RSA with a key on P-256"));
        };
        let (hash, mgf) = hashes(match hash {
            OaepHash::Sha256 => Hash::Sha256,
            OaepHash::Sha1 => Hash::Sha1,
        });
        let oaep = PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
        let private = self.hold(&key.id)?;
        let opened = self.session.decrypt(&Mechanism::RsaPkcsOaep(oaep), private, ciphertext);
        let opened = opened.map(Zeroizing::new);
        let opened = opened.map_err(|refusal| in_use(refusal, "RSA-OAEP"))?;
        Secret::try_from(opened.as_slice()).map_err(|_| TokenFault::Rejected.into())
    }

    /// The X coordinate of `point` times the key (CKM_ECDH1_DERIVE with CKD_NULL). The session
    /// object that it comes in is destroyed at once.
    pub(crate) fn agree(
        &mut self,
        key: &TokenKey<DecryptionPublic>,
        point: &[u8; 65],
    ) -> Result<Secret, Error> {
        if !matches!(key.public, DecryptionPublic::EcdhEs(_)) {
            return Err(Error::Misuse("an agreement with an RSA key"));
        }
        let private = self.hold(&key.id)?;
        let agreed = self.multiply(private, point)?;
        Secret::try_from(agreed.as_slice())
            .map_err(|_| TokenFault::incapable("ECDH on P-256").into())
    }

    /// The X coordinate of a point times a private key, as long as the curve's field.
    pub(super) fn multiply(
        &mut self,
        private: ObjectHandle,
        point: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let field_len = point.len() / 2;
        let derived = match self.derive(private, point) {
            Err(Refusal::Pkcs11(
                RvError::MechanismParamInvalid | RvError::ArgumentsBad | RvError::PublicKeyInvalid,
                _,
            )) => {
                self.wraps_points = !self.wraps_points;
                self.derive(private, point)?
            }
            derived => derived?,
        };
        let value = self.session.get_attributes(derived, &[AttributeType::Value]);
        self.session.destroy_object(derived)?;
        let agreed = value?.into_iter().find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(Zeroizing::new(value)),
            _ => None,
        });
        let unusable = TokenFault::incapable("ECDH whose result can be read");
        let agreed = agreed.ok_or(unusable.clone())?;
        // Some leave leading zeros out.
        let start = field_len.checked_sub(agreed.len()).ok_or(unusable.clone())?;
        let mut secret = Zeroizing::new(vec![0; field_len]);
        secret.get_mut(start..).ok_or(unusable)?.copy_from_slice(&agreed);
        Ok(secret)
    }

    /// Random bytes of the token, XORed with as many of the operating system.
    pub(crate) fn random(&mut self, length_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(vec![0; length_bytes]);
        self.session.generate_random_slice(&mut bytes)?;
        let mut others = Zeroizing::new(vec![0; length_bytes]);
        OsRng.fill_bytes(&mut others);
        bytes.iter_mut().zip(others.iter()).for_each(|(byte, other)| *byte ^= other);
        Ok(bytes)
    }

    /// A signature that verifies under the public half.
    pub(super) fn try_signing(&mut self, key: &TokenKey<SigningPublic>) -> Result<(), Error> {
        let mut message = [0; 32];
        OsRng.fill_bytes(&mut message);
        let signature = self.sign(key, &Sha256::digest(message).into())?;
        let unable = match key.public.algorithm() {
            SigningAlgorithm::Es256 => "ECDSA with the key that it was asked for",
            _ => "RSA signatures with SHA-256 by the key that it was asked for",
        };
        match key.public.has_signed(&message, &signature) {
            true => Ok(()),
            false => Err(TokenFault::incapable(unable).into()),
        }
    }

    /// A secret that comes out as it went in. A token that computes with another key says nothing
    /// of it.
    pub(super) fn try_opening(&mut self, key: &TokenKey<DecryptionPublic>) -> Result<(), Error> {
        let (encapsulation, expected) = drawn_for(&key.public)?;
        let (opened, unable) = match &encapsulation {
            Encapsulation::EcdhEs(point) => {
                (self.agree(key, point.point()), "ECDH with the key that it was asked for")
            }
            Encapsulation::RsaOaep(_, ciphertext) => {
                (self.decrypt(key, ciphertext), "RSA-OAEP with the key that it was asked for")
            }
        };
        match opened {
            Ok(opened) if opened == expected => Ok(()),
            Ok(_) | Err(Error::Token(TokenFault::Rejected)) => {
                Err(TokenFault::incapable(unable).into())
            }
            Err(error) => Err(error),
        }
    }

    /// What was encrypted to one RSA key must not come out right when another is asked for. That
    /// something comes out is no harm: nobody takes it for an answer.
    pub(super) fn try_apart(&mut self, keys: &TokenKeys) -> Result<(), Error> {
        let TokenKeys { decryption, serial, .. } = keys;
        for (asked, other) in [(decryption, serial), (serial, decryption)] {
            let (encapsulation, secret) = drawn_for(&other.public)?;
            let (DecryptionPublic::RsaOaep(..), Encapsulation::RsaOaep(_, ciphertext)) =
                (&asked.public, &encapsulation)
            else {
                return Ok(());
            };
            match self.decrypt(asked, ciphertext) {
                Ok(opened) if opened == secret => {
                    let what = "RSA-OAEP with no other key than it was asked for";
                    return Err(TokenFault::incapable(what).into());
                }
                Ok(_) | Err(Error::Token(TokenFault::Rejected)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn derive(&self, private: ObjectHandle, point: &[u8]) -> Result<ObjectHandle, Refusal> {
        let field_len = point.len() / 2;
        // Below 128 bytes, its length is one byte.
        let wrapped = [&[OCTET_STRING, point.len() as u8], point].concat();
        let point = if self.wraps_points { &wrapped[..] } else { point };
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen((field_len as u64).into()),
        ];
        match self.session.derive_key(&mechanism, private, &template) {
            // There are tokens that know the length better.
            Err(Refusal::Pkcs11(
                RvError::TemplateInconsistent
                | RvError::AttributeTypeInvalid
                | RvError::AttributeReadOnly,
                _,
            )) => self.session.derive_key(&mechanism, private, &template[..5]),
            derived => derived,
        }
    }

    fn hold(&mut self, id: &TokenId) -> Result<ObjectHandle, Error> {
        self.hold_object(id, ObjectClass::PRIVATE_KEY)
    }

    /// The object with this id: a private half, or a secret.
    pub(super) fn hold_object(
        &mut self,
        id: &TokenId,
        class: ObjectClass,
    ) -> Result<ObjectHandle, Error> {
        if let Some(found) = self.found.get(id) {
            return Ok(*found);
        }
        let template = [Attribute::Class(class), Attribute::Id(id.to_vec())];
        match self.session.find_objects(&template)?.as_slice() {
            [] => Err(Error::Changed(Change::Cleared)),
            [one] => {
                self.found.insert(*id, *one);
                Ok(*one)
            }
            _ => Err(TokenFault::Failed("two keys of one id".to_owned()).into()),
        }
    }
}

fn drawn_for(public: &DecryptionPublic) -> Result<(Encapsulation, Secret), Error> {
    Encapsulation::draw(public, [], &mut OsRng)
        .map_err(|_| Error::Misuse("a key that nothing can be encrypted to"))
}
