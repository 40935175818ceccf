//! Keys are made in the token, never leave it, and may do one thing.
//!
//! P-256 is preferred; RSA-2048 is for tokens that cannot do it, and for operators who want it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use twinseal_scheme::keys::{
    DecryptionPublic, OaepHash, P256Public, RSA_LEN, RsaPublic, SigningPublic,
};

use crate::error::Error;
use crate::keys::KeyFamily;
use crate::token::connection::Connection;
use crate::token::failure::TokenFault;
use crate::token::keys::{TokenId, TokenKey, TokenKeys};

/// namedCurve prime256v1 (RFC 5480, section 2.1.1.1), DER.
pub(super) const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 65537.
pub(super) const EXPONENT: [u8; 3] = [1, 0, 1];

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

/// Of a pair that was made, and not tried yet.
enum PublicHalf {
    P256(P256Public),
    Rsa(RsaPublic),
}

impl Connection {
    /// Makes the three keys of an enrolment, and tries each. What fails leaves nothing behind.
    ///
    /// Of RSA are those that the token cannot make on P-256; with [`KeyFamily::Rsa`] those that
    /// sign and decrypt, always.
    pub(crate) fn create_keys(
        &mut self,
        ids: [TokenId; 3],
        family: KeyFamily,
    ) -> Result<TokenKeys, Error> {
        let keys = self.create_all(family, ids);
        if keys.is_err() {
            for id in &ids {
                let _ = self.destroy(id);
            }
        }
        keys
    }

    fn create_all(&mut self, family: KeyFamily, ids: [TokenId; 3]) -> Result<TokenKeys, Error> {
        let either: &[KeyFamily] = match family {
            KeyFamily::Ecc => &[KeyFamily::Ecc, KeyFamily::Rsa],
            KeyFamily::Rsa => &[KeyFamily::Rsa],
        };
        let [signing, decryption, serial] = ids;
        let signing = self.create_first(either, signing, Self::signing_key)?;
        let decryption = self.create_first(either, decryption, |this, family, id| {
            this.opening_key(Use::Decrypt, family, id)
        })?;
        // Who can agree with one key has to agree with the serial key.
        let either: &[KeyFamily] = match decryption.public {
            DecryptionPublic::EcdhEs(_) => &[KeyFamily::Ecc],
            DecryptionPublic::RsaOaep(..) => &[KeyFamily::Ecc, KeyFamily::Rsa],
        };
        let serial = self.create_first(either, serial, |this, family, id| {
            this.opening_key(Use::Serial, family, id)
        })?;
        let keys = TokenKeys { identity: self.identity.clone(), signing, decryption, serial };
        self.try_apart(&keys)?;
        Ok(keys)
    }

    /// Of the first family that the token is capable of.
    fn create_first<P>(
        &mut self,
        families: &[KeyFamily],
        id: TokenId,
        create: impl Fn(&mut Self, KeyFamily, TokenId) -> Result<TokenKey<P>, Error>,
    ) -> Result<TokenKey<P>, Error> {
        let mut lacks = Vec::new();
        for family in families {
            match create(self, *family, id) {
                Err(Error::Token(TokenFault::Incapable(what))) => lacks.push(what),
                done => return done,
            }
            self.destroy(&id)?;
        }
        Err(TokenFault::Incapable(lacks.join(", nor ").into()).into())
    }

    fn signing_key(
        &mut self,
        family: KeyFamily,
        id: TokenId,
    ) -> Result<TokenKey<SigningPublic>, Error> {
        let ways = match self.create_pair(Use::Sign, family, id)? {
            PublicHalf::P256(key) => vec![SigningPublic::Es256(key)],
            PublicHalf::Rsa(key) => {
                vec![SigningPublic::Ps256(key.clone()), SigningPublic::Rs256(key)]
            }
        };
        let keys = ways.into_iter().map(|public| TokenKey { id, public });
        self.first_that_works(keys, Self::try_signing)
    }

    fn opening_key(
        &mut self,
        purpose: Use,
        family: KeyFamily,
        id: TokenId,
    ) -> Result<TokenKey<DecryptionPublic>, Error> {
        let ways = match self.create_pair(purpose, family, id)? {
            PublicHalf::P256(key) => vec![DecryptionPublic::EcdhEs(key)],
            PublicHalf::Rsa(key) => [OaepHash::Sha256, OaepHash::Sha1]
                .map(|hash| DecryptionPublic::RsaOaep(hash, key.clone()))
                .to_vec(),
        };
        let keys = ways.into_iter().map(|public| TokenKey { id, public });
        self.first_that_works(keys, Self::try_opening)
    }

    /// One pair used in one way after the other.
    fn first_that_works<P>(
        &mut self,
        keys: impl Iterator<Item = TokenKey<P>>,
        attempt: impl Fn(&mut Self, &TokenKey<P>) -> Result<(), Error>,
    ) -> Result<TokenKey<P>, Error> {
        let mut last = Err(Error::Misuse("a key for nothing"));
        for key in keys {
            match attempt(self, &key) {
                Ok(()) => return Ok(key),
                // Tokens have many words for an algorithm that they do not know.
                Err(error @ Error::Token(TokenFault::Incapable(_) | TokenFault::Failed(_))) => {
                    last = Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        last
    }

    fn create_pair(
        &mut self,
        purpose: Use,
        family: KeyFamily,
        id: TokenId,
    ) -> Result<PublicHalf, Error> {
        self.abilities.check(family, purpose.signs())?;
        let both = [
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(purpose.label().to_vec()),
        ];
        let mut public = both.to_vec();
        public.extend([Attribute::Private(false), Attribute::Verify(purpose.signs())]);
        let mechanism = match family {
            KeyFamily::Ecc => {
                public.push(Attribute::EcParams(P256.to_vec()));
                Mechanism::EccKeyPairGen
            }
            KeyFamily::Rsa => {
                public.extend([
                    Attribute::Encrypt(!purpose.signs()),
                    Attribute::ModulusBits((RSA_LEN as u64 * 8).into()),
                    Attribute::PublicExponent(EXPONENT.to_vec()),
                ]);
                Mechanism::RsaPkcsKeyPairGen
            }
        };
        let restrictions = restrictions(purpose, family);
        let private = [&both[..], &restrictions].concat();
        let (public, private) = self.session.generate_key_pair(&mechanism, &public, &private)?;
        self.check(private, &restrictions)?;
        let public = match family {
            KeyFamily::Ecc => PublicHalf::P256(self.point(public)?),
            KeyFamily::Rsa => PublicHalf::Rsa(self.modulus(public)?),
        };
        self.found.insert(id, private);
        Ok(public)
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
    fn point(&self, public: ObjectHandle) -> Result<P256Public, Error> {
        let given = self.session.get_attributes(public, &[AttributeType::EcPoint])?;
        let point = given.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point.as_slice()),
            _ => None,
        });
        point
            .and_then(|point| P256Public::from_point(bare_point(point, 32)).ok())
            .ok_or_else(|| TokenFault::incapable("public keys on P-256 that can be read").into())
    }

    /// Numbers come with or without zeros before them.
    fn modulus(&self, public: ObjectHandle) -> Result<RsaPublic, Error> {
        let types = [AttributeType::Modulus, AttributeType::PublicExponent];
        let given = self.session.get_attributes(public, &types)?;
        let (mut modulus, mut exponent) = (&[][..], &[][..]);
        for attribute in &given {
            match attribute {
                Attribute::Modulus(number) => modulus = without_zeros(number),
                Attribute::PublicExponent(number) => exponent = without_zeros(number),
                _ => {}
            }
        }
        let key = RsaPublic::from_modulus(modulus).ok().filter(|_| exponent == EXPONENT);
        let key =
            key.ok_or(TokenFault::incapable("RSA keys of 2048 bits with the exponent 65537"))?;
        match key.is_weak() {
            true => Err(TokenFault::incapable("RSA keys that nobody can factor").into()),
            false => Ok(key),
        }
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
fn restrictions(purpose: Use, family: KeyFamily) -> Vec<Attribute> {
    let opens = !purpose.signs();
    vec![
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(purpose.signs()),
        Attribute::Derive(opens && family == KeyFamily::Ecc),
        Attribute::Decrypt(opens && family == KeyFamily::Rsa),
        Attribute::Unwrap(false),
    ]
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A point without the OCTET STRING that the standard has around it, and some tokens have not. The
/// length tells them apart: what follows the first byte of a bare one may look like a length.
pub(super) fn bare_point(point: &[u8], field_len: usize) -> &[u8] {
    match point {
        [0x04, length, bare @ ..]
            if bare.len() == 1 + 2 * field_len && usize::from(*length) == bare.len() =>
        {
            bare
        }
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_in_either_form_whatever_its_first_coordinate() {
        for field_len in [32, 48] {
            for first in 0..=u8::MAX {
                let bare = [&[4, first][..], &vec![7; 2 * field_len - 1]].concat();
                assert_eq!(bare_point(&bare, field_len), bare);
                let length = u8::try_from(bare.len()).unwrap_or_default();
                let octets = [&[4, length][..], &bare].concat();
                assert_eq!(bare_point(&octets, field_len), bare);
            }
        }
    }
}
