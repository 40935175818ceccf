//! Signatures: prepared here, made by the chip.

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::der;
use crate::hash::{Hash, Hasher};
use crate::key::Key;
use crate::mechanism::{Mechanism, Scheme, Signing, begun_with};
use crate::module::{Module, Output, Room};
use crate::rv::{Result, Rv, fail};

/// The longest that is signed without being hashed: a `DigestInfo` of SHA-512 is far below.
const PLAIN_BYTES: usize = 256;
/// What chips take for a digest.
const ECDSA_BYTES: (usize, usize) = (32, 64);

/// A signature under way.
pub(crate) struct Signature {
    key: Arc<Key>,
    way: Signing,
    /// What came by `C_SignUpdate`.
    parts: Option<Parts>,
}

enum Parts {
    Hashed(Box<Hasher>),
    Plain(Vec<u8>),
}

impl Parts {
    fn new(way: Signing) -> Self {
        way.hash.map_or(Self::Plain(Vec::new()), |hash| Self::Hashed(Box::new(Hasher::new(hash))))
    }

    fn add(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Self::Hashed(hasher) => hasher.update(data),
            Self::Plain(plain) if plain.len().saturating_add(data.len()) > PLAIN_BYTES => {
                return fail(CKR_DATA_LEN_RANGE);
            }
            Self::Plain(plain) => plain.extend(data),
        }
        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Hashed(hasher) => hasher.finish(),
            Self::Plain(plain) => plain,
        }
    }
}

impl Module {
    /// Begins a signature. Without a mechanism it ends the one that is under way.
    pub(crate) fn sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism<'_>>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let mut tables = self.tables();
        let is_active = tables.session(session)?.signature.is_some();
        let signature = match begun_with(mechanism, is_active)? {
            None => None,
            Some(mechanism) => {
                mechanism.is_for(CKF_SIGN)?;
                let key = tables.private_key(key)?;
                let way = mechanism.signing(&key)?;
                if !key.uses.sign {
                    return fail(CKR_KEY_FUNCTION_NOT_PERMITTED);
                }
                Some(Signature { key, way, parts: None })
            }
        };
        tables.session(session)?.signature = signature;
        Ok(())
    }

    /// Signs in one part.
    pub(crate) fn sign(
        &self,
        session: CK_SESSION_HANDLE,
        data: &[u8],
        room: Room,
    ) -> Result<Output> {
        let signature = self.take_signature(session)?;
        if signature.parts.is_some() {
            self.put_signature(session, signature);
            return fail(CKR_OPERATION_ACTIVE);
        }
        if let Some(refusal) = room.refuses(signature.key.output_bytes()) {
            self.put_signature(session, signature);
            return Ok(refusal);
        }
        let mut parts = Parts::new(signature.way);
        parts.add(data)?;
        self.signed(&signature, parts)
    }

    pub(crate) fn sign_update(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Result<()> {
        let mut signature = self.take_signature(session)?;
        signature.parts.get_or_insert_with(|| Parts::new(signature.way)).add(data)?;
        self.put_signature(session, signature);
        Ok(())
    }

    pub(crate) fn sign_final(&self, session: CK_SESSION_HANDLE, room: Room) -> Result<Output> {
        let mut signature = self.take_signature(session)?;
        if let Some(refusal) = room.refuses(signature.key.output_bytes()) {
            self.put_signature(session, signature);
            return Ok(refusal);
        }
        let parts = signature.parts.take().unwrap_or_else(|| Parts::new(signature.way));
        self.signed(&signature, parts)
    }

    /// Whatever fails from here on ends the signature, as it has been taken out of the session.
    fn take_signature(&self, session: CK_SESSION_HANDLE) -> Result<Signature> {
        let taken = self.tables().session(session)?.signature.take();
        taken.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    fn put_signature(&self, session: CK_SESSION_HANDLE, signature: Signature) {
        if let Ok(session) = self.tables().session(session) {
            session.signature = Some(signature);
        }
    }

    fn signed(&self, signature: &Signature, parts: Parts) -> Result<Output> {
        let (digest, scheme) = request(signature.way, &parts.finish())?;
        let signed = self.agent.sign(&signature.key.path, &digest, &scheme)?;
        match signed.len() == signature.key.output_bytes() {
            true => Ok(Output::Bytes(Zeroizing::new(signed))),
            false => fail(CKR_DEVICE_ERROR),
        }
    }
}

/// What the agent is asked to sign, and how.
fn request(way: Signing, input: &[u8]) -> Result<(Vec<u8>, String)> {
    let as_digest = |hash: Hash, digest: &[u8]| match digest.len() == hash.bytes() {
        true => Ok(digest.to_vec()),
        false => fail(CKR_DATA_LEN_RANGE),
    };
    Ok(match way.scheme {
        Scheme::Ecdsa => {
            let (shortest, longest) = ECDSA_BYTES;
            if input.is_empty() || input.len() > longest {
                return fail(CKR_DATA_LEN_RANGE);
            }
            // A number, so zeros before it change nothing (FIPS 186-5, section 6.4.1).
            let zeros = shortest.saturating_sub(input.len());
            ([&vec![0; zeros], input].concat(), "ecdsa".to_owned())
        }
        Scheme::Pkcs1(hash) => (as_digest(hash, input)?, format!("rsa-pkcs1-{}", hash.word())),
        Scheme::Pss(hash) => (as_digest(hash, input)?, format!("rsa-pss-{}", hash.word())),
        Scheme::Pkcs1Info => {
            let info = der::digest_info(input);
            let known = info.and_then(|(name, digest)| Some((Hash::of_name(name)?, digest)));
            let (hash, digest) = known.ok_or(Rv(CKR_DATA_INVALID))?;
            (as_digest(hash, digest)?, format!("rsa-pkcs1-{}", hash.word()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, wrap};

    fn asked(scheme: Scheme, input: &[u8]) -> Result<(Vec<u8>, String)> {
        request(Signing { scheme, hash: None }, input)
    }

    fn digest_info(last: u8, digest: &[u8]) -> Vec<u8> {
        let name = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last];
        let algorithm = wrap(SEQUENCE, &[wrap(OBJECT_IDENTIFIER, &name), vec![5, 0]].concat());
        wrap(SEQUENCE, &[algorithm, wrap(OCTET_STRING, digest)].concat())
    }

    #[test]
    fn digests_are_brought_to_the_length_that_chips_take() {
        let ecdsa = Scheme::Ecdsa;
        let (digest, scheme) = asked(ecdsa, &[7; 20]).unwrap();
        assert_eq!((digest, scheme.as_str()), ([vec![0; 12], vec![7; 20]].concat(), "ecdsa"));
        assert_eq!(asked(ecdsa, &[7; 64]).unwrap().0, [7; 64]);
        assert_eq!(asked(ecdsa, &[7; 65]), fail(CKR_DATA_LEN_RANGE));
        assert_eq!(asked(ecdsa, &[]), fail(CKR_DATA_LEN_RANGE));
        assert_eq!(asked(Scheme::Pss(Hash::Sha256), &[7; 48]), fail(CKR_DATA_LEN_RANGE));
        assert_eq!(asked(Scheme::Pss(Hash::Sha384), &[7; 48]).unwrap().1, "rsa-pss-sha384");
    }

    #[test]
    fn of_raw_rsa_only_digest_infos_are_signed() {
        let expected = (vec![7; 32], "rsa-pkcs1-sha256".to_owned());
        assert_eq!(asked(Scheme::Pkcs1Info, &digest_info(1, &[7; 32])), Ok(expected));
        let wrong_length = digest_info(1, &[7; 31]);
        assert_eq!(asked(Scheme::Pkcs1Info, &wrong_length), fail(CKR_DATA_LEN_RANGE));
        for other in
            [digest_info(9, &[7; 32]), vec![7; 32], vec![], [wrong_length, vec![0]].concat()]
        {
            assert_eq!(asked(Scheme::Pkcs1Info, &other), fail(CKR_DATA_INVALID), "{other:?}");
        }
    }
}
