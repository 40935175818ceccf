//! Signatures that a TPM makes (TPMT_SIGNATURE; Part 2, section 11.3.4).

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use rsa::{pkcs1v15, pss, signature::Verifier};
use sha2::Sha256;

use super::public_key::rsa_public_key;
use super::reader::Reader;
use super::{Curve, HashAlgorithm, Public, Scheme};
use crate::Reason;

/// A parsed signature: the scheme it claims, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    scheme: Scheme,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Rsa(Vec<u8>),
    Ecc { r: Vec<u8>, s: Vec<u8> },
}

impl Signature {
    /// Parses a TPMT_SIGNATURE of RSASSA, RSAPSS or ECDSA.
    ///
    /// # Errors
    /// [`Reason::TpmShort`], [`Reason::TpmTrailing`], [`Reason::TpmSize`],
    /// [`Reason::TpmAlgorithm`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new(bytes);
        let scheme = Scheme::read(&mut reader)?;
        let value = match scheme {
            Scheme::RsaSsa(_) | Scheme::RsaPss(_) => Value::Rsa(reader.sized(512)?.to_vec()),
            Scheme::Ecdsa(_) => Value::Ecc {
                r: reader.sized(Curve::P384.field_len())?.to_vec(),
                s: reader.sized(Curve::P384.field_len())?.to_vec(),
            },
            Scheme::Null | Scheme::Oaep(_) | Scheme::Ecdh(_) => return Err(Reason::TpmAlgorithm),
        };
        reader.end()?;
        Ok(Signature { scheme, value })
    }

    /// Verifies over `message`, which is hashed here. The scheme must be the one that the
    /// key is bound to. PSS salts must be as long as the hash. A high ECDSA `s` is accepted,
    /// as chips make them: these bytes are only ever seen inside an authenticated message.
    ///
    /// # Errors
    /// [`Reason::AttestScheme`], [`Reason::AttestSignature`].
    pub fn verify(&self, signer: &Public, message: &[u8]) -> Result<(), Reason> {
        if self.scheme != signer.scheme() {
            return Err(Reason::AttestScheme);
        }
        let valid = match (&self.value, self.scheme) {
            (Value::Ecc { r, s }, Scheme::Ecdsa(hash)) => ecdsa(signer, hash, r, s, message)?,
            (Value::Rsa(value), Scheme::RsaSsa(HashAlgorithm::Sha256)) => {
                rsassa(signer, value, message)
            }
            (Value::Rsa(value), Scheme::RsaPss(HashAlgorithm::Sha256)) => {
                rsapss(signer, value, message)
            }
            _ => return Err(Reason::AttestScheme),
        };
        valid.ok_or(Reason::AttestSignature)
    }
}

/// `Some` when valid. The curve and the hash must be of one strength.
fn ecdsa(
    signer: &Public,
    hash: HashAlgorithm,
    r: &[u8],
    s: &[u8],
    message: &[u8],
) -> Result<Option<()>, Reason> {
    let Some((curve, point)) = signer.key().point() else {
        return Err(Reason::AttestScheme);
    };
    let algorithm = match (curve, hash) {
        (Curve::P256, HashAlgorithm::Sha256) => &signature::ECDSA_P256_SHA256_FIXED,
        (Curve::P384, HashAlgorithm::Sha384) => &signature::ECDSA_P384_SHA384_FIXED,
        _ => return Err(Reason::AttestScheme),
    };
    let mut fixed = Vec::new();
    for scalar in [r, s] {
        // A chip may leave leading zeros out.
        let Some(missing) = curve.field_len().checked_sub(scalar.len()) else {
            return Ok(None);
        };
        fixed.resize(fixed.len() + missing, 0);
        fixed.extend_from_slice(scalar);
    }
    Ok(UnparsedPublicKey::new(algorithm, point).verify(message, &fixed).ok())
}

fn rsassa(signer: &Public, value: &[u8], message: &[u8]) -> Option<()> {
    let key = rsa_public_key(signer.key().modulus()?)?;
    let value = pkcs1v15::Signature::try_from(value).ok()?;
    pkcs1v15::VerifyingKey::<Sha256>::new(key).verify(message, &value).ok()
}

fn rsapss(signer: &Public, value: &[u8], message: &[u8]) -> Option<()> {
    let key = rsa_public_key(signer.key().modulus()?)?;
    let value = pss::Signature::try_from(value).ok()?;
    pss::VerifyingKey::<Sha256>::new(key).verify(message, &value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::RsaPrivateKey;
    use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
    use rsa::traits::PublicKeyParts;

    use super::*;
    use crate::tpm::PublicKey;
    use crate::tpm::testing::{Area, ecdsa_signature, p256_key, p256_signing_key, sized};

    fn public(key: &PublicKey, scheme: &[u16]) -> Public {
        let area = Area { scheme: scheme.to_vec(), ..Area::of(key) };
        Public::parse(&area.bytes()).unwrap()
    }

    fn ecdsa_public(seed: u8) -> Public {
        public(&p256_key(seed), &[0x0018, 0x000b])
    }

    #[test]
    fn ecdsa_verifies_for_one_key_and_one_message() {
        let bytes = ecdsa_signature(&p256_signing_key(1), b"message");
        let signature = Signature::parse(&bytes).unwrap();
        assert_eq!(signature.verify(&ecdsa_public(1), b"message"), Ok(()));
        let refused = Err(Reason::AttestSignature);
        assert_eq!(signature.verify(&ecdsa_public(2), b"message"), refused);
        assert_eq!(signature.verify(&ecdsa_public(1), b"massage"), refused);
    }

    #[test]
    fn the_scheme_is_the_one_the_key_is_bound_to() {
        let bytes = ecdsa_signature(&p256_signing_key(1), b"message");
        let signature = Signature::parse(&bytes).unwrap();
        let refused = Err(Reason::AttestScheme);
        let unbound = public(&p256_key(1), &[0x0010]);
        assert_eq!(signature.verify(&unbound, b"message"), refused);
        let sha384 = public(&p256_key(1), &[0x0018, 0x000c]);
        assert_eq!(signature.verify(&sha384, b"message"), refused);
    }

    #[test]
    fn rsa_verifies_in_both_paddings() {
        let private = RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap();
        let key = PublicKey::rsa(&private.n().to_bytes_be()).unwrap();
        let ssa = pkcs1v15::SigningKey::<Sha256>::new(private.clone()).sign(b"message").to_vec();
        let pss = pss::SigningKey::<Sha256>::new(private)
            .sign_with_rng(&mut rand_core::OsRng, b"message")
            .to_vec();
        for (scheme, value) in [(0x0014u16, ssa), (0x0016, pss)] {
            let bytes = [&scheme.to_be_bytes()[..], &[0, 0x0b], &sized(&value)].concat();
            let signature = Signature::parse(&bytes).unwrap();
            let signer = public(&key, &[scheme, 0x000b]);
            assert_eq!(signature.verify(&signer, b"message"), Ok(()));
            assert_eq!(signature.verify(&signer, b"massage"), Err(Reason::AttestSignature));
        }
    }

    #[test]
    fn exact_fields() {
        let bytes = ecdsa_signature(&p256_signing_key(1), b"message");
        for len in 0..bytes.len() {
            assert_eq!(Signature::parse(&bytes[..len]), Err(Reason::TpmShort), "{len} bytes");
        }
        assert_eq!(Signature::parse(&[&bytes[..], &[0]].concat()), Err(Reason::TpmTrailing));
        let long = [&[0, 0x18, 0, 0x0b][..], &sized(&[1; 49]), &sized(&[1; 32])].concat();
        assert_eq!(Signature::parse(&long), Err(Reason::TpmSize));
        // A scheme that signs nothing: OAEP.
        assert_eq!(Signature::parse(&[0, 0x17, 0, 0x0b]), Err(Reason::TpmAlgorithm));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 4usize..72, to: u8) {
            let _ = Signature::parse(&bytes);
            let mut mutated = ecdsa_signature(&p256_signing_key(1), b"message");
            mutated[at] = to;
            if let Ok(signature) = Signature::parse(&mutated) {
                let _ = signature.verify(&ecdsa_public(1), b"message");
            }
        }
    }
}
