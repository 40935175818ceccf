//! As much of DER (X.690) as keys, signatures and certificates need.

pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
const NULL: u8 = 0x05;
/// The version of a certificate.
const CONTEXT_0: u8 = 0xa0;

/// prime256v1 and secp384r1 as `ECParameters` (RFC 5480, section 2.1.1.1).
pub(crate) const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(crate) const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// One value: its tag, its content, and all of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// The first value, and what follows it. `None`: there is none.
pub(crate) fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - after.len())?;
    Some((Element { tag, content, whole }, after))
}

/// All values one after the other; `None` where the bytes are anything else.
pub(crate) fn all(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = first(bytes)?;
        elements.push(element);
        bytes = rest;
    }
    Some(elements)
}

/// What is in the one value of this tag that the bytes are.
pub(crate) fn only(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    match first(bytes)? {
        (element, []) if element.tag == tag => Some(element.content),
        _ => None,
    }
}

/// A value with its tag and length.
pub(crate) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match length {
        0..=0x7f => bytes.extend(u8::try_from(length)),
        _ => {
            let digits = length.to_be_bytes();
            let digits = trimmed(&digits);
            bytes.extend(u8::try_from(digits.len() | 0x80));
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}

/// A number without its leading zeros.
pub(crate) fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// What a SubjectPublicKeyInfo (RFC 5280, section 4.1) holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// `ECParameters`, and the point, uncompressed.
    Ec(&'a [u8], &'a [u8]),
    /// Modulus and public exponent, without leading zeros.
    Rsa(&'a [u8], &'a [u8]),
}

pub(crate) fn public_key(spki: &[u8]) -> Option<PublicKey<'_>> {
    let fields = all(only(SEQUENCE, spki)?)?;
    let [algorithm, key] = fields.as_slice() else { return None };
    if algorithm.tag != SEQUENCE || key.tag != BIT_STRING {
        return None;
    }
    let key = key.content.strip_prefix(&[0])?;
    let algorithm = all(algorithm.content)?;
    match algorithm.as_slice() {
        [name, curve] if name.content == EC_PUBLIC_KEY => Some(PublicKey::Ec(curve.whole, key)),
        [name, ..] if name.content == RSA_ENCRYPTION => {
            let numbers = all(only(SEQUENCE, key)?)?;
            let [modulus, exponent] = numbers.as_slice() else { return None };
            Some(PublicKey::Rsa(trimmed(modulus.content), trimmed(exponent.content)))
        }
        _ => None,
    }
}

/// A `DigestInfo` (RFC 8017, section 9.2): the name of its hash, and the digest.
pub(crate) fn digest_info(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let fields = all(only(SEQUENCE, bytes)?)?;
    let [algorithm, digest] = fields.as_slice() else { return None };
    if algorithm.tag != SEQUENCE || digest.tag != OCTET_STRING {
        return None;
    }
    let name = match all(algorithm.content)?.as_slice() {
        [name] => *name,
        [name, parameters] if parameters.whole == [NULL, 0] => *name,
        _ => return None,
    };
    (name.tag == OBJECT_IDENTIFIER).then_some((name.content, digest.content))
}

/// What a certificate (RFC 5280, section 4.1) says of itself, each as DER.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    pub(crate) serial_number: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
}

pub(crate) fn certificate(bytes: &[u8]) -> Option<Certificate<'_>> {
    let parts = all(only(SEQUENCE, bytes)?)?;
    let [body, _, _] = parts.as_slice() else { return None };
    let fields = all(body.content)?;
    let fields = match fields.as_slice() {
        [version, rest @ ..] if version.tag == CONTEXT_0 => rest,
        fields => fields,
    };
    let [serial_number, _, issuer, _, subject, spki, ..] = fields else { return None };
    Some(Certificate {
        serial_number: serial_number.whole,
        issuer: issuer.whole,
        subject: subject.whole,
        spki: spki.whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_all_forms() {
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let content = vec![7; length];
            let whole = wrap(OCTET_STRING, &content);
            assert_eq!(only(OCTET_STRING, &whole), Some(content.as_slice()), "{length}");
            assert_eq!(only(SEQUENCE, &whole), None);
            assert_eq!(only(OCTET_STRING, &whole[..whole.len() - 1]), None, "{length}");
        }
        for junk in
            [&[][..], &[4], &[4, 0x80], &[4, 0x85, 0, 0, 0, 0, 0], &[4, 0x84, 255, 255, 255, 255]]
        {
            assert_eq!(first(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn digest_infos_are_read_with_and_without_parameters() {
        let name = wrap(OBJECT_IDENTIFIER, &[9]);
        let digest = wrap(OCTET_STRING, &[1, 2]);
        let of = |parameters: &[u8]| {
            let algorithm = wrap(SEQUENCE, &[&name, parameters].concat());
            wrap(SEQUENCE, &[algorithm, digest.clone()].concat())
        };
        let expected = Some((&[9][..], &[1, 2][..]));
        assert_eq!(digest_info(&of(&[])), expected);
        assert_eq!(digest_info(&of(&[NULL, 0])), expected);
        assert_eq!(digest_info(&of(&[NULL, 1, 0])), None);
        assert_eq!(digest_info(&[&of(&[])[..], &[0]].concat()), None);
    }
}
