//! Objects of the token, and what they say of themselves (PKCS #11 base 2.40, section 4).

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::der;
use crate::key::{Family, Key, Public};
use crate::template::Template;

/// An object.
#[derive(Clone)]
pub(crate) enum Object {
    Private(Arc<Key>),
    Public(Arc<Key>),
    Certificate(Arc<Certificate>),
    Secret(Arc<Secret>),
}

/// A certificate, beside a key or for a while.
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) label: String,
    pub(crate) home: Home,
}

/// What an agreement gave.
pub(crate) struct Secret {
    pub(crate) value: Zeroizing<Vec<u8>>,
    pub(crate) kind: CK_KEY_TYPE,
    pub(crate) id: Vec<u8>,
    pub(crate) label: String,
    pub(crate) is_sensitive: bool,
    pub(crate) is_extractable: bool,
    pub(crate) session: CK_SESSION_HANDLE,
}

/// Where a certificate is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the agent, beside the key of this path.
    Key(String),
    /// In this process, until the session ends.
    Session(CK_SESSION_HANDLE),
}

/// What an object says to a question for an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Value(Vec<u8>),
    /// It has one, and does not tell.
    Sensitive,
    /// It has none.
    None,
}

impl Object {
    /// The session that takes the object with it when it ends.
    pub(crate) fn session(&self) -> Option<CK_SESSION_HANDLE> {
        match self {
            Self::Private(_) | Self::Public(_) => None,
            Self::Secret(secret) => Some(secret.session),
            Self::Certificate(certificate) => match certificate.home {
                Home::Session(session) => Some(session),
                Home::Key(_) => None,
            },
        }
    }

    /// What tells the agent's objects apart: the key's path and the class.
    pub(crate) fn place(&self) -> Option<(&str, CK_OBJECT_CLASS)> {
        match self {
            Self::Private(key) => Some((&key.path, CKO_PRIVATE_KEY)),
            Self::Public(key) => Some((&key.path, CKO_PUBLIC_KEY)),
            Self::Certificate(certificate) => match &certificate.home {
                Home::Key(path) => Some((path, CKO_CERTIFICATE)),
                Home::Session(_) => None,
            },
            Self::Secret(_) => None,
        }
    }

    /// Whether each attribute of the template is the object's.
    pub(crate) fn matches(&self, template: &Template<'_>) -> bool {
        let mut wanted = template.0.iter();
        wanted.all(|(kind, value)| match self.attribute(*kind) {
            Attribute::Value(own) => own == *value,
            _ => false,
        })
    }

    /// One attribute.
    pub(crate) fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
        let of_all = match kind {
            CKA_TOKEN => flag(self.session().is_none()),
            CKA_MODIFIABLE => flag(self.session().is_none()),
            CKA_COPYABLE => flag(false),
            CKA_DESTROYABLE => flag(true),
            _ => match self {
                Self::Private(key) => private(key, kind),
                Self::Public(key) => public(key, kind),
                Self::Certificate(certificate) => certificate.attribute(kind),
                Self::Secret(secret) => secret.attribute(kind),
            },
        };
        match (of_all, kind) {
            // Empty unless the object says otherwise.
            (Attribute::None, CKA_START_DATE | CKA_END_DATE) => value(&[]),
            (attribute, _) => attribute,
        }
    }
}

fn private(key: &Key, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
    match kind {
        CKA_CLASS => number(CKO_PRIVATE_KEY),
        CKA_PRIVATE | CKA_SENSITIVE | CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE => flag(true),
        CKA_SIGN => flag(key.uses.sign),
        CKA_DECRYPT => flag(key.uses.decrypt),
        CKA_DERIVE => flag(key.uses.agree),
        CKA_EXTRACTABLE | CKA_SIGN_RECOVER | CKA_UNWRAP => flag(false),
        CKA_ALWAYS_AUTHENTICATE | CKA_WRAP_WITH_TRUSTED => flag(false),
        // The private halves. Whoever asks is told that there are such.
        CKA_VALUE if key.family() != Family::Rsa => Attribute::Sensitive,
        CKA_PRIVATE_EXPONENT | CKA_PRIME_1 | CKA_PRIME_2 if key.family() == Family::Rsa => {
            Attribute::Sensitive
        }
        CKA_EXPONENT_1 | CKA_EXPONENT_2 | CKA_COEFFICIENT if key.family() == Family::Rsa => {
            Attribute::Sensitive
        }
        CKA_EC_POINT | CKA_MODULUS_BITS => Attribute::None,
        _ => of_both_halves(key, kind),
    }
}

fn public(key: &Key, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
    match kind {
        CKA_CLASS => number(CKO_PUBLIC_KEY),
        CKA_VERIFY => flag(key.uses.sign),
        CKA_ENCRYPT => flag(key.uses.decrypt),
        CKA_DERIVE => flag(key.uses.agree),
        CKA_PRIVATE | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_TRUSTED => flag(false),
        _ => of_both_halves(key, kind),
    }
}

fn of_both_halves(key: &Key, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
    let of_kind = match (&key.public, kind) {
        (Public::Ec { .. }, CKA_KEY_TYPE) => number(CKK_EC),
        (Public::Ec { .. }, CKA_KEY_GEN_MECHANISM) => number(CKM_EC_KEY_PAIR_GEN),
        (Public::Ec { curve, .. }, CKA_EC_PARAMS) => value(curve.parameters()),
        (Public::Ec { point, .. }, CKA_EC_POINT) => {
            Attribute::Value(der::wrap(der::OCTET_STRING, point))
        }
        (Public::Rsa { .. }, CKA_KEY_TYPE) => number(CKK_RSA),
        (Public::Rsa { .. }, CKA_KEY_GEN_MECHANISM) => number(CKM_RSA_PKCS_KEY_PAIR_GEN),
        (Public::Rsa { modulus, .. }, CKA_MODULUS) => value(modulus),
        (Public::Rsa { modulus, .. }, CKA_MODULUS_BITS) => number(count(8 * modulus.len())),
        (Public::Rsa { exponent, .. }, CKA_PUBLIC_EXPONENT) => value(exponent),
        _ => Attribute::None,
    };
    match kind {
        CKA_LABEL => value(key.label.as_bytes()),
        CKA_ID => value(&key.id),
        CKA_LOCAL => flag(true),
        CKA_PUBLIC_KEY_INFO => value(&key.spki),
        CKA_SUBJECT => value(der::certificate(&key.certificate).map_or(&[], |c| c.subject)),
        CKA_ALLOWED_MECHANISMS => Attribute::Value(allowed_mechanisms(key)),
        _ => of_kind,
    }
}

fn allowed_mechanisms(key: &Key) -> Vec<u8> {
    let sign: &[CK_MECHANISM_TYPE] = match key.family() {
        Family::Ec(_) => {
            &[CKM_ECDSA, CKM_ECDSA_SHA1, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512]
        }
        Family::Rsa => &[
            CKM_RSA_PKCS,
            CKM_SHA256_RSA_PKCS,
            CKM_SHA384_RSA_PKCS,
            CKM_SHA512_RSA_PKCS,
            CKM_RSA_PKCS_PSS,
            CKM_SHA256_RSA_PKCS_PSS,
            CKM_SHA384_RSA_PKCS_PSS,
            CKM_SHA512_RSA_PKCS_PSS,
        ],
    };
    let of_use = [
        (key.uses.sign, sign),
        (key.uses.decrypt, &[CKM_RSA_PKCS_OAEP]),
        (key.uses.agree, &[CKM_ECDH1_DERIVE]),
    ];
    let allowed = of_use.iter().filter(|(may, _)| *may).flat_map(|(_, kinds)| kinds.iter());
    allowed.flat_map(|kind| kind.to_ne_bytes()).collect()
}

impl Certificate {
    fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
        let fields = || der::certificate(&self.der).unwrap_or_default();
        match kind {
            CKA_CLASS => number(CKO_CERTIFICATE),
            CKA_CERTIFICATE_TYPE => number(CKC_X_509),
            CKA_CERTIFICATE_CATEGORY => number(CK_CERTIFICATE_CATEGORY_UNSPECIFIED),
            CKA_PRIVATE | CKA_TRUSTED => flag(false),
            CKA_LABEL => value(self.label.as_bytes()),
            CKA_ID => value(&self.id),
            CKA_VALUE => value(&self.der),
            CKA_SUBJECT => value(fields().subject),
            CKA_ISSUER => value(fields().issuer),
            CKA_SERIAL_NUMBER => value(fields().serial_number),
            CKA_PUBLIC_KEY_INFO => value(fields().spki),
            CKA_URL | CKA_HASH_OF_SUBJECT_PUBLIC_KEY | CKA_HASH_OF_ISSUER_PUBLIC_KEY => value(&[]),
            _ => Attribute::None,
        }
    }
}

impl Secret {
    fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Attribute {
        match kind {
            CKA_CLASS => number(CKO_SECRET_KEY),
            CKA_KEY_TYPE => number(self.kind),
            CKA_VALUE if self.is_sensitive || !self.is_extractable => Attribute::Sensitive,
            CKA_VALUE => value(&self.value),
            CKA_VALUE_LEN => number(count(self.value.len())),
            CKA_LABEL => value(self.label.as_bytes()),
            CKA_ID => value(&self.id),
            CKA_SENSITIVE => flag(self.is_sensitive),
            CKA_EXTRACTABLE => flag(self.is_extractable),
            CKA_KEY_GEN_MECHANISM => number(CK_UNAVAILABLE_INFORMATION),
            CKA_PRIVATE | CKA_LOCAL | CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE => flag(false),
            CKA_ENCRYPT | CKA_DECRYPT | CKA_SIGN | CKA_VERIFY | CKA_WRAP | CKA_UNWRAP => {
                flag(false)
            }
            CKA_DERIVE | CKA_WRAP_WITH_TRUSTED | CKA_TRUSTED => flag(false),
            _ => Attribute::None,
        }
    }
}

fn value(bytes: &[u8]) -> Attribute {
    Attribute::Value(bytes.to_vec())
}

fn flag(flag: bool) -> Attribute {
    Attribute::Value(vec![if flag { CK_TRUE } else { CK_FALSE }])
}

fn number(number: CK_ULONG) -> Attribute {
    Attribute::Value(number.to_ne_bytes().to_vec())
}

fn count(number: usize) -> CK_ULONG {
    CK_ULONG::try_from(number).unwrap_or(CK_UNAVAILABLE_INFORMATION)
}
