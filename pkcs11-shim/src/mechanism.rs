//! What can be done, and how a mechanism and its parameter become one of the agent's schemes.

use cryptoki_sys::*;

use crate::hash::Hash;
use crate::key::{Family, Key};
use crate::rv::{Result, fail};

/// A mechanism with its parameter, read from the caller's memory.
#[derive(Debug)]
pub(crate) struct Mechanism<'a> {
    pub(crate) kind: CK_MECHANISM_TYPE,
    pub(crate) parameter: Parameter<'a>,
}

/// What an operation is to begin with, where none is under way; `None` ends the one that is.
pub(crate) fn begun_with(
    mechanism: Option<Mechanism<'_>>,
    is_active: bool,
) -> Result<Option<Mechanism<'_>>> {
    match (&mechanism, is_active) {
        (None, false) => fail(CKR_ARGUMENTS_BAD),
        (Some(_), true) => fail(CKR_OPERATION_ACTIVE),
        _ => Ok(mechanism),
    }
}

/// Parameters, by the mechanisms that have them.
#[derive(Debug)]
pub(crate) enum Parameter<'a> {
    None,
    /// Of `CKM_…_RSA_PKCS_PSS`.
    Pss(CK_RSA_PKCS_PSS_PARAMS),
    /// Of `CKM_RSA_PKCS_OAEP`.
    Oaep {
        hash: CK_MECHANISM_TYPE,
        mgf: CK_RSA_PKCS_MGF_TYPE,
        label: &'a [u8],
    },
    /// Of `CKM_ECDH1_DERIVE`.
    Ecdh {
        kdf: CK_EC_KDF_TYPE,
        shared: &'a [u8],
        public: &'a [u8],
    },
    /// One that the mechanism does not have, or of another size.
    Other,
}

/// A mechanism of the token: what keys it is for, in bits, and `CKF_…` of what it does.
pub(crate) struct Offer {
    pub(crate) kind: CK_MECHANISM_TYPE,
    pub(crate) bits: (CK_ULONG, CK_ULONG),
    pub(crate) flags: CK_FLAGS,
}

const EC_BITS: (CK_ULONG, CK_ULONG) = (256, 384);
const RSA_BITS: (CK_ULONG, CK_ULONG) = (2048, 3072);
const EC: CK_FLAGS = CKF_HW | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;

/// The longest label of OAEP.
const LABEL_BYTES: usize = 64;

const fn offer(kind: CK_MECHANISM_TYPE, bits: (CK_ULONG, CK_ULONG), flags: CK_FLAGS) -> Offer {
    Offer { kind, bits, flags }
}

/// All mechanisms.
pub(crate) const OFFERS: [Offer; 21] = [
    offer(CKM_ECDSA, EC_BITS, EC | CKF_SIGN),
    // Over a digest of SHA-1 as over any other; what RSA signs says its hash, and may not say this.
    offer(CKM_ECDSA_SHA1, EC_BITS, EC | CKF_SIGN),
    offer(CKM_ECDSA_SHA256, EC_BITS, EC | CKF_SIGN),
    offer(CKM_ECDSA_SHA384, EC_BITS, EC | CKF_SIGN),
    offer(CKM_ECDSA_SHA512, EC_BITS, EC | CKF_SIGN),
    offer(CKM_ECDH1_DERIVE, EC_BITS, EC | CKF_DERIVE),
    offer(CKM_EC_KEY_PAIR_GEN, EC_BITS, EC | CKF_GENERATE_KEY_PAIR),
    offer(CKM_RSA_PKCS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA256_RSA_PKCS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA384_RSA_PKCS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA512_RSA_PKCS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_RSA_PKCS_PSS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA256_RSA_PKCS_PSS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA384_RSA_PKCS_PSS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_SHA512_RSA_PKCS_PSS, RSA_BITS, CKF_HW | CKF_SIGN),
    offer(CKM_RSA_PKCS_OAEP, RSA_BITS, CKF_HW | CKF_DECRYPT),
    offer(CKM_RSA_PKCS_KEY_PAIR_GEN, RSA_BITS, CKF_HW | CKF_GENERATE_KEY_PAIR),
    offer(CKM_SHA_1, (0, 0), CKF_DIGEST),
    offer(CKM_SHA256, (0, 0), CKF_DIGEST),
    offer(CKM_SHA384, (0, 0), CKF_DIGEST),
    offer(CKM_SHA512, (0, 0), CKF_DIGEST),
];

/// How a signature is made of what is to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Of a digest, or of what stands for one, of any length.
    Ecdsa,
    /// Of a digest by this hash.
    Pkcs1(Hash),
    /// Of a `DigestInfo`, which says its hash.
    Pkcs1Info,
    Pss(Hash),
}

/// A way to sign: what is to be signed is hashed before, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signing {
    pub(crate) scheme: Scheme,
    pub(crate) hash: Option<Hash>,
}

impl Mechanism<'_> {
    /// How to sign with this mechanism, which is one that signs, and this key.
    pub(crate) fn signing(&self, key: &Key) -> Result<Signing> {
        let hash = match self.kind {
            CKM_ECDSA_SHA256 | CKM_SHA256_RSA_PKCS | CKM_SHA256_RSA_PKCS_PSS => Some(Hash::Sha256),
            CKM_ECDSA_SHA384 | CKM_SHA384_RSA_PKCS | CKM_SHA384_RSA_PKCS_PSS => Some(Hash::Sha384),
            CKM_ECDSA_SHA512 | CKM_SHA512_RSA_PKCS | CKM_SHA512_RSA_PKCS_PSS => Some(Hash::Sha512),
            CKM_ECDSA_SHA1 => Some(Hash::Sha1),
            _ => None,
        };
        let is_ecdsa = matches!(
            self.kind,
            CKM_ECDSA | CKM_ECDSA_SHA1 | CKM_ECDSA_SHA256 | CKM_ECDSA_SHA384 | CKM_ECDSA_SHA512
        );
        let is_pss = matches!(
            self.kind,
            CKM_RSA_PKCS_PSS
                | CKM_SHA256_RSA_PKCS_PSS
                | CKM_SHA384_RSA_PKCS_PSS
                | CKM_SHA512_RSA_PKCS_PSS
        );
        if matches!(key.family(), Family::Ec(_)) != is_ecdsa {
            return fail(CKR_KEY_TYPE_INCONSISTENT);
        }
        if !is_pss {
            self.without_parameter()?;
        }
        let scheme = match (is_ecdsa, is_pss, hash) {
            (true, ..) => Scheme::Ecdsa,
            (_, true, hash) => Scheme::Pss(self.pss_hash(hash)?),
            (.., Some(hash)) => Scheme::Pkcs1(hash),
            (.., None) => Scheme::Pkcs1Info,
        };
        Ok(Signing { scheme, hash })
    }

    /// Refuses a mechanism that the token does not have for this `CKF_…`.
    pub(crate) fn is_for(&self, flag: CK_FLAGS) -> Result<()> {
        let is_it = |offer: &Offer| offer.kind == self.kind && offer.flags & flag != 0;
        match OFFERS.iter().any(is_it) {
            true => Ok(()),
            false => fail(CKR_MECHANISM_INVALID),
        }
    }

    /// The hash and label of OAEP decryption. Both of its hashes are the same in chips, which
    /// take a label only if it ends with a byte of zero (TPM 2.0 Library Part 1, annex B.4).
    pub(crate) fn oaep(&self) -> Result<(Hash, &[u8])> {
        let Parameter::Oaep { hash, mgf, label } = &self.parameter else {
            return fail(CKR_MECHANISM_PARAM_INVALID);
        };
        let is_taken = matches!(label, [] | [.., 0]) && label.len() <= LABEL_BYTES;
        match Hash::of_mechanism(*hash) {
            Some(hash) if hash.mgf() == *mgf && is_taken => Ok((hash, label)),
            _ => fail(CKR_MECHANISM_PARAM_INVALID),
        }
    }

    /// Refuses a parameter where the mechanism has none.
    pub(crate) fn without_parameter(&self) -> Result<()> {
        match self.parameter {
            Parameter::None => Ok(()),
            _ => fail(CKR_MECHANISM_PARAM_INVALID),
        }
    }

    /// The chip's salt is as long as the digest, and its mask is made with the same hash.
    fn pss_hash(&self, hashed_with: Option<Hash>) -> Result<Hash> {
        let Parameter::Pss(parameter) = &self.parameter else {
            return fail(CKR_MECHANISM_PARAM_INVALID);
        };
        match Hash::of_mechanism(parameter.hashAlg) {
            Some(hash)
                if hash != Hash::Sha1
                    && parameter.mgf == hash.mgf()
                    && usize::try_from(parameter.sLen) == Ok(hash.bytes())
                    && hashed_with.is_none_or(|other| other == hash) =>
            {
                Ok(hash)
            }
            _ => fail(CKR_MECHANISM_PARAM_INVALID),
        }
    }
}
