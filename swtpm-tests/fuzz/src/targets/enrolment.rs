//! Enrolment, from Q to G.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use twinseal_scheme::Reason;
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::enrol::{
    Activation, ActivationProof, Challenge, Claim, ClaimOpening, ClaimedHardware, ClaimedKey,
    ClaimedKeys, ClaimedToken, ClaimedTpm, Confirmation, Grant, GrantKey, Offer, ReEnrolment,
    Request, UserInfo,
};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::keys::{DecryptionPublic, OaepHash, P256Public, RsaPublic, SigningKey};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;

use super::sealed::{PARTIES, encrypt0, sign1};
use crate::vectors::File;
use crate::{Target, vectors};

/// Q to G as they come from the network, each read as each.
pub const MESSAGES: Target = Target {
    name: "enrolment",
    run: messages,
    seeds: || {
        let names = ["q", "m1", "m2", "m3", "m4", "m5", "g"];
        let mut seeds: Vec<_> = names.iter().flat_map(|name| vectors::all(name, name)).collect();
        seeds.extend(vectors::all("rsa-m4", "m4"));
        let transcript = File::read("enrolment.txt");
        seeds.extend(names.iter().filter_map(|name| transcript.bytes(name)));
        [seeds, vectors::all("m0-accept", "m0")].concat()
    },
    mutations: 1000,
};

/// A claim of any content: what a device may seal, the server opens to the same.
pub const CLAIM: Target = Target {
    name: "enrolment-claim",
    run: claim,
    seeds: || {
        let chip = File::read("chip.txt");
        let of = |name| chip.bytes(name).unwrap_or_default();
        let parts = ["ek-public", "srk-public", "ak-public", "signing-public"].map(of);
        vec![parts.concat(), vec![], b"\x05ABCDE\x03holder".to_vec()]
    },
    mutations: 300,
};

/// Any payload under a signature that verifies, and then sealed as a grant.
pub const SIGNED: Target = Target {
    name: "enrolment-signed",
    run: signed,
    seeds: || {
        let names = ["m2", "m4", "m5"];
        let mut seeds: Vec<_> = names.iter().flat_map(|name| vectors::all(name, name)).collect();
        seeds.extend(vectors::all("server-keys", "statement"));
        seeds.extend(vectors::all("device-statement", "statement"));
        seeds.extend(vectors::all("rsa-m4", "m4"));
        seeds.extend(["token", "rsa-token"].iter().flat_map(|group| vectors::all(group, "token")));
        // Between the head of a COSE_Sign1 and its signature.
        let payload = |bytes: &Vec<u8>| Some(bytes.get(9..bytes.len().checked_sub(66)?)?.to_vec());
        seeds.iter().filter_map(payload).collect()
    },
    mutations: 250,
};

/// One whole enrolment of these parties.
static TRANSCRIPT: LazyLock<File> = LazyLock::new(|| File::read("enrolment.txt"));

/// A serial key of each kind that M4 is read for.
static SERIAL_KEYS: LazyLock<[DecryptionPublic; 2]> = LazyLock::new(|| {
    let point = File::read("parties.txt").fixed::<65>("device-serial");
    let point = P256Public::from_point(&point).expect("a point");
    let modulus = File::read("drawn-rsa.txt").bytes("rsa-serial-modulus").expect("a modulus");
    let modulus = RsaPublic::from_modulus(&modulus).expect("a modulus");
    [DecryptionPublic::EcdhEs(point), DecryptionPublic::RsaOaep(OaepHash::Sha256, modulus)]
});

/// The M4 of tokens with RSA keys.
static OFFERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| vectors::all("rsa-m4", "m4"));

/// S of the token of the vectors.
static TOKEN_SERIAL: LazyLock<HardwareSerial> =
    LazyLock::new(|| HardwareSerial::from_bytes(File::read("token/good.txt").fixed("serial")));

/// Good grants, which are several: they are sealed with random bytes.
static GRANTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| vectors::all("g", "g"));

fn messages(bytes: &[u8]) -> bool {
    let (p, transcript) = (&*PARTIES, &*TRANSCRIPT);
    let of = |name: &str| transcript.bytes(name).expect("a message of the transcript");
    let (server, device) = (p.server_signing.public(), &p.bond.signing);
    let mut taken = false;
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request.encode(), bytes);
        taken = true;
    }
    if let Ok(proof) = ActivationProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        taken = true;
    }
    let request = Request { nonce_d: transcript.fixed("nonce-d") };
    let accepted = Challenge::accept(bytes, &request, &p.bond.server_id, 0);
    assert!(accepted.is_err() || bytes == of("m0"), "a challenge that nobody signed");
    if let Ok(opening) = ClaimOpening::begin(bytes, server, 0) {
        let z = p.server_encryption.agree(opening.ephemeral()).expect("a checked point");
        taken |= opening.finish(&z, &p.bond.server_id).is_ok();
    }
    if Activation::verify(bytes, server, &of("m1")).is_ok() {
        assert_eq!(bytes, of("m2"));
    }
    for key in SERIAL_KEYS.iter() {
        if Offer::verify(bytes, server, &of("m3"), key).is_ok() {
            assert!(bytes == of("m4") || OFFERS.iter().any(|m4| m4 == bytes));
        }
    }
    let mac = mac_of(&of("m5"));
    if Confirmation::verify(bytes, device, &mac).is_ok() {
        assert_eq!(bytes, of("m5"));
    }
    if Grant::open(bytes, &GrantKey::new(&p.chain), &of("m5"), server).is_ok() {
        assert!(bytes == of("g") || GRANTS.iter().any(|g| g == bytes));
    }
    taken | Confirmation::route(bytes).is_ok()
}

/// The last item of M5's payload, before the signature.
fn mac_of(m5: &[u8]) -> [u8; 32] {
    let end = m5.len() - 66;
    m5[end - 32..end].try_into().expect("32 bytes")
}

/// Takes fields from the front of the input, each behind its length.
fn claim(bytes: &[u8]) -> bool {
    let (p, transcript) = (&*PARTIES, &*TRANSCRIPT);
    let mut rest = bytes;
    let mut field = |max: usize| {
        let Some((len, tail)) = rest.split_first() else { return Vec::new() };
        let (taken, tail) = tail.split_at((usize::from(*len) * 9).min(tail.len()).min(max));
        rest = tail;
        taken.to_vec()
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let entries = BTreeMap::from([(text(field(80)), text(field(1100)))]);
    let Ok(user_info) = UserInfo::new(entries) else { return false };
    let code = text(field(70));
    let mut key = || ClaimedKey { public: field(2100), attest: field(2100), signature: field(300) };
    let (signing, decryption, serial) = (key(), key(), key());
    let claim = Claim {
        serial: HardwareSerial::from_bytes(Sha256::digest(bytes).into()),
        user_info,
        code: (!code.is_empty()).then_some(code),
        re_enrolment: (bytes.len() % 2 == 1).then(|| ReEnrolment {
            device_id: DeviceId([7; 16]),
            generation: bytes.len() as u32,
            proof: field(1100),
        }),
        hardware: match bytes.first() {
            Some(0..64) => ClaimedHardware::Token(ClaimedToken::new(field(2100))),
            _ => ClaimedHardware::Tpm(Box::new(ClaimedTpm {
                certificates: (0..bytes.len() % 10).map(|_| field(2000)).collect(),
                keys: ClaimedKeys {
                    ek_public: field(2100),
                    srk_public: field(2100),
                    ak_public: field(2100),
                    signing,
                    decryption,
                    serial,
                },
            })),
        },
    };
    let request = Request { nonce_d: transcript.fixed("nonce-d") };
    let m0 = transcript.bytes("m0").expect("m0");
    let challenge = Challenge::accept(&m0, &request, &p.bond.server_id, 0).expect("a good M0");
    let Ok(m1) = claim.seal(&challenge, &mut OsRng) else { return false };
    let opening = ClaimOpening::begin(&m1, p.server_signing.public(), 0).expect("what was sealed");
    let z = p.server_encryption.agree(opening.ephemeral()).expect("a checked point");
    match opening.finish(&z, &p.bond.server_id) {
        Ok(opened) => {
            assert_eq!(format!("{opened:?}"), format!("{claim:?}"));
            assert!(opened.serial == claim.serial && opened.user_info == claim.user_info);
            assert!(opened.hardware == claim.hardware);
            true
        }
        // A field over its limit.
        Err(reason) => {
            assert!(matches!(reason, Reason::WrongShape | Reason::TooLarge), "{reason:?}");
            false
        }
    }
}

fn signed(payload: &[u8]) -> bool {
    let (p, transcript) = (&*PARTIES, &*TRANSCRIPT);
    let of = |name: &str| transcript.bytes(name).expect("a message of the transcript");
    let by_server = |name: &str| sign1(&p.server_signing, "twinseal-server-v1", name, payload);
    let server = p.server_signing.public();
    // What is read is made again from its fields, and must come to the same payload.
    let same = |unsigned: &[u8]| assert!(unsigned.ends_with(payload), "another encoding");
    let mut taken = 0;
    if let Ok(read) = Activation::verify(&by_server("M2"), server, &of("m1")) {
        same(read.unsigned(&of("m1")).to_sign());
        taken += 1;
    }
    for key in SERIAL_KEYS.iter() {
        if let Ok(read) = Offer::verify(&by_server("M4"), server, &of("m3"), key) {
            same(read.unsigned(&of("m3")).to_sign());
            taken += 1;
        }
    }
    let token = sign1(&p.device_signing, "twinseal-device-v1", "token", payload);
    let m0_hash = Sha256::digest(of("m0")).into();
    if let Ok(read) = ClaimedToken::new(token).verify(&m0_hash, &p.bond.server_id, &TOKEN_SERIAL) {
        same(read.unsigned(&m0_hash, &p.bond.server_id).expect("a serial").to_sign());
        taken += 1;
    }
    if let Ok(read) = DeviceStatement::verify(&by_server("device"), server) {
        same(read.unsigned().to_sign());
        taken += 1;
    }
    let statement = sign1(&p.identity, "twinseal-server-v1", "server_keys", payload);
    if let Ok(read) = ServerKeys::verify(&statement, &p.bond.server_id) {
        same(read.unsigned().to_sign());
        taken += 1;
    }
    let m5 = sign1(&p.device_signing, "twinseal-device-v1", "M5", payload);
    let mac = payload.last_chunk().copied().unwrap_or([0; 32]);
    if let Ok(read) = Confirmation::verify(&m5, &p.bond.signing, &mac) {
        same(read.unsigned(p.bond.signing.algorithm()).to_sign());
        taken += 1;
    }
    taken += usize::from(grant(payload, &p.server_signing));
    assert!(taken <= 1, "one payload is two messages");
    taken == 1
}

fn grant(payload: &[u8], signing: &SigningKey) -> bool {
    let key = GrantKey::new(&PARTIES.chain);
    let signed = sign1(signing, "twinseal-server-v1", "G", payload);
    let m5 = b"any M5";
    let sealed = encrypt0(key.expose(), &Sha256::digest(m5), &signed);
    let Ok(grant) = Grant::open(&sealed, &key, m5, signing.public()) else { return false };
    assert!(grant.unsigned().to_sign().ends_with(payload), "another encoding");
    true
}
