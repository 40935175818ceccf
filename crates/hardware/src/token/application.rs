//! Keys of applications in a token.
//!
//! They are objects beside those of the scheme, told apart by CKA_IDs that the agent draws, and by
//! a type of their own in the code.

use cryptoki::context::Function;
use cryptoki::error::{Error as Refusal, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use rsa::Pkcs1v15Sign;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use twinseal_scheme::tpm::PublicKey;
use zeroize::Zeroizing;

use crate::application::{Hash, KeyAlgorithm, SignScheme, Uses};
use crate::error::Error;
use crate::token::application_key::{TokenApplicationKey, public_of};
use crate::token::connection::Connection;
use crate::token::failure::TokenFault;
use crate::token::keys::TokenId;
use crate::token::making::{EXPONENT, P256, bare_point};

/// CKA_LABEL of all of them; the owners' own labels are the agent's to keep.
const LABEL: &[u8] = b"twinseal application key";
/// namedCurve secp384r1 (RFC 5480, section 2.1.1.1), DER.
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const HMAC_KEY_LEN: u64 = 32;

impl Connection {
    /// The algorithms whose keys it makes and uses, as far as its mechanisms say.
    pub(super) fn algorithms(&self) -> Vec<KeyAlgorithm> {
        KeyAlgorithm::ALL.into_iter().filter(|algorithm| self.has_algorithm(*algorithm)).collect()
    }

    fn has_algorithm(&self, algorithm: KeyAlgorithm) -> bool {
        let bits = match (algorithm.curve(), algorithm.modulus_len()) {
            (Some(curve), _) => 8 * curve.field_len(),
            (None, Some(length)) => 8 * length,
            (None, None) => 0,
        };
        let (makes, uses): (_, &[MechanismType]) = match algorithm {
            KeyAlgorithm::EccP256 | KeyAlgorithm::EccP384 => {
                (MechanismType::ECC_KEY_PAIR_GEN, &[MechanismType::ECDSA])
            }
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 => (
                MechanismType::RSA_PKCS_KEY_PAIR_GEN,
                &[MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_PSS],
            ),
            KeyAlgorithm::HmacSha256 => {
                (MechanismType::GENERIC_SECRET_KEY_GEN, &[MechanismType::SHA256_HMAC])
            }
        };
        self.has(makes, bits) && uses.iter().any(|mechanism| self.has(*mechanism, 0))
    }

    /// Whether it knows a mechanism, with keys of so many bits.
    pub(super) fn has(&self, mechanism: MechanismType, bits: usize) -> bool {
        self.mechanism(mechanism).is_some_and(|info| {
            info.max_key_size() == 0 || info.max_key_size() >= bits || bits == 0
        })
    }

    /// Makes a key, and tries it. What fails leaves nothing behind.
    pub(super) fn create_application_key(
        &mut self,
        id: TokenId,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<TokenApplicationKey, Error> {
        let made = self.make(id, algorithm, uses).and_then(|key| {
            self.try_application_key(&key)?;
            Ok(key)
        });
        if made.is_err() {
            let _ = self.destroy(&id);
        }
        made
    }

    fn make(
        &mut self,
        id: TokenId,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<TokenApplicationKey, Error> {
        let all =
            [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(LABEL.to_vec())];
        let asked = restrictions(algorithm, uses);
        let private = [&all[..], &asked].concat();
        let mut public = all.to_vec();
        public.push(Attribute::Private(false));
        let mechanism = match algorithm {
            KeyAlgorithm::HmacSha256 => {
                let secret = [&private[..], &[Attribute::ValueLen(HMAC_KEY_LEN.into())]].concat();
                let made = self.session.generate_key(&Mechanism::GenericSecretKeyGen, &secret)?;
                self.check(made, &asked)?;
                return Ok(TokenApplicationKey { id, algorithm, uses, public: None });
            }
            KeyAlgorithm::EccP256 | KeyAlgorithm::EccP384 => {
                let p256 = algorithm == KeyAlgorithm::EccP256;
                let curve = if p256 { P256.to_vec() } else { P384.to_vec() };
                public.extend([Attribute::EcParams(curve), Attribute::Verify(uses.sign)]);
                Mechanism::EccKeyPairGen
            }
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 => {
                let bits = 8 * algorithm.modulus_len().unwrap_or_default() as u64;
                public.extend([
                    Attribute::ModulusBits(bits.into()),
                    Attribute::PublicExponent(EXPONENT.to_vec()),
                    Attribute::Verify(uses.sign),
                    Attribute::Encrypt(uses.decrypt),
                ]);
                Mechanism::RsaPkcsKeyPairGen
            }
        };
        let pair = self.session.generate_key_pair(&mechanism, &public, &private)?;
        self.check(pair.1, &asked)?;
        let public = self.public_key(pair.0, algorithm)?;
        Ok(TokenApplicationKey { id, algorithm, uses, public })
    }

    /// The public half, as the token gives it.
    fn public_key(
        &self,
        object: ObjectHandle,
        algorithm: KeyAlgorithm,
    ) -> Result<Option<PublicKey>, Error> {
        let unreadable = TokenFault::incapable("public keys that can be read");
        let wanted = match algorithm.curve() {
            Some(_) => vec![AttributeType::EcPoint],
            None => vec![AttributeType::Modulus, AttributeType::PublicExponent],
        };
        let mut bytes = Vec::new();
        for attribute in self.session.get_attributes(object, &wanted)? {
            match attribute {
                Attribute::EcPoint(point) => {
                    let field_len = algorithm.curve().map_or(0, |curve| curve.field_len());
                    bytes = bare_point(&point, field_len).to_vec();
                }
                Attribute::Modulus(modulus) => {
                    bytes = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
                }
                Attribute::PublicExponent(exponent)
                    if !exponent.ends_with(&EXPONENT) || exponent.len() > 4 =>
                {
                    return Err(unreadable.into());
                }
                _ => {}
            }
        }
        public_of(algorithm, &bytes).map_err(|_| unreadable.into())
    }

    /// Signs a digest, or authenticates data; see [`Lane::sign_digest`](crate::Lane::sign_digest).
    pub(super) fn sign_digest(
        &mut self,
        key: &TokenApplicationKey,
        scheme: SignScheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let private = self.hold_application(key)?;
        let signed = match scheme {
            SignScheme::Ecdsa => {
                // Of a longer digest the left part counts (FIPS 186-5, section 6.4.1), which not
                // every token knows.
                let field_len = key.algorithm.curve().map_or(0, |curve| curve.field_len());
                let digest = digest.get(..field_len).unwrap_or(digest);
                self.session.sign(&Mechanism::Ecdsa, private, digest)
            }
            SignScheme::RsaPkcs1(hash) => {
                let info = Zeroizing::new([&digest_info(hash), digest].concat());
                self.session.sign(&Mechanism::RsaPkcs, private, &info)
            }
            SignScheme::RsaPss(hash) => {
                let (hash_alg, mgf) = hashes(hash);
                let s_len = (hash.digest_len() as u64).into();
                let parameters = PkcsPssParams { hash_alg, mgf, s_len };
                self.session.sign(&Mechanism::RsaPkcsPss(parameters), private, digest)
            }
            SignScheme::HmacSha256 => self.session.sign(&Mechanism::Sha256Hmac, private, digest),
        };
        let signature = signed.map_err(|refusal| in_use(refusal, "this way of signing"))?;
        let length = match scheme {
            SignScheme::Ecdsa => key.algorithm.curve().map(|curve| 2 * curve.field_len()),
            SignScheme::HmacSha256 => Some(32),
            SignScheme::RsaPkcs1(_) | SignScheme::RsaPss(_) => key.algorithm.modulus_len(),
        };
        match length == Some(signature.len()) {
            true => Ok(signature),
            false => Err(TokenFault::incapable("signatures of the right length").into()),
        }
    }

    /// See [`Lane::decrypt_oaep`](crate::Lane::decrypt_oaep).
    pub(super) fn decrypt_oaep(
        &mut self,
        key: &TokenApplicationKey,
        hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let private = self.hold_application(key)?;
        let source = match label {
            [] => PkcsOaepSource::empty(),
            label => PkcsOaepSource::data_specified(label),
        };
        let (hash, mgf) = hashes(hash);
        let mechanism = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, source));
        let opened = self.session.decrypt(&mechanism, private, ciphertext);
        opened
            .map(Zeroizing::new)
            .map_err(|refusal| in_use(refusal, "RSA-OAEP with this hash and label"))
    }

    /// The x coordinate of a point that has been checked, times the key.
    pub(super) fn agree_with(
        &mut self,
        key: &TokenApplicationKey,
        point: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let private = self.hold_application(key)?;
        self.multiply(private, point)
    }

    fn hold_application(&mut self, key: &TokenApplicationKey) -> Result<ObjectHandle, Error> {
        let class = match key.public {
            Some(_) => ObjectClass::PRIVATE_KEY,
            None => ObjectClass::SECRET_KEY,
        };
        self.hold_object(&key.id, class)
    }
}

/// What the private half, or the secret, is, and all that it may do.
fn restrictions(algorithm: KeyAlgorithm, uses: Uses) -> Vec<Attribute> {
    let agrees = algorithm.curve().is_some();
    let mut all = vec![
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(uses.sign),
        Attribute::Derive(uses.decrypt && agrees),
        Attribute::Decrypt(uses.decrypt && !agrees),
        Attribute::Unwrap(false),
    ];
    if algorithm == KeyAlgorithm::HmacSha256 {
        all.extend([Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::Wrap(false)]);
    }
    all
}

/// SEQUENCE { SEQUENCE { hash, NULL }, OCTET STRING (digest follows) } of RFC 8017, section 9.2.
pub(super) fn digest_info(hash: Hash) -> Box<[u8]> {
    let padding = match hash {
        Hash::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
        Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    };
    padding.prefix
}

pub(super) fn hashes(hash: Hash) -> (MechanismType, PkcsMgfType) {
    match hash {
        Hash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    }
}

/// What is refused when it begins is not known, or nothing that the key was made for; what is
/// refused then was not right.
pub(super) fn in_use(refusal: Refusal, what: &'static str) -> Error {
    use RvError::{
        ArgumentsBad, DataInvalid, DataLenRange, DeviceError, EncryptedDataInvalid,
        EncryptedDataLenRange, FunctionFailed, GeneralError, KeyTypeInconsistent, MechanismInvalid,
        MechanismParamInvalid,
    };
    match &refusal {
        Refusal::Pkcs11(
            ArgumentsBad | MechanismInvalid | MechanismParamInvalid | KeyTypeInconsistent,
            Function::SignInit | Function::DecryptInit,
        ) => TokenFault::incapable(what).into(),
        Refusal::Pkcs11(
            ArgumentsBad
            | DataInvalid
            | DataLenRange
            | DeviceError
            | EncryptedDataInvalid
            | EncryptedDataLenRange
            | FunctionFailed
            | GeneralError,
            Function::Sign | Function::Decrypt,
        ) => TokenFault::Rejected.into(),
        _ => refusal.into(),
    }
}
