//! A whole enrolment in memory, and what happens when a message of it is not the right one.
//! What the chip's structures are worth is tested elsewhere; here they are opaque bytes.

use crate::parties::{Parties, signing_key};
use rand_core::OsRng;
use twinseal_scheme::enrol::*;
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::{DeviceId, EnrolId, KeyId, ServerId};
use twinseal_scheme::keys::{
    DecryptionPublic, Encapsulation, P256Private, SigningAlgorithm, SigningKey, SigningPublic,
};
use twinseal_scheme::{Reason, Secret};

pub const NOW: u64 = 1_700_000_100;
pub const REQUEST: Request = Request { nonce_d: [1; 32] };
const ENROL_ID: EnrolId = EnrolId([2; 16]);

fn sign(key: &SigningKey, unsigned: twinseal_scheme::cose::Unsigned) -> Vec<u8> {
    let signature = key.sign(unsigned.to_sign()).unwrap();
    unsigned.finish(&signature)
}

pub fn challenge(server: &Parties) -> Vec<u8> {
    let statement = sign(&server.identity, server.server_keys.unsigned());
    let challenge = Challenge::new(&REQUEST, [3; 24], NOW + 600, statement);
    sign(&server.server_signing, challenge.unsigned())
}

pub fn claim(parties: &Parties) -> Claim {
    let key = |b: u8| ClaimedKey { public: vec![b], attest: vec![b; 2], signature: vec![b; 3] };
    let user_info = [("name", "till 7"), ("a", "b")].map(|(k, v)| (k.into(), v.into()));
    Claim {
        serial: parties.bond.serial,
        user_info: UserInfo::new(user_info.into()).unwrap(),
        code: Some("CODE".into()),
        re_enrolment: None,
        hardware: ClaimedHardware::Tpm(Box::new(ClaimedTpm {
            certificates: vec![vec![9; 100], vec![8; 100]],
            keys: ClaimedKeys {
                ek_public: vec![1],
                srk_public: vec![2],
                ak_public: vec![3],
                signing: key(4),
                decryption: key(5),
                serial: key(6),
            },
        })),
    }
}

#[test]
fn a_challenge_is_of_the_pinned_server_fresh_and_not_old() {
    let server = Parties::new([1; 32]);
    let m0 = challenge(&server);
    let id = server.bond.server_id;
    assert!(Challenge::accept(&m0, &REQUEST, &id, 1_700_000_000).is_ok());
    let accept =
        |request: &Request, id: &ServerId, least| Challenge::accept(&m0, request, id, least).err();
    assert_eq!(accept(&REQUEST, &ServerId([0; 32]), 0), Some(Reason::UnknownServer));
    assert_eq!(accept(&REQUEST, &id, 1_700_000_001), Some(Reason::StatementStale));
    assert_eq!(accept(&Request { nonce_d: [0; 32] }, &id, 0), Some(Reason::WrongNonce));

    let key = &server.server_keys.signing;
    assert!(Challenge::recognise(&m0, key, NOW + 600).is_ok());
    assert_eq!(Challenge::recognise(&m0, key, NOW + 601), Err(Reason::ChallengeStale));
    let stranger = signing_key();
    let foreign = Challenge::recognise(&m0, stranger.public(), NOW);
    assert_eq!(foreign, Err(Reason::BadServerSignature));
}

#[test]
fn a_claim_is_read_by_the_server_alone_and_hides_everything() {
    let server = Parties::new([0x5e; 32]);
    let m0 = challenge(&server);
    let accepted = Challenge::accept(&m0, &REQUEST, &server.bond.server_id, 0).unwrap();
    let claim = claim(&server);
    let m1 = claim.seal(&accepted, &mut OsRng).unwrap();
    for secret in [&server.bond.serial.as_bytes()[..], b"till 7", b"CODE", &[9; 100]] {
        assert!(!m1.windows(secret.len()).any(|w| w == secret));
    }
    let open = |key: &P256Private| {
        let opening = ClaimOpening::begin(&m1, &server.server_keys.signing, NOW).unwrap();
        assert_eq!(opening.m0_hash(), accepted.m0_hash());
        let z = key.agree(opening.ephemeral()).unwrap();
        opening.finish(&z, &server.bond.server_id)
    };
    let read = open(&server.server_encryption).unwrap();
    assert!(read.user_info == claim.user_info && read.code == claim.code);
    assert!(read.hardware == claim.hardware);
    assert_eq!(open(&P256Private::generate(&mut OsRng)).err(), Some(Reason::BadKeyLayer));
}

#[test]
fn activation_answers_one_claim_and_proves_one_credential() {
    let server = Parties::new([1; 32]);
    let activation = Activation {
        enrol_id: ENROL_ID,
        credential_blob: vec![1; 50],
        encrypted_secret: vec![2; 256],
    };
    let m2 = sign(&server.server_signing, activation.unsigned(b"M1"));
    let key = &server.server_keys.signing;
    assert_eq!(Activation::verify(&m2, key, b"M1"), Ok(activation));
    assert_eq!(Activation::verify(&m2, key, b"other"), Err(Reason::WrongTranscript));

    let proof = |credential: [u8; 32], m1: &[u8]| {
        ActivationProof::new(ENROL_ID, &Secret::new(credential), &[0; 32], m1, &m2)
    };
    let m3 = ActivationProof::decode(&proof([5; 32], b"M1").encode()).unwrap();
    assert_eq!(m3.verify(&proof([5; 32], b"M1")), Ok(()));
    assert_eq!(m3.verify(&proof([6; 32], b"M1")), Err(Reason::WrongCredential));
    assert_eq!(m3.verify(&proof([5; 32], b"other")), Err(Reason::WrongCredential));
}

#[test]
fn only_the_serial_key_computes_what_the_server_forgot() {
    let server = Parties::new([1; 32]);
    let bond = &server.bond;
    let serial_key = P256Private::generate(&mut OsRng);
    let public = DecryptionPublic::EcdhEs(serial_key.public().clone());
    let proof = ActivationProof::new(ENROL_ID, &Secret::new([5; 32]), &[0; 32], b"M1", b"M2");
    let (id, serial) = (&bond.server_id, &bond.serial);
    let (offer, secrets) =
        Offer::draw(&proof, bond.device_id, 1, id, serial, &public, &mut OsRng).unwrap();
    let m4 = sign(&server.server_signing, offer.unsigned(b"M3"));
    let key = &server.server_keys.signing;
    let read = Offer::verify(&m4, key, b"M3", &public).unwrap();
    assert_eq!(Offer::verify(&m4, key, b"other", &public), Err(Reason::WrongTranscript));
    let Encapsulation::EcdhEs(point) = &read.encapsulation else { panic!("not a point") };
    let chain_of = |key: &P256Private| ChainKey::of_bond(&key.agree(point).unwrap(), bond);
    assert_eq!(chain_of(&serial_key), secrets.chain);

    let mac = |chain: &ChainKey| ConfirmationKey::new(chain).confirm(&[[7; 32]; 5]);
    let m5 = |key: &SigningKey, chain: &ChainKey| {
        let confirmation = Confirmation { enrol_id: ENROL_ID, epoch_base: 41, mac: mac(chain) };
        sign(key, confirmation.unsigned(SigningAlgorithm::Es256))
    };
    let expected = mac(&secrets.chain);
    let verify =
        |m5: &[u8]| Confirmation::verify(m5, &bond.signing, &expected).map(|c| c.epoch_base);
    let good = m5(&server.device_signing, &chain_of(&serial_key));
    assert_eq!(Confirmation::route(&good), Ok(ENROL_ID));
    assert_eq!(verify(&good), Ok(41));
    let other_chip = m5(&server.device_signing, &chain_of(&P256Private::generate(&mut OsRng)));
    assert_eq!(verify(&other_chip), Err(Reason::WrongConfirmation));
    let other_key = m5(&signing_key(), &secrets.chain);
    assert_eq!(verify(&other_key), Err(Reason::BadDeviceSignature));
}

#[test]
fn a_grant_hides_the_serial_and_is_for_one_device() {
    let server = Parties::new([0x5e; 32]);
    let bond = &server.bond;
    let offer = Offer {
        enrol_id: ENROL_ID,
        device_id: bond.device_id,
        generation: 1,
        encapsulation: Encapsulation::EcdhEs(server.device_decryption.public().clone()),
    };
    let key_ids = [bond.signing.id(), bond.decryption.id(), KeyId([3; 32])];
    let grant = Grant {
        enrol_id: ENROL_ID,
        server_id: bond.server_id,
        device_id: bond.device_id,
        serial: bond.serial,
        generation: 1,
        standing: Standing::Active,
        key_ids,
        assurance: "tpm-ek".into(),
    };
    let key = GrantKey::new(&server.chain);
    let signature = server.server_signing.sign(grant.unsigned().to_sign()).unwrap();
    let g = grant.seal(&signature, &key, b"M5", &mut OsRng).unwrap();
    assert!(!g.windows(8).any(|w| w == [0x5e; 8]));
    let open = |m5: &[u8]| Grant::open(&g, &key, m5, &server.server_keys.signing);
    let read = open(b"M5").unwrap();
    assert!(read == grant);
    assert_eq!(open(b"other").err(), Some(Reason::BadSerialLayer));
    assert_eq!(read.agrees_with(&offer, &bond.server_id, &bond.serial, &key_ids), Ok(()));
    let other = Offer { device_id: DeviceId([0; 16]), ..offer };
    let disagrees = read.agrees_with(&other, &bond.server_id, &bond.serial, &key_ids);
    assert_eq!(disagrees, Err(Reason::WrongTranscript));
}

#[test]
fn a_re_enrolment_is_proven_by_the_old_key_for_this_very_chip() {
    let device = Parties::new([1; 32]);
    let bond = &device.bond;
    let proof = |m0: &[u8; 32], generation| {
        re_enrolment_proof(
            SigningAlgorithm::Es256,
            m0,
            &bond.device_id,
            generation,
            &bond.serial,
            b"new AK",
        )
    };
    let signed = sign(&device.device_signing, proof(&[1; 32], 1));
    let verify = |key: &SigningKey, m0: &[u8; 32], generation| {
        verify_re_enrolment_proof(
            &signed,
            &SigningPublic::Es256(key.public().clone()),
            &proof(m0, generation),
        )
    };
    assert_eq!(verify(&device.device_signing, &[1; 32], 1), Ok(()));
    assert_eq!(verify(&device.device_signing, &[2; 32], 1), Err(Reason::BadReEnrolment));
    assert_eq!(verify(&device.device_signing, &[1; 32], 2), Err(Reason::BadReEnrolment));
    assert_eq!(verify(&signing_key(), &[1; 32], 1), Err(Reason::BadReEnrolment));
}
