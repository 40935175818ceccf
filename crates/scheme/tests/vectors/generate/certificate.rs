//! X.509 certificates by hand (RFC 5280), to be wrong in one place.

use crate::crypto::Key;

/// A certificate in pieces. Names are whole DER.
#[derive(Clone)]
pub struct Draft {
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub not_before: &'static str,
    pub not_after: &'static str,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
    pub signature_algorithm: &'static [u8],
}

pub const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub const ECDSA_WITH_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
pub const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
pub const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

impl Draft {
    /// An EK certificate as vendors make them: no subject, a critical directory name.
    pub fn endorsement(spki: &[u8], issuer: &str) -> Draft {
        let usage = if spki.len() > 200 { 0x20 } else { 0x08 };
        Draft {
            issuer: common_name(issuer),
            subject: sequence(&[]),
            not_before: "20200101000000Z",
            not_after: "20400101000000Z",
            spki: spki.to_vec(),
            extensions: vec![
                key_usage(usage),
                basic_constraints(false, None),
                purposes(&[EK_CERTIFICATE]),
                chip_name("id:41434D45", "model 7", "id:00070001"),
            ],
            signature_algorithm: ECDSA_WITH_SHA256,
        }
    }

    pub fn authority(issuer: &str, subject: &str, key: &Key) -> Draft {
        Draft {
            subject: common_name(subject),
            extensions: vec![basic_constraints(true, None), key_usage(0x06)],
            ..Draft::endorsement(&key.spki(), issuer)
        }
    }

    /// Signed with ECDSA and SHA-256, whatever it says.
    pub fn signed_by(&self, signer: &Key) -> Vec<u8> {
        let algorithm = sequence(&[&oid(self.signature_algorithm)]);
        let extensions: Vec<_> = self.extensions.iter().map(Vec::as_slice).collect();
        let tbs = sequence(&[
            &tlv(0xa0, &[&integer(&[2])]),
            &integer(&[1]),
            &algorithm,
            &self.issuer,
            &sequence(&[&time(self.not_before), &time(self.not_after)]),
            &self.subject,
            &self.spki,
            &tlv(0xa3, &[&sequence(&extensions)]),
        ]);
        sequence(&[&tbs, &algorithm, &tlv(0x03, &[&[0], &der(&signer.sign(&tbs))])])
    }
}

/// Ecdsa-Sig-Value (RFC 3279 section 2.2.3).
fn der(signature: &[u8; 64]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let digits = &bytes[zeros..];
        let sign: &[u8] = if digits[0] & 0x80 != 0 { &[0] } else { &[] };
        integer(&[sign, digits].concat())
    };
    sequence(&[&number(&signature[..32]), &number(&signature[32..])])
}

pub fn key_usage(bits: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x0f], true, &tlv(0x03, &[&[0, bits]]))
}

pub fn basic_constraints(authority: bool, path_len: Option<u8>) -> Vec<u8> {
    let authority = if authority { tlv(0x01, &[&[0xff]]) } else { vec![] };
    let path_len = path_len.map(|len| integer(&[len])).unwrap_or_default();
    extension(&[0x55, 0x1d, 0x13], true, &sequence(&[&authority, &path_len]))
}

pub fn purposes(oids: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<_> = oids.iter().map(|value| oid(value)).collect();
    let oids: Vec<_> = oids.iter().map(Vec::as_slice).collect();
    extension(&[0x55, 0x1d, 0x25], false, &sequence(&oids))
}

/// A critical subject alternative name. Its SET is **not** sorted, as on the chips of at least
/// one vendor.
pub fn chip_name(manufacturer: &str, model: &str, version: &str) -> Vec<u8> {
    let attribute = |last: u8, value: &str| {
        sequence(&[&oid(&[0x67, 0x81, 0x05, 0x02, last]), &tlv(0x0c, &[value.as_bytes()])])
    };
    let set =
        tlv(0x31, &[&attribute(3, version), &attribute(2, model), &attribute(1, manufacturer)]);
    extension(&[0x55, 0x1d, 0x11], true, &sequence(&[&tlv(0xa4, &[&sequence(&[&set])])]))
}

pub fn extension(id: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[&[0xff]]) } else { vec![] };
    sequence(&[&oid(id), &critical, &tlv(0x04, &[content])])
}

pub fn common_name(name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid(&[0x55, 0x04, 0x03]), &tlv(0x0c, &[name.as_bytes()])]);
    sequence(&[&tlv(0x31, &[&attribute])])
}

fn oid(value: &[u8]) -> Vec<u8> {
    tlv(0x06, &[value])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn integer(value: &[u8]) -> Vec<u8> {
    tlv(0x02, &[value])
}

fn time(value: &str) -> Vec<u8> {
    tlv(0x18, &[value.as_bytes()])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    let header = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header, content].concat()
}
