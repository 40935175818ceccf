//! Keys of applications as their users see them.

use std::borrow::Cow;

use twinseal_hardware::{ApplicationKey, KeyAlgorithm, Uses};
use twinseal_scheme::id::ApplicationKeyId;

use crate::{Caller, Error, Kind};

const CERTIFICATE_LEN_MAX: usize = 16 * 1024;

/// How a key is to be made or imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    /// The application's word for it, 1 to 64 characters.
    pub label: String,
    /// CKA_ID of PKCS #11, 1 to 64 bytes; random unless given.
    pub cka_id: Option<Vec<u8>>,
    /// What it may do: `sign`, `decrypt` (RSA), `agree` (elliptic curves). Empty: `sign`. An
    /// imported key says itself what it may do.
    pub uses: Vec<String>,
    /// A group of the caller's whose members may use it, too.
    pub group: Option<u32>,
}

/// What of a key is to change; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Its new label.
    pub label: Option<String>,
    /// Its new CKA_ID.
    pub cka_id: Option<Vec<u8>>,
    /// Its new certificate, X.509 in DER; an empty one takes the old one away.
    pub certificate: Option<Vec<u8>>,
}

/// A key as somebody who may use it sees it.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Its name: stays the same as long as the key is there.
    pub id: ApplicationKeyId,
    /// The user it belongs to.
    pub owner: u32,
    /// The group whose members may use it, too.
    pub group: Option<u32>,
    /// The owner's word for it.
    pub label: String,
    /// CKA_ID of PKCS #11: by it, programs find key and certificate together.
    pub cka_id: Vec<u8>,
    /// The owner's certificate for it, X.509 in DER.
    pub certificate: Option<Vec<u8>>,
    /// When it was made here or imported, unix seconds.
    pub created: u64,
    pub(crate) key: ApplicationKey,
}

impl KeyView {
    /// `ecc-p256`, `ecc-p384`, `rsa-2048`, `rsa-3072` or `hmac-sha256`.
    pub fn algorithm(&self) -> &'static str {
        self.key.algorithm().word()
    }

    /// What it may do: `sign`, `decrypt`, `agree`.
    pub fn uses(&self) -> Vec<&'static str> {
        let Uses { sign, decrypt } = self.key.uses();
        let decrypt = decrypt.then(|| decrypt_word(self.key.algorithm()));
        sign.then_some("sign").into_iter().chain(decrypt).collect()
    }

    /// SubjectPublicKeyInfo, DER; empty for HMAC.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().map(|key| key.spki_der()).unwrap_or_default()
    }
}

impl NewKey {
    /// # Errors
    /// [`Kind::InvalidArgument`] for a label or CKA_ID that no key may have.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_label(&self.label)?;
        self.cka_id.as_deref().map_or(Ok(()), check_cka_id)
    }
}

impl KeyView {
    /// Who may see a key may use it, and nobody else.
    pub(crate) fn is_for(&self, caller: &Caller) -> bool {
        self.owner == caller.uid || self.group.is_some_and(|group| caller.gids.contains(&group))
    }

    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::TooLarge`].
    pub(crate) fn change(&mut self, change: KeyChange) -> Result<(), Error> {
        if let Some(label) = change.label {
            check_label(&label)?;
            self.label = label;
        }
        if let Some(cka_id) = change.cka_id {
            check_cka_id(&cka_id)?;
            self.cka_id = cka_id;
        }
        if let Some(certificate) = change.certificate {
            check_certificate(&certificate, &self.public_key())?;
            self.certificate = (!certificate.is_empty()).then_some(certificate);
        }
        Ok(())
    }
}

fn check_label(label: &str) -> Result<(), Error> {
    let fits = (1..=64).contains(&label.chars().count()) && !label.chars().any(char::is_control);
    match fits {
        true => Ok(()),
        false => Err(wrong("a label has 1 to 64 characters, none of them a control character")),
    }
}

fn check_cka_id(cka_id: &[u8]) -> Result<(), Error> {
    match (1..=64).contains(&cka_id.len()) {
        true => Ok(()),
        false => Err(wrong("an id has 1 to 64 bytes")),
    }
}

/// That it is one certificate's length and holds the key; who relies on it judges the rest.
fn check_certificate(certificate: &[u8], public_key: &[u8]) -> Result<(), Error> {
    if certificate.len() > CERTIFICATE_LEN_MAX {
        return Err(Error::new(Kind::TooLarge, "a certificate of more than 16 KiB")
            .and("keep it elsewhere"));
    }
    // X.690, section 8.1.3.
    let is_sequence = match certificate {
        [0x30, 0x81, len, rest @ ..] => usize::from(*len) == rest.len(),
        [0x30, 0x82, high, low, rest @ ..] => {
            usize::from(u16::from_be_bytes([*high, *low])) == rest.len()
        }
        _ => false,
    };
    let is_for_key = is_sequence
        && !public_key.is_empty()
        && certificate.windows(public_key.len()).any(|part| part == public_key);
    match certificate.is_empty() || is_for_key {
        true => Ok(()),
        false => Err(wrong("this is no certificate (DER) for this key")),
    }
}

pub(crate) fn wrong(what: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::InvalidArgument, what)
}

/// What a TPM calls decrypting is agreeing with elliptic curves.
pub(crate) fn decrypt_word(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::EccP256 | KeyAlgorithm::EccP384 => "agree",
        _ => "decrypt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_ids_are_bounded() {
        let new = |label: &str, cka_id: Option<usize>| NewKey {
            label: label.to_owned(),
            cka_id: cka_id.map(|len| vec![1; len]),
            ..NewKey::default()
        };
        assert_eq!(new("till", None).check(), Ok(()));
        assert_eq!(new(&"é".repeat(64), Some(64)).check(), Ok(()));
        for wrong in [new("", None), new("a\nb", None), new(&"x".repeat(65), None)] {
            assert_eq!(wrong.check().unwrap_err().kind, Kind::InvalidArgument);
        }
        for wrong in [new("till", Some(0)), new("till", Some(65))] {
            assert_eq!(wrong.check().unwrap_err().kind, Kind::InvalidArgument);
        }
    }

    #[test]
    fn a_certificate_is_one_and_for_the_key() {
        let key = [0x5a; 91];
        let certificate = [&[0x30, 0x81, 0xa0][..], &[1; 69], &key].concat();
        assert_eq!(check_certificate(&certificate, &key), Ok(()));
        assert_eq!(check_certificate(&[], &key), Ok(()));
        for (certificate, key) in [
            (&certificate[1..], &key[..]),
            (&certificate[..159], &key[..]),
            (&certificate[..], &[0x5b; 91][..]),
            (&certificate[..], &[][..]),
        ] {
            let refused = check_certificate(certificate, key).unwrap_err();
            assert_eq!(refused.kind, Kind::InvalidArgument);
        }
        let long = check_certificate(&[0x30; 16 * 1024 + 1], &key).unwrap_err();
        assert_eq!(long.kind, Kind::TooLarge);
    }
}
