//! Which token: a PKCS#11 URI (RFC 7512).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// A token, and the module that reaches it, such as
/// `pkcs11:token=till?module-path=/usr/lib/softhsm/libsofthsm2.so`.
///
/// Of RFC 7512 these attributes are known: `token`, `serial`, `manufacturer` and `model`, of which
/// at least one must be there, and `module-path`, which must. All others are refused, above all
/// those of the PIN: a configuration is no place for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAddress {
    module: PathBuf,
    /// Name and value, in the order of the URI.
    attributes: Vec<(Attribute, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Label,
    Serial,
    Manufacturer,
    Model,
}

impl TokenAddress {
    /// The module's library.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Whether a token fits, of which `attribute` gives what it says of itself.
    pub(super) fn fits(&self, attribute: impl Fn(Attribute) -> String) -> bool {
        self.attributes.iter().all(|(name, value)| attribute(*name) == *value)
    }
}

impl Attribute {
    const ALL: [Self; 4] = [Self::Label, Self::Serial, Self::Manufacturer, Self::Model];

    fn name(self) -> &'static str {
        match self {
            Self::Label => "token",
            Self::Serial => "serial",
            Self::Manufacturer => "manufacturer",
            Self::Model => "model",
        }
    }
}

impl FromStr for TokenAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest =
            text.strip_prefix("pkcs11:").ok_or(Error::Misuse("a token that is no pkcs11: URI"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut attributes: Vec<(Attribute, String)> = Vec::new();
        for (name, value) in pairs(path, ';') {
            let known = Attribute::ALL.into_iter().find(|attribute| attribute.name() == name);
            let known = known.ok_or(Error::Misuse(
                "a pkcs11: URI with another attribute than token, serial, manufacturer, model",
            ))?;
            if attributes.iter().any(|(other, _)| *other == known) {
                return Err(Error::Misuse("a pkcs11: URI with an attribute twice"));
            }
            attributes.push((known, decoded(value)?));
        }
        let mut module = None;
        for (name, value) in pairs(query, '&') {
            match name {
                "module-path" if module.is_none() => module = Some(PathBuf::from(decoded(value)?)),
                "pin-value" | "pin-source" => {
                    return Err(Error::Misuse(
                        "a pkcs11: URI with a PIN, which others could read; use hardware.pin_file",
                    ));
                }
                _ => return Err(Error::Misuse("a pkcs11: URI with an unknown query")),
            }
        }
        let module = module.filter(|path| path.is_absolute());
        let module =
            module.ok_or(Error::Misuse("a pkcs11: URI without an absolute module-path="))?;
        match attributes.is_empty() {
            true => Err(Error::Misuse("a pkcs11: URI that names no token")),
            false => Ok(Self { module, attributes }),
        }
    }
}

impl fmt::Display for TokenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        for (at, (name, value)) in self.attributes.iter().enumerate() {
            let separator = if at == 0 { "" } else { ";" };
            write!(f, "{separator}{}={}", name.name(), encoded(value))?;
        }
        write!(f, "?module-path={}", encoded(&self.module.to_string_lossy()))
    }
}

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split(separator).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Takes percent-encoding off (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, Error> {
    let wrong = Error::Misuse("a pkcs11: URI with broken percent-encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(wrong.clone())?;
        rest = tail;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong.clone())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong.clone())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong)
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_it_writes_it_reads() {
        for text in [
            "pkcs11:token=till?module-path=/usr/lib/softhsm/libsofthsm2.so",
            "pkcs11:token=till%207;serial=0042?module-path=/opt/a%20b.so",
            "pkcs11:manufacturer=V;model=M?module-path=/m.so",
        ] {
            let address: TokenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let address: TokenAddress = "pkcs11:token=till%207?module-path=/m.so".parse().unwrap();
        let says = |label: &str| {
            let label = label.to_owned();
            move |attribute| if attribute == Attribute::Label { label.clone() } else { "x".into() }
        };
        assert!(address.fits(says("till 7")));
        assert!(!address.fits(says("till 8")));
    }

    #[test]
    fn a_pin_in_it_is_refused_by_name() {
        for query in ["pin-value=1234", "pin-source=file:/pin"] {
            let text = format!("pkcs11:token=t?module-path=/m.so&{query}");
            let error = text.parse::<TokenAddress>().unwrap_err();
            assert!(error.to_string().contains("pin_file"), "{error}");
        }
    }

    #[test]
    fn what_names_no_token_or_no_module_is_refused() {
        for text in [
            "",
            "pkcs11:",
            "pkcs11:token=t",
            "pkcs11:?module-path=/m.so",
            "pkcs11:token=t?module-path=m.so",
            "pkcs11:token=t;token=u?module-path=/m.so",
            "pkcs11:slot-id=1?module-path=/m.so",
            "pkcs11:token=%4?module-path=/m.so",
            "pkcs11:token=%ff?module-path=/m.so",
            "pkcs11:token=t?module-name=m",
        ] {
            assert_eq!(text.parse::<TokenAddress>().unwrap_err().code(), "misuse", "{text}");
        }
    }
}
