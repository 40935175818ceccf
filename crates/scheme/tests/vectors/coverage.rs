//! What must have a vector, and what of it has none.

use std::collections::BTreeSet;

use twinseal_scheme::Reason;

use crate::format::{self, Vector};
use crate::generate::AAD_ITEMS;
use crate::run;

/// Rules of deterministic CBOR, on the envelope.
const ENCODING: [&str; 22] = [
    "empty",
    "trailing",
    "cut",
    "break",
    "reserved",
    "utf-8",
    "length",
    "items",
    "indefinite-array",
    "indefinite-bytes",
    "indefinite-text",
    "indefinite-map",
    "long-integer",
    "long-array",
    "long-bytes",
    "long-tag",
    "long-float",
    "map-order",
    "map-twice",
    "bignum",
    "depth",
    "size",
];

/// Rules of every COSE object, whatever it is called there.
const OBJECTS: [(&str, &[&str]); 5] = [
    ("es", &["tag-missing", "tag-other", "tag-twice", "kid", "alg-other", "alg-missing", "crit"]),
    ("ea", &["tag-missing", "tag-other", "tag-twice", "kid", "alg-other", "alg-missing", "crit"]),
    (
        "sign1",
        &["tag-missing", "tag-other", "tag-twice", "kid", "alg-other", "alg-missing", "crit"],
    ),
    (
        "encrypt0",
        &["tag-missing", "tag-other", "tag-twice", "kid", "alg-other", "alg-missing", "crit"],
    ),
    ("sign", &["tag-missing", "tag-other", "tag-twice", "kid", "alg-other", "alg-missing", "crit"]),
];

/// Rules of both forms of COSE_Encrypt.
const ENCRYPTED: [&str; 19] = [
    "alg-unprotected-too",
    "alg-twice",
    "alg-long",
    "protected-more",
    "crit-unprotected",
    "header-order",
    "header-twice",
    "iv-missing",
    "iv-other",
    "ciphertext-null",
    "ciphertext-empty",
    "ciphertext-changed",
    "gcm-tag-cut",
    "recipient-none",
    "recipient-two",
    "recipient-ciphertext",
    "recipient-kid",
    "recipient-alg",
    "recipient-crit",
];

/// Rules of one form alone.
const OF_ONE_FORM: [&str; 28] = [
    "es-salt-31",
    "es-salt-33",
    "es-salt-missing",
    "es-salt-protected",
    "es-salt-changed",
    "es-commitment-missing",
    "es-commitment-changed",
    "ea-commitment",
    "ea-salt",
    "ea-key-compressed",
    "ea-key-off",
    "ea-key-zero",
    "ea-key-field",
    "ea-key-negated",
    "ea-key-order",
    "ea-key-kid",
    "ea-key-static",
    "sign1-alg-unprotected-too",
    "sign1-payload-null",
    "sign1-signature-63",
    "sign1-high-s",
    "sign1-s-zero",
    "sign1-r-zero",
    "encrypt0-iv-short",
    "encrypt0-iv-changed",
    "encrypt0-iv-partial",
    "sign-signers-none",
    "sign-signers-three",
];

/// Layers that are there, in their place, of this device, server, chip and epoch.
const LAYERS: [&str; 24] = [
    "removed-es",
    "removed-ea",
    "removed-es-within",
    "removed-ea-around",
    "removed-signature",
    "doubled-es",
    "doubled-ea",
    "swapped-serial",
    "swapped-key",
    "relabelled-serial",
    "relabelled-key",
    "reflected-serial",
    "reflected-key",
    "rewrapped-es",
    "rewrapped-ea",
    "other-chip-serial",
    "other-chip-key",
    "no-epoch-secret-serial",
    "forged-server-serial",
    "other-z-key",
    "route-seq-0",
    "route-epoch",
    "route-sequence",
    "field-version-2",
];

/// What a token with RSA keys, and whoever encrypts to it, may not do.
const RSA_TOKENS: [&str; 14] = [
    "rsa-serial-key",
    "decryption-bare",
    "serial-key-roca",
    "modulus-even",
    "rsa-decryption-serial",
    "rsa-credential-sha1",
    "rsa-credential-sha256",
    "rsa-credential-p256",
    "rsa-credential-z",
    "rsa-sha1-oaep-sha256",
    "rsa-decryption-sha1",
    "point",
    "ciphertext",
    "ciphertext-modulus",
];

fn rules(vectors: &[Vector]) -> BTreeSet<&str> {
    vectors.iter().map(|vector| vector.rule.as_str()).collect()
}

/// Every rule that is to be broken by a vector.
fn expected_rules() -> Vec<String> {
    let owned = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
    let objects = OBJECTS
        .iter()
        .flat_map(|(object, rules)| rules.iter().map(move |rule| format!("{object}-{rule}")));
    let encrypted = ENCRYPTED.iter().flat_map(|rule| [format!("es-{rule}"), format!("ea-{rule}")]);
    let items = AAD_ITEMS
        .iter()
        .flat_map(|item| ["outer", "inner", "server"].map(|layer| format!("aad-{layer}-{item}")));
    [owned(&ENCODING), owned(&OF_ONE_FORM), owned(&LAYERS), owned(&RSA_TOKENS)]
        .concat()
        .into_iter()
        .chain(objects)
        .chain(encrypted)
        .chain(items)
        .collect()
}

#[test]
fn every_reason_is_given_by_a_vector() {
    let vectors = format::all();
    let given: BTreeSet<_> = vectors.iter().map(|vector| vector.expect.as_str()).collect();
    let codes = Reason::ALL.iter().map(|reason| reason.code());
    let missing: Vec<_> = codes.filter(|code| !given.contains(code)).collect();
    assert!(missing.is_empty(), "no vector is refused as {missing:?}");
}

#[test]
fn every_rule_is_broken_by_a_vector() {
    let vectors = format::all();
    let broken = rules(&vectors);
    let expected = expected_rules();
    let missing: Vec<_> = expected.iter().filter(|rule| !broken.contains(rule.as_str())).collect();
    assert!(missing.is_empty(), "no vector breaks {missing:?}");
}

/// Each of the fifteen items in each of the ten layers of the four layerings.
#[test]
fn every_item_of_the_aad_is_changed_in_every_layer() {
    let names: BTreeSet<String> =
        format::all().iter().map(|vector| format!("{}/{}", vector.group, vector.name)).collect();
    let mut missing = Vec::new();
    for (group, layers) in
        [("aad-up", &["outer", "inner"][..]), ("aad-down", &["outer", "inner", "server"])]
    {
        for order in ["serial", "key"] {
            for (layer, item) in layers.iter().flat_map(|l| AAD_ITEMS.iter().map(move |i| (l, i))) {
                let name = format!("{group}/{order}-aad-{layer}-{item}");
                missing.extend((!names.contains(&name)).then_some(name));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    let is_one = |vector: &Vector| vector.group == "open-up" && vector.name == "serial";
    let fifteen = format::all().into_iter().find(is_one).unwrap();
    let (_, aad) = fifteen.fields.iter().find(|(key, _)| key == "note-aad-outer").unwrap();
    assert_eq!(format::unhex(aad)[0], 0x80 + AAD_ITEMS.len() as u8, "the items of the aad");
}

/// Also: a refused vector has one fault, and says which rule it breaks.
#[test]
fn every_operation_has_a_good_vector() {
    let vectors = format::all();
    for operation in run::operations() {
        // What only ever refuses, or only says yes: the chain that is full.
        let is_good = |v: &&Vector| v.operation == operation.name && v.expect == "ok";
        let only_refuses = operation.name == "chain-step";
        assert!(only_refuses || vectors.iter().any(|v| is_good(&v)), "{}", operation.name);
    }
    for vector in &vectors {
        let good = vector.expect == "ok";
        let path = vector.path();
        assert_eq!(good, vector.fault == "none" && vector.rule == "none", "{}", path.display());
    }
}
