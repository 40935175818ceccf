//! Certificates made by hand, to be right or wrong in exactly one place.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::tpm::PublicKey;
use crate::tpm::testing::p256_key;

/// A certificate in pieces, each of which a test may replace. Names are whole DER.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) not_before: &'static str,
    pub(super) not_after: &'static str,
    pub(super) spki: Vec<u8>,
    pub(super) extensions: Vec<Vec<u8>>,
    pub(super) signature_algorithm: Vec<u8>,
}

impl Draft {
    /// An EK certificate as vendors make them: no subject, a critical directory name.
    pub(super) fn endorsement(key: &PublicKey, issuer: &str) -> Self {
        let usage = if key.modulus().is_some() { 0x20 } else { 0x08 };
        Draft {
            subject: sequence(&[]),
            spki: key.spki_der(),
            extensions: vec![
                key_usage(usage),
                basic_constraints(false, None),
                purposes(&[EK_CERTIFICATE]),
                chip_name("id:41434D45", "model 7", "id:00070001"),
            ],
            ..Draft::authority(issuer, "", 1)
        }
    }

    /// An authority whose key is [`p256_key`] of `seed`.
    pub(super) fn authority(issuer: &str, subject: &str, seed: u8) -> Self {
        Draft {
            issuer: common_name(issuer),
            subject: common_name(subject),
            not_before: "20200101000000Z",
            not_after: "20400101000000Z",
            spki: p256_key(seed).spki_der(),
            extensions: vec![basic_constraints(true, None), key_usage(0x06)],
            signature_algorithm: oid(ECDSA_WITH_SHA256),
        }
    }

    /// The certificate, signed by [`p256_key`] of `signer` with ECDSA and SHA-256.
    pub(super) fn signed_by(&self, signer: u8) -> Vec<u8> {
        let point = p256_key(signer).point().unwrap().1.to_vec();
        let key = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &[signer; 32],
            &point,
        );
        let key = key.unwrap();
        self.signed_with(|tbs| key.sign(&SystemRandom::new(), tbs).unwrap().as_ref().to_vec())
    }

    /// The certificate, with the signature that `sign` makes over the signed part.
    pub(super) fn signed_with(&self, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let algorithm = sequence(&[&self.signature_algorithm]);
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
        sequence(&[&tbs, &algorithm, &tlv(0x03, &[&[0], &sign(&tbs)])])
    }
}

pub(super) const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub(super) const SHA1_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
pub(super) const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
pub(super) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

pub(super) fn key_usage(bits: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x0f], true, &tlv(0x03, &[&[0, bits]]))
}

pub(super) fn basic_constraints(authority: bool, path_len: Option<u8>) -> Vec<u8> {
    let authority = if authority { tlv(0x01, &[&[0xff]]) } else { Vec::new() };
    let path_len = path_len.map(|len| integer(&[len])).unwrap_or_default();
    extension(&[0x55, 0x1d, 0x13], true, &sequence(&[&authority, &path_len]))
}

pub(super) fn purposes(oids: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<_> = oids.iter().map(|value| oid(value)).collect();
    let oids: Vec<_> = oids.iter().map(Vec::as_slice).collect();
    extension(&[0x55, 0x1d, 0x25], false, &sequence(&oids))
}

/// A critical subject alternative name. The attributes are one multi-valued RDN, and the
/// SET is **not** sorted, as on the chips of at least one vendor.
pub(super) fn chip_name(manufacturer: &str, model: &str, version: &str) -> Vec<u8> {
    let attribute = |last: u8, value: &str| {
        sequence(&[&oid(&[0x67, 0x81, 0x05, 0x02, last]), &tlv(0x0c, &[value.as_bytes()])])
    };
    let set =
        tlv(0x31, &[&attribute(3, version), &attribute(2, model), &attribute(1, manufacturer)]);
    let directory_name = tlv(0xa4, &[&sequence(&[&set])]);
    extension(&[0x55, 0x1d, 0x11], true, &sequence(&[&directory_name]))
}

pub(super) fn extension(id: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[&[0xff]]) } else { Vec::new() };
    sequence(&[&oid(id), &critical, &tlv(0x04, &[content])])
}

pub(super) fn common_name(name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid(&[0x55, 0x04, 0x03]), &tlv(0x0c, &[name.as_bytes()])]);
    sequence(&[&tlv(0x31, &[&attribute])])
}

/// An RSA SubjectPublicKeyInfo that names RSAES-OAEP instead of rsaEncryption.
pub(super) fn oaep_spki(modulus: &[u8]) -> Vec<u8> {
    let algorithm = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07]);
    let key = sequence(&[&integer(&[&[0], modulus].concat()), &integer(&[1, 0, 1])]);
    sequence(&[&sequence(&[&algorithm, &sequence(&[])]), &tlv(0x03, &[&[0], &key])])
}

/// A SubjectPublicKeyInfo of an elliptic curve.
pub(super) fn ec_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let ec_public_key = oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
    sequence(&[&sequence(&[&ec_public_key, &oid(curve)]), &tlv(0x03, &[&[0], point])])
}

pub(super) fn oid(value: &[u8]) -> Vec<u8> {
    tlv(0x06, &[value])
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
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
