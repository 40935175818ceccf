//! What the public areas of a device's keys must look like, bit by bit (scheme, section 2
//! and section 3, check 5).

use super::algorithm::Symmetric;
use super::{Curve, HashAlgorithm, Public, Scheme};
use crate::Reason;

/// The one public area that a key of this purpose may have, apart from the key itself.
///
/// All have the name algorithm SHA-256 and an **empty policy**. So they can only be
/// authorised by their authValue, and a TPM has that only of objects whose private part
/// is loaded: a public area that was merely loaded from outside, which may claim any
/// attribute, can never be certified (Part 3, TPM2_LoadExternal and TPM2_Certify).
pub(super) struct Pattern {
    attributes: u32,
    kinds: &'static [Kind],
    refusals: Refusals,
}

impl Pattern {
    pub(super) fn check(&self, public: &Public) -> Result<(), Reason> {
        let size = Size::of(public);
        if !self.kinds.iter().any(|kind| Some(kind.size) == size) {
            return Err(self.refusals.kind);
        }
        if public.attributes != self.attributes {
            return Err(self.refusals.attributes);
        }
        if !public.policy.is_empty() {
            return Err(self.refusals.policy);
        }
        let bound = |kind: &Kind| {
            Some(kind.size) == size
                && kind.symmetric == public.symmetric
                && kind.scheme == public.scheme()
        };
        match self.kinds.iter().any(bound) {
            true => Ok(()),
            false => Err(self.refusals.scheme),
        }
    }
}

/// The storage root key: the TCG's SRK template for P-256 with AES-128-CFB.
/// Attributes 0x00030472: [`GENUINE`], restricted, decrypt.
pub(super) const STORAGE_ROOT: Pattern = Pattern {
    attributes: GENUINE | RESTRICTED | DECRYPT,
    kinds: &[Kind { size: Size::P256, symmetric: Symmetric::Aes128Cfb, scheme: Scheme::Null }],
    refusals: Refusals {
        kind: Reason::SrkKind,
        attributes: Reason::SrkAttributes,
        policy: Reason::SrkPolicy,
        scheme: Reason::SrkScheme,
    },
};

/// The attestation key: ECDSA with SHA-256 on P-256. It must be restricted: such a key
/// signs only what the TPM itself made, so a signature under it is the TPM's word.
/// Attributes 0x00050472: [`GENUINE`], restricted, sign.
pub(super) const ATTESTATION: Pattern = Pattern {
    attributes: GENUINE | RESTRICTED | SIGN,
    kinds: &[Kind::bound(Size::P256, Scheme::Ecdsa(HashAlgorithm::Sha256))],
    refusals: Refusals {
        kind: Reason::AkKind,
        attributes: Reason::AkAttributes,
        policy: Reason::AkPolicy,
        scheme: Reason::AkScheme,
    },
};

/// The signing key: ECDSA with SHA-256 on P-256, or RSA-2048 bound to PSS or PKCS #1 v1.5
/// with SHA-256. Attributes 0x00040472: [`GENUINE`], sign.
pub(super) const SIGNING: Pattern = Pattern {
    attributes: GENUINE | SIGN,
    kinds: &[
        Kind::bound(Size::P256, Scheme::Ecdsa(HashAlgorithm::Sha256)),
        Kind::bound(Size::Rsa2048, Scheme::RsaPss(HashAlgorithm::Sha256)),
        Kind::bound(Size::Rsa2048, Scheme::RsaSsa(HashAlgorithm::Sha256)),
    ],
    refusals: Refusals {
        kind: Reason::SigningKind,
        attributes: Reason::SigningAttributes,
        policy: Reason::SigningPolicy,
        scheme: Reason::SigningScheme,
    },
};

/// The decryption key: ECDH on P-256, or RSA-2048 bound to OAEP with SHA-256.
/// Attributes 0x00020472: [`GENUINE`], decrypt.
pub(super) const DECRYPTION: Pattern = Pattern {
    attributes: GENUINE | DECRYPT,
    kinds: &[
        Kind::bound(Size::P256, Scheme::Ecdh(HashAlgorithm::Sha256)),
        Kind::bound(Size::Rsa2048, Scheme::Oaep(HashAlgorithm::Sha256)),
    ],
    refusals: Refusals {
        kind: Reason::DecryptionKind,
        attributes: Reason::DecryptionAttributes,
        policy: Reason::DecryptionPolicy,
        scheme: Reason::DecryptionScheme,
    },
};

/// The serial key: ECDH on P-256. Attributes 0x00020472: [`GENUINE`], decrypt.
pub(super) const SERIAL: Pattern = Pattern {
    attributes: GENUINE | DECRYPT,
    kinds: &[Kind::bound(Size::P256, Scheme::Ecdh(HashAlgorithm::Sha256))],
    refusals: Refusals {
        kind: Reason::SerialKeyKind,
        attributes: Reason::SerialKeyAttributes,
        policy: Reason::SerialKeyPolicy,
        scheme: Reason::SerialKeyScheme,
    },
};

/// Checks an application's key: any kind and scheme, but [`GENUINE`], for signing or decrypting
/// or both and nothing else, and with an empty policy like all the others.
pub(super) fn check_application_key(public: &Public) -> Result<(), Reason> {
    if public.name_algorithm != HashAlgorithm::Sha256 {
        return Err(Reason::ApplicationKeyKind);
    }
    if ![SIGN, DECRYPT, SIGN | DECRYPT].contains(&(public.attributes ^ GENUINE)) {
        return Err(Reason::ApplicationKeyAttributes);
    }
    match public.policy.is_empty() {
        true => Ok(()),
        false => Err(Reason::ApplicationKeyPolicy),
    }
}

/// TPMA_OBJECT (Part 2, section 8.3): fixedTPM (bit 1), fixedParent (4) and
/// sensitiveDataOrigin (5) say that the chip made the key and that it cannot leave;
/// userWithAuth (6) that the authValue opens it; noDA (10) that nobody can lock it by
/// wrong guesses. Clear in every key: stClear, adminWithPolicy, encryptedDuplication,
/// x509sign and all reserved bits.
const GENUINE: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// The reasons for the four ways in which one public area may be wrong.
struct Refusals {
    kind: Reason,
    attributes: Reason,
    policy: Reason,
    scheme: Reason,
}

struct Kind {
    size: Size,
    symmetric: Symmetric,
    scheme: Scheme,
}

impl Kind {
    const fn bound(size: Size, scheme: Scheme) -> Self {
        let symmetric = Symmetric::Null;
        Kind { size, symmetric, scheme }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    P256,
    Rsa2048,
}

impl Size {
    /// `None` for a key that no pattern has, also by its name algorithm.
    fn of(public: &Public) -> Option<Self> {
        if public.name_algorithm != HashAlgorithm::Sha256 {
            return None;
        }
        match (public.key().point(), public.key().modulus()) {
            (Some((Curve::P256, _)), _) => Some(Size::P256),
            (_, Some(modulus)) if modulus.len() == 256 => Some(Size::Rsa2048),
            _ => None,
        }
    }
}
