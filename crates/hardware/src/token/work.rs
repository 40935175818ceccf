//! What a token does with its keys.

use cryptoki::error::{Error as Refusal, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{P256Private, SigningPublic};
use zeroize::Zeroizing;

use crate::error::{Change, Error};
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
        self.try_agreeing(&keys.decryption)?;
        self.try_agreeing(&keys.serial)
    }

    /// ECDSA of a SHA-256 digest (CKM_ECDSA): r and s, s in the lower half.
    pub(crate) fn sign(&mut self, key: &TokenKey, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let private = self.hold(key)?;
        let signature = Zeroizing::new(self.session.sign(&Mechanism::Ecdsa, private, digest)?);
        let signature = <[u8; 64]>::try_from(signature.as_slice());
        let mut signature =
            signature.map_err(|_| TokenFault::incapable("ECDSA signatures of 64 bytes"))?;
        twinseal_scheme::keys::low_s(&mut signature);
        Ok(signature.to_vec())
    }

    /// The X coordinate of `point` times the key (CKM_ECDH1_DERIVE with CKD_NULL). The session
    /// object that it comes in is destroyed at once.
    pub(crate) fn agree(&mut self, key: &TokenKey, point: &[u8; 65]) -> Result<Secret, Error> {
        let private = self.hold(key)?;
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
    pub(super) fn try_signing(&mut self, key: &TokenKey) -> Result<(), Error> {
        let mut message = [0; 32];
        OsRng.fill_bytes(&mut message);
        let signature = self.sign(key, &Sha256::digest(message).into())?;
        match SigningPublic::Es256(key.public.clone()).has_signed(&message, &signature) {
            true => Ok(()),
            false => Err(TokenFault::incapable("ECDSA with the key that it was asked for").into()),
        }
    }

    /// An agreement that comes to the same on both sides. A token that computes with another key
    /// says nothing of it.
    pub(super) fn try_agreeing(&mut self, key: &TokenKey) -> Result<(), Error> {
        let other = P256Private::generate(&mut OsRng);
        let expected =
            other.agree(&key.public).map_err(|_| Error::Misuse("a key off its curve"))?;
        match self.agree(key, other.public().point())? == expected {
            true => Ok(()),
            false => Err(TokenFault::incapable("ECDH with the key that it was asked for").into()),
        }
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

    fn hold(&mut self, key: &TokenKey) -> Result<ObjectHandle, Error> {
        self.hold_object(&key.id, ObjectClass::PRIVATE_KEY)
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
