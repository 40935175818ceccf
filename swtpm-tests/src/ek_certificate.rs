//! EK certificates made by hand, to be right or wrong in exactly one place.

use crate::EkAuthority;
use crate::authority::ROOT_NAME;

/// A certificate in pieces, each of which a test may replace before it is signed. All are DER.
///
/// It begins as vendors make them (TCG, *EK Credential Profile*, section 3): no subject, and the
/// chip's maker, model and version in a critical subject alternative name.
#[derive(Clone, Debug)]
pub struct EkCertificate {
    /// Name.
    pub issuer: Vec<u8>,
    /// Name.
    pub subject: Vec<u8>,
    /// GeneralizedTime, such as `20200101000000Z`.
    pub not_before: &'static str,
    /// The same.
    pub not_after: &'static str,
    /// SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// Extension, each: key usage, basic constraints, purpose, name of the chip.
    pub extensions: Vec<Vec<u8>>,
}

/// ecdsa-with-SHA256 (RFC 5758, section 3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

impl EkCertificate {
    /// For a key, given as SubjectPublicKeyInfo; `usage` is the byte of its key usage: 0x08 to
    /// agree, 0x20 to encipher (RFC 5280, section 4.2.1.3).
    pub fn of(key: Vec<u8>, usage: u8) -> Self {
        EkCertificate {
            issuer: EkCertificate::name(ROOT_NAME),
            subject: tlv(0x30, &[]),
            not_before: "20200101000000Z",
            not_after: "20400101000000Z",
            key,
            extensions: vec![
                EkCertificate::key_usage(usage),
                EkCertificate::basic_constraints(false),
                EkCertificate::purpose(&[0x67, 0x81, 0x05, 0x08, 0x01]),
                EkCertificate::chip(&[(1, "id:41434D45"), (2, "model 7"), (3, "id:00070001")]),
            ],
        }
    }

    /// The certificate, in DER, as the authority's root signs it.
    pub fn signed_by(&self, authority: &EkAuthority) -> Vec<u8> {
        let algorithm = tlv(0x30, &[&tlv(0x06, &[ECDSA_WITH_SHA256])]);
        let time = |time: &str| tlv(0x18, &[time.as_bytes()]);
        let extensions: Vec<_> = self.extensions.iter().map(Vec::as_slice).collect();
        let tbs = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&tlv(0x02, &[&[2]])]),
                &tlv(0x02, &[&[7]]),
                &algorithm,
                &self.issuer,
                &tlv(0x30, &[&time(self.not_before), &time(self.not_after)]),
                &self.subject,
                &self.key,
                &tlv(0xa3, &[&tlv(0x30, &extensions)]),
            ],
        );
        let signature = authority.sign(&tbs);
        tlv(0x30, &[&tbs, &algorithm, &tlv(0x03, &[&[0], &signature])])
    }

    /// A Name that is one common name.
    pub fn name(common_name: &str) -> Vec<u8> {
        let attribute =
            tlv(0x30, &[&tlv(0x06, &[&[0x55, 0x04, 0x03]]), &tlv(0x0c, &[common_name.as_bytes()])]);
        tlv(0x30, &[&tlv(0x31, &[&attribute])])
    }

    /// A critical key usage of one byte.
    pub fn key_usage(bits: u8) -> Vec<u8> {
        extension(&[0x55, 0x1d, 0x0f], true, &tlv(0x03, &[&[0, bits]]))
    }

    /// Critical basic constraints: an authority, or not.
    pub fn basic_constraints(authority: bool) -> Vec<u8> {
        let yes = if authority { tlv(0x01, &[&[0xff]]) } else { Vec::new() };
        extension(&[0x55, 0x1d, 0x13], true, &tlv(0x30, &[&yes]))
    }

    /// An extended key usage of one purpose, an OBJECT IDENTIFIER without its header.
    pub fn purpose(id: &[u8]) -> Vec<u8> {
        extension(&[0x55, 0x1d, 0x25], false, &tlv(0x30, &[&tlv(0x06, &[id])]))
    }

    /// A critical subject alternative name with what is said of the chip (1 maker, 2 model, 3
    /// version; TCG, section 3.2.9), as one SET in the order given: DER wants them ascending.
    pub fn chip(attributes: &[(u8, &str)]) -> Vec<u8> {
        let attribute = |(last, value): &(u8, &str)| {
            let id = tlv(0x06, &[&[0x67, 0x81, 0x05, 0x02, *last]]);
            tlv(0x30, &[&id, &tlv(0x0c, &[value.as_bytes()])])
        };
        let set: Vec<u8> = attributes.iter().flat_map(attribute).collect();
        let name = tlv(0xa4, &[&tlv(0x30, &[&tlv(0x31, &[&set])])]);
        extension(&[0x55, 0x1d, 0x11], true, &tlv(0x30, &[&name]))
    }

    /// A critical extension of which nobody has heard.
    pub fn unheard_of() -> Vec<u8> {
        extension(&[0x2a, 0x03, 0x04], true, &[0x05, 0x00])
    }

    /// The same RSA key, marked as one for RSAES-OAEP (RFC 4055, section 4.1) instead of
    /// rsaEncryption.
    pub fn marked_for_oaep(key: &[u8]) -> Vec<u8> {
        let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        let at = key.windows(9).position(|w| w == rsa_encryption).expect("an RSA key");
        let mut key = key.to_vec();
        key[at + 8] = 0x07;
        key
    }
}

fn extension(id: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[&[0xff]]) } else { Vec::new() };
    tlv(0x30, &[&tlv(0x06, &[id]), &critical, &tlv(0x04, &[content])])
}

/// DER of less than 64 KiB.
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
