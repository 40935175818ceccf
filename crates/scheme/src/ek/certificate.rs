//! One certificate, read leniently.

use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use x509_parser::der_parser::oid;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::signature::Signed;
use super::{ChipIdentity, EkPolicy};
use crate::Reason;
use crate::tpm::{Curve, PublicKey};

/// A certificate without what chips store around it.
pub(super) struct Trimmed<'a> {
    pub(super) der: &'a [u8],
    wrapper_len: usize,
    padding_len: usize,
}

/// Cuts a certificate out by the length that its DER states. In front, the wrapper of the
/// TCG's PC Client specification is allowed (`10 01 00`, a `u16` length, and mostly
/// `10 02`); behind, padding that is all 0xFF or all zero, as NV indices have it.
///
/// # Errors
/// [`Reason::EkCertForm`], [`Reason::EkCertTrailing`].
pub(super) fn trim(stored: &[u8]) -> Result<Trimmed<'_>, Reason> {
    let unwrapped = match stored {
        [0x10, 0x01, 0x00, high, low, rest @ ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let content = rest.get(..len).ok_or(Reason::EkCertForm)?;
            content.strip_prefix(&[0x10, 0x02]).unwrap_or(content)
        }
        _ => stored,
    };
    let len = der_len(unwrapped).ok_or(Reason::EkCertForm)?;
    let (der, padding) = unwrapped.split_at_checked(len).ok_or(Reason::EkCertForm)?;
    if !padding.iter().all(|byte| *byte == 0xff) && !padding.iter().all(|byte| *byte == 0) {
        return Err(Reason::EkCertTrailing);
    }
    Ok(Trimmed { der, wrapper_len: stored.len() - unwrapped.len(), padding_len: padding.len() })
}

impl Trimmed<'_> {
    pub(super) fn describe(&self) -> String {
        format!(
            "certificate of {} bytes, without {} bytes of wrapper and {} of padding",
            self.der.len(),
            self.wrapper_len,
            self.padding_len
        )
    }
}

/// Length of the SEQUENCE at the front with its header, from X.690, section 8.1.3.
fn der_len(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0x30, len @ 0..=0x7f, ..] => Some(2 + usize::from(len)),
        [0x30, 0x81, len, ..] => Some(3 + usize::from(len)),
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// A parsed certificate.
pub(super) struct Certificate<'a> {
    x509: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Parses exactly one certificate.
    ///
    /// # Errors
    /// [`Reason::EkCertForm`], also for an extension that stands there twice, and for one
    /// that counts and cannot be read: it must not be taken for absent.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Reason> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| Reason::EkCertForm)?;
        let unreadable = x509.iter_extensions().any(|extension| {
            UNDERSTOOD.contains(&extension.oid)
                && matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
        });
        let stated = &x509.tbs_certificate.signature.algorithm;
        let one_algorithm = x509.signature_algorithm.algorithm == *stated;
        if !rest.is_empty() || unreadable || !one_algorithm || x509.extensions_map().is_err() {
            return Err(Reason::EkCertForm);
        }
        Ok(Certificate { x509 })
    }

    /// Its signature, for whoever has the issuer's key.
    pub(super) fn signed(&self) -> Signed<'_> {
        Signed {
            message: self.x509.tbs_certificate.as_ref(),
            algorithm: &self.x509.signature_algorithm.algorithm,
            signature: &self.x509.signature_value.data,
        }
    }

    pub(super) fn subject_key(&self) -> &SubjectPublicKeyInfo<'a> {
        &self.x509.tbs_certificate.subject_pki
    }

    /// The issuer's name in the form in which names are compared.
    pub(super) fn issuer(&self) -> Vec<u8> {
        comparable(&self.x509.tbs_certificate.issuer)
    }

    /// The subject's name in the form in which names are compared.
    pub(super) fn subject(&self) -> Vec<u8> {
        comparable(&self.x509.tbs_certificate.subject)
    }

    pub(super) fn issuer_text(&self) -> String {
        name_text(&self.x509.tbs_certificate.issuer)
    }

    pub(super) fn subject_text(&self) -> String {
        name_text(&self.x509.tbs_certificate.subject)
    }

    /// The key, in the form in which a TPM's public area gives it.
    pub(super) fn endorsed_key(&self) -> Result<PublicKey, Reason> {
        endorsed_key(self.subject_key()).ok_or(Reason::EkCertKey)
    }

    pub(super) fn not_an_authority(&self) -> Result<(), Reason> {
        let (authority, _) = self.basic_constraints();
        let signs = self.x509.key_usage().ok().flatten().is_some_and(|u| u.value.key_cert_sign());
        if authority || signs { Err(Reason::EkCertAuthority) } else { Ok(()) }
    }

    /// May this certificate sign others, with `below` authorities between it and the
    /// certificate that is looked at?
    pub(super) fn may_issue(&self, below: usize) -> Result<(), Reason> {
        let (authority, path_len) = self.basic_constraints();
        if !authority {
            return Err(Reason::EkChainNotAuthority);
        }
        let usage = self.x509.key_usage().map_err(|_| Reason::EkCertForm)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(Reason::EkChainKeyUsage);
        }
        match path_len {
            Some(limit) if below > limit as usize => Err(Reason::EkChainPathLength),
            _ => Ok(()),
        }
    }

    /// For RSA keys encipherment, for elliptic curves agreement, unless nothing is said.
    pub(super) fn key_usage(&self, key: &PublicKey) -> Result<(), Reason> {
        let usage = self.x509.key_usage().map_err(|_| Reason::EkCertForm)?;
        let fits = usage.is_none_or(|usage| match key.modulus() {
            Some(_) => usage.value.key_encipherment(),
            None => usage.value.key_agreement(),
        });
        if fits { Ok(()) } else { Err(Reason::EkCertKeyUsage) }
    }

    /// tcg-kp-EKCertificate, where a purpose is given.
    pub(super) fn purpose(&self) -> Result<(), Reason> {
        let purposes = self.x509.extended_key_usage().map_err(|_| Reason::EkCertForm)?;
        match purposes.is_none_or(|purposes| purposes.value.other.contains(&EK_CERTIFICATE)) {
            true => Ok(()),
            false => Err(Reason::EkCertPurpose),
        }
    }

    /// Policies are among what is understood: none is asked for, so any will do.
    pub(super) fn critical_extensions(&self) -> Result<(), Reason> {
        let mut critical = self.x509.iter_extensions().filter(|extension| extension.critical);
        match critical.all(|extension| UNDERSTOOD.contains(&extension.oid)) {
            true => Ok(()),
            false => Err(Reason::EkCertCritical),
        }
    }

    pub(super) fn validity(&self, policy: &EkPolicy<'_>) -> Result<(), Reason> {
        let validity = self.x509.validity();
        let now = i64::try_from(policy.now_s).unwrap_or(i64::MAX);
        let valid =
            (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
        if valid || policy.accept_expired { Ok(()) } else { Err(Reason::EkCertExpired) }
    }

    /// The chip, from the directory names of the subject alternative name.
    pub(super) fn identity(&self) -> Option<ChipIdentity> {
        let alternatives = self.x509.subject_alternative_name().ok()??;
        let names = alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(name),
            _ => None,
        });
        let attributes: Vec<_> = names.flat_map(X509Name::iter_attributes).collect();
        let stated = |oid: Oid<'_>| {
            let found = attributes.iter().find(|attribute| *attribute.attr_type() == oid);
            found.map(|attribute| printable(attribute.as_slice())).unwrap_or_default()
        };
        let identity = ChipIdentity {
            manufacturer: stated(oid!(2.23.133.2.1)),
            model: stated(oid!(2.23.133.2.2)),
            version: stated(oid!(2.23.133.2.3)),
        };
        (identity != ChipIdentity::default()).then_some(identity)
    }

    fn basic_constraints(&self) -> (bool, Option<u32>) {
        match self.x509.basic_constraints() {
            Ok(Some(constraints)) => (constraints.value.ca, constraints.value.path_len_constraint),
            _ => (false, None),
        }
    }
}

/// The extensions that may be critical.
const UNDERSTOOD: [Oid<'static>; 5] = [
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_CERTIFICATE_POLICIES,
];

/// tcg-kp-EKCertificate (EK profile, section 3.1.2).
const EK_CERTIFICATE: Oid<'static> = oid!(2.23.133.8.1);

/// id-RSAES-OAEP (RFC 4055, section 4.1).
const RSAES_OAEP: Oid<'static> = oid!(1.2.840.113549.1.1.7);

/// RSA is taken under either of its two names: some vendors mark the key as one for OAEP.
fn endorsed_key(spki: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    let algorithm = &spki.algorithm.algorithm;
    let bits = &spki.subject_public_key.data;
    if *algorithm == OID_PKCS1_RSAENCRYPTION || *algorithm == RSAES_OAEP {
        let key = RsaPublicKey::from_pkcs1_der(bits).ok()?;
        return match *key.e() == BigUint::from(65537u32) {
            true => PublicKey::rsa(&key.n().to_bytes_be()).ok(),
            false => None,
        };
    }
    let curve = match spki.algorithm.parameters.as_ref()?.as_oid().ok()? {
        _ if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY => return None,
        curve if curve == OID_EC_P256 => Curve::P256,
        curve if curve == OID_NIST_EC_P384 => Curve::P384,
        _ => return None,
    };
    let (x, y) = bits.strip_prefix(&[0x04])?.split_at_checked(curve.field_len())?;
    PublicKey::ecc(curve, x, y).ok()
}

/// Types and values of a name, without what kind of string each value is: at least one
/// vendor's authorities write their root's PrintableStrings as UTF8Strings. A name only
/// finds the issuer; the signature proves it.
fn comparable(name: &X509Name<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for set in name.iter_rdn() {
        for attribute in set.iter() {
            for part in [attribute.attr_type().as_bytes(), attribute.as_slice()] {
                out.extend((part.len() as u32).to_be_bytes());
                out.extend(part);
            }
        }
        // No part is so long: the end of a set.
        out.extend(u32::MAX.to_be_bytes());
    }
    out
}

fn name_text(name: &X509Name<'_>) -> String {
    printable(name.to_string().as_bytes())
}

/// At most 120 characters of printable ASCII: it goes to terminals and logs.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_matches(['\0', ' '])
        .chars()
        .flat_map(char::escape_default)
        .take(120)
        .collect()
}
