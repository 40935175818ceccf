//! No key of the scheme leaves its chip: neither by TPM2_Duplicate nor by TPM2_Rewrap.

use sha2::{Digest, Sha256};
use twinseal_swtpm_tests::Swtpm;

use crate::eyes::{fields, open};
use crate::raw::{By, CREATE, DUPLICATE, ENDORSEMENT, NULL, OWNER, REWRAP, Raw, sized};

/// TPM_RC_AUTH_TYPE: the role DUP wants a policy session.
const AUTH_TYPE: u32 = 0x124;
/// TPM_RC_POLICY_FAIL, of the first session: the key has no policy that could be met.
const POLICY_FAIL: u32 = 0x99d;
/// TPM_RC_HANDLE of the first handle: a duplicate below a parent has a seed.
const NO_SEED: u32 = 0x18b;
/// TPM_RC_INTEGRITY of the first parameter.
const INTEGRITY: u32 = 0x1df;
/// fixedTPM and fixedParent (TPMA_OBJECT, Part 2, section 8.3).
const FIXED: u32 = 1 << 1 | 1 << 4;
/// The two coordinates at the end of a P-256 TPMT_PUBLIC, each with its size.
const POINT_LEN: usize = 68;

/// A template that a primary key came from: its public area with another `unique`.
pub fn template(public: &[u8], unique: &[u8]) -> Vec<u8> {
    let (head, _) = public.split_at(public.len() - POINT_LEN);
    [head, &sized(unique), &sized(&[0; 32])].concat()
}

fn attributes(public: &[u8]) -> u32 {
    u32::from_be_bytes(public[4..8].try_into().unwrap())
}

/// TPM2_Duplicate to nobody in particular: no inner and no outer wrapper.
fn duplicate(chip: &mut Raw, key: u32, parent: u32, by: By<'_>) -> crate::raw::Answer {
    chip.send(DUPLICATE, &[key, parent], by, &[&sized(&[])[..], &[0, 0x10]].concat())
}

#[tokio::test]
async fn no_key_leaves_the_chip() {
    let chip = Swtpm::start();
    let hardware = open(&chip.tcti());
    let lane = hardware.lane(0);
    let ek = lane.endorsement_key(None).await.unwrap();
    let keys = lane.create_keys(&ek).await.unwrap();
    hardware.close().await;
    let stored = fields(&keys.to_bytes());
    let [srk, ak_unique, ak, serial_unique, serial] = [3, 4, 5, 6, 7].map(|n| stored[n].as_slice());
    let mut raw = Raw::connect(&chip);

    // Children: signing and decryption key, with their private parts as they lie on the disk.
    let root = raw.primary(OWNER, &template(srk, &[0; 32]));
    for at in [9, 13] {
        let [public, private, auth] = [at, at + 1, at + 2].map(|n| stored[n].as_slice());
        assert_eq!(attributes(public) & FIXED, FIXED);
        let key = raw.load(root, private, public);
        refuses_to_leave(&mut raw, key, auth);
        raw.flush(key);
        refuses_to_be_rewrapped(&mut raw, root, private, public);
    }
    raw.flush(root);
    // Primary keys have no private part outside of the chip that could be rewrapped.
    for (hierarchy, public, unique) in [
        (ENDORSEMENT, ak, ak_unique),
        (ENDORSEMENT, serial, serial_unique),
        (OWNER, srk, &[0; 32][..]),
    ] {
        assert_eq!(attributes(public) & FIXED, FIXED);
        let key = raw.primary(hierarchy, &template(public, unique));
        refuses_to_leave(&mut raw, key, &[]);
        raw.flush(key);
    }
}

fn refuses_to_leave(raw: &mut Raw, key: u32, auth: &[u8]) {
    assert_eq!(duplicate(raw, key, NULL, By::Password(auth)).code, AUTH_TYPE);
    let session = raw.policy(DUPLICATE);
    assert_eq!(duplicate(raw, key, NULL, By::Policy(session)).code, POLICY_FAIL);
    raw.flush(session);
}

/// The private part is wrapped by its parent for loading, which is another form than that of a
/// duplicate; without its seed, or with a made-up one, it is no duplicate.
fn refuses_to_be_rewrapped(raw: &mut Raw, parent: u32, private: &[u8], public: &[u8]) {
    let name = [&[0, 0x0b][..], &Sha256::digest(public)].concat();
    // An ephemeral point on the curve: the generator of P-256.
    let hex = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
               4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let point: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
    let point = [sized(&point[..32]), sized(&point[32..])].concat();
    for (seed, refusal) in [(Vec::new(), NO_SEED), (point, INTEGRITY)] {
        let parameters = [sized(private), sized(&name), sized(&seed)].concat();
        let rewrapped = raw.send(REWRAP, &[parent, NULL], By::Password(&[]), &parameters);
        assert_eq!(format!("{:#x}", rewrapped.code), format!("{refusal:#x}"));
    }
}

/// That these commands would let a key go: one that is made for it.
#[test]
fn a_key_that_is_made_to_leave_does() {
    let chip = Swtpm::start();
    let mut raw = Raw::connect(&chip);
    // A storage root: fixed, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
    let storage = |unique: u8| {
        let attributes: u32 = FIXED | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 17;
        let head = [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0]].concat();
        // AES-128-CFB, no scheme, P-256, no KDF.
        let parameters = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10];
        [&head[..], &parameters, &sized(&[unique; 32]), &sized(&[0; 32])].concat()
    };
    let root = raw.primary(OWNER, &storage(0));
    // Not fixed; its policy is TPM2_PolicyCommandCode(TPM2_Duplicate).
    let policy =
        Sha256::new().chain_update([0; 32]).chain_update([0, 0, 1, 0x6c, 0, 0, 1, 0x4b]).finalize();
    let attributes: u32 = 1 << 5 | 1 << 6 | 1 << 10 | 1 << 18;
    let head = [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &sized(&policy)].concat();
    // No cipher, ECDSA with SHA-256, P-256, no KDF, no point yet.
    let parameters = [0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10, 0, 0, 0, 0];
    let public = [&head[..], &parameters].concat();
    let parameters = [&[0, 4, 0, 0, 0, 0][..], &sized(&public), &[0; 6]].concat();
    let made = raw.send(CREATE, &[root], By::Password(&[]), &parameters).fields(2);
    let key = raw.load(root, &made[0], &made[1]);

    // In clear: to nobody, without a wrapper.
    let session = raw.policy(DUPLICATE);
    let left = duplicate(&mut raw, key, NULL, By::Policy(session)).fields(3);
    assert!(left[1].len() > 32, "{left:?}");
    raw.flush(session);
    // To another parent, and from there on to a third: by the parent's word alone.
    raw.flush(root);
    let second = raw.primary(OWNER, &storage(2));
    let session = raw.policy(DUPLICATE);
    let duplicate = duplicate(&mut raw, key, second, By::Policy(session)).fields(3);
    raw.flush(session);
    raw.flush(key);
    let name = [&[0, 0x0b][..], &Sha256::digest(&made[1])].concat();
    let parameters = [sized(&duplicate[1]), sized(&name), sized(&duplicate[2])].concat();
    let rewrapped = raw.send(REWRAP, &[second, NULL], By::Password(&[]), &parameters).fields(2);
    assert_eq!(rewrapped[0], left[1], "the same key in clear");
}
