//! Keys are made in the token, never leave it, and may do one thing.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use twinseal_scheme::keys::P256Public;

use crate::error::Error;
use crate::token::connection::Connection;
use crate::token::failure::TokenFault;
use crate::token::keys::{TokenId, TokenKey, TokenKeys};

/// namedCurve prime256v1 (RFC 5480, section 2.1.1.1), DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What a key is for, and may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Sign,
    Decrypt,
    Serial,
}

impl Use {
    /// CKA_LABEL, for people who look into the token.
    fn label(self) -> &'static [u8] {
        match self {
            Use::Sign => b"twinseal signing key",
            Use::Decrypt => b"twinseal decryption key",
            Use::Serial => b"twinseal serial key",
        }
    }

    fn signs(self) -> bool {
        self == Use::Sign
    }
}

impl Connection {
    /// Makes the three keys of an enrolment, and tries each. What fails leaves nothing behind.
    pub(crate) fn create_keys(&mut self, ids: [TokenId; 3]) -> Result<TokenKeys, Error> {
        let mut made = Vec::new();
        for (purpose, id) in [Use::Sign, Use::Decrypt, Use::Serial].into_iter().zip(ids) {
            match self.create_pair(purpose, id) {
                Ok(key) => made.push(key),
                Err(error) => {
                    // Whatever there is of it goes as well.
                    let _ = self.destroy(&id);
                    for key in &made {
                        let _ = self.destroy(&key.id);
                    }
                    return Err(error);
                }
            }
        }
        let mut made = made.into_iter();
        let mut next = || made.next().ok_or(Error::Misuse("three keys that are not three"));
        Ok(TokenKeys {
            identity: self.identity.clone(),
            signing: next()?,
            decryption: next()?,
            serial: next()?,
        })
    }

    fn create_pair(&mut self, purpose: Use, id: [u8; 16]) -> Result<TokenKey, Error> {
        let both = [
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(purpose.label().to_vec()),
        ];
        let mut public = both.to_vec();
        public.extend([
            Attribute::Private(false),
            Attribute::EcParams(P256.to_vec()),
            Attribute::Verify(purpose.signs()),
        ]);
        let private = [&both[..], &restrictions(purpose)].concat();
        let pair = self.session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        self.check(pair.1, &restrictions(purpose))?;
        let public = self.public_half(pair.0)?;
        self.found.insert(id, pair.1);
        let key = TokenKey { id, public };
        match purpose.signs() {
            true => self.try_signing(&key)?,
            false => self.try_agreeing(&key)?,
        }
        Ok(key)
    }

    /// Whether the token has given the private half the attributes that were asked for. What it
    /// does not know it does not tell.
    pub(super) fn check(&self, private: ObjectHandle, asked: &[Attribute]) -> Result<(), Error> {
        let mut types: Vec<AttributeType> = asked.iter().map(Attribute::attribute_type).collect();
        types.extend([AttributeType::Local, AttributeType::NeverExtractable]);
        let given = self.session.get_attributes(private, &types)?;
        let is_wrong = |attribute: &Attribute| match attribute {
            Attribute::Local(is) | Attribute::NeverExtractable(is) => !is,
            given => !asked.contains(given),
        };
        match given.iter().any(is_wrong) {
            true => Err(TokenFault::incapable("keys that stay in it and do one thing").into()),
            false => Ok(()),
        }
    }

    /// The point comes in an OCTET STRING, as the standard has it, or bare.
    fn public_half(&self, public: ObjectHandle) -> Result<P256Public, Error> {
        let given = self.session.get_attributes(public, &[AttributeType::EcPoint])?;
        let point = given.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point.as_slice()),
            _ => None,
        });
        let point = point.map(|point| match point {
            [0x04, 0x41, bare @ ..] if bare.len() == 65 => bare,
            bare => bare,
        });
        point
            .and_then(|point| P256Public::from_point(point).ok())
            .ok_or_else(|| TokenFault::incapable("public keys on P-256 that can be read").into())
    }

    /// Both halves, and whatever else has this id.
    pub(super) fn destroy(&mut self, id: &TokenId) -> Result<(), Error> {
        self.found.remove(id);
        for object in self.session.find_objects(&[Attribute::Id(id.to_vec())])? {
            self.session.destroy_object(object)?;
        }
        Ok(())
    }
}

/// What the private half is, and all that it may do.
fn restrictions(purpose: Use) -> Vec<Attribute> {
    vec![
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(purpose.signs()),
        Attribute::Derive(!purpose.signs()),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ]
}
