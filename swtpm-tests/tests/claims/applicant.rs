//! An applicant who does each step of an enrolment by hand: what is answered again, and what is
//! taken once (docs/scheme.md section 4). Each refusal stands between two steps that go well.

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use twinseal_hardware::{DeviceKeys, Ek, Key, Lane};
use twinseal_scheme::enrol::{
    AcceptedChallenge, Activation, ActivationProof, Challenge, Claim, ClaimedHardware, ClaimedKey,
    ClaimedKeys, ClaimedTpm, Confirmation, ConfirmationKey, Offer, Request, UserInfo,
    certify_extra_data,
};
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::EnrolId;
use twinseal_scheme::keys::{DecryptionPublic, SigningPublic};
use twinseal_scheme::link::Link;
use twinseal_scheme::tpm::{EndorsementKey, Public, Role};
use twinseal_scheme::{Reason, Secret};
use twinseal_server::app::{App, Folders, Policy};
use twinseal_server::http::Limits;
use twinseal_server::store::FILE_NAME;
use twinseal_swtpm_tests::{Api, Swtpm, World};

use crate::thief::on;

/// The server's device side, and its log.
struct Door<'a> {
    world: &'a World,
    api: Api,
}

impl Door<'_> {
    fn at(world: &World) -> Door<'_> {
        Door { world, api: Api::new(world.server().device_address(), "none") }
    }

    fn knock(&self, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let path = format!("/device/v1/{kind}");
        let reply = self.api.send("POST", &path, body, "application/cose");
        (reply.status, reply.body)
    }

    fn answer(&self, kind: &str, body: &[u8]) -> Vec<u8> {
        let (status, body) = self.knock(kind, body);
        assert_eq!(status, 200, "{kind}: {}", self.world.server().log());
        body
    }

    /// Refused with the constant word, and with the reason in the operator's log.
    fn refuses(&self, kind: &str, body: &[u8], reason: Reason) {
        let before = self.world.server().log().len();
        assert_eq!(self.knock(kind, body), (403, b"rejected".to_vec()));
        let log = self.world.server().log()[before..].to_owned();
        assert!(log.contains(&format!("reason=\"{}\"", reason.code())), "{log}");
    }
}

#[test]
fn every_step_of_an_enrolment_is_answered_again_and_taken_once() {
    let world = World::start();
    let door = Door::at(&world);
    let link: Link = world.server().link("http://localhost:1").parse().expect("a link");
    on(&Swtpm::start().into(), async |lane| {
        let (m0, challenge) = challenged(&door, &link);
        let (keys, claim) = claimed(&lane, &link, &challenge).await;

        let m1 = claim.seal(&challenge, &mut OsRng).expect("a claim");
        let m2 = door.answer("claim", &m1);
        assert_eq!(door.answer("claim", &m1), m2);
        let other = claim.seal(&challenge, &mut OsRng).expect("the same claim, sealed again");
        door.refuses("claim", &other, Reason::NonceUsed);

        let transcript = [m0, m1, m2];
        let (m3, m4) = activate(&door, &lane, &keys, &challenge, &transcript).await;
        confirm(&door, &lane, &keys, &challenge, (&claim, &link), transcript, (m3, m4)).await;
    });
}

/// Two replicas have read that this claim is new before either may write: the writer's lock is
/// held until both wait for it.
#[test]
fn two_copies_of_a_claim_at_once_get_one_answer() {
    let world = World::start();
    let door = Door::at(&world);
    let link: Link = world.server().link("http://localhost:1").parse().expect("a link");
    let (data, secrets) = (world.server().data_dir(), world.server().secrets_dir());
    let writer = rusqlite::Connection::open(data.join(FILE_NAME)).expect("the database");
    on(&Swtpm::start().into(), async |lane| {
        let (_, challenge) = challenged(&door, &link);
        let (_, claim) = claimed(&lane, &link, &challenge).await;
        let m1 = claim.seal(&challenge, &mut OsRng).expect("a claim");
        let folders = Folders { data, secrets };
        let replica = async || {
            let app = App::open(&folders, Limits::default(), Policy::default()).await;
            app.expect("the server's folders")
        };
        let replicas = [replica().await, replica().await];
        writer.execute_batch("BEGIN IMMEDIATE").expect("the writer's lock");
        let copies = replicas.map(|app| {
            let m1 = m1.clone();
            tokio::spawn(async move { app.claim(&m1).await })
        });
        while writers_waiting() < copies.len() {
            assert!(copies.iter().all(|copy| !copy.is_finished()), "answered without a write");
            tokio::task::yield_now().await;
        }
        writer.execute_batch("ROLLBACK").expect("the writer's lock");
        for copy in copies {
            let answer = copy.await.expect("no panic").expect("an answer, and no refusal");
            assert_eq!(answer, door.answer("claim", &m1));
        }
    });
}

/// How many of the database library's threads in this process wait for a lock: it sleeps between
/// its attempts, and those with nothing to do wait in another way.
fn writers_waiting() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("our threads");
    let is_waiting = |thread: &std::path::Path| {
        // It may have ended meanwhile.
        let read = |name| std::fs::read_to_string(thread.join(name)).unwrap_or_default();
        read("comm").starts_with("sqlx-sqlite") && read("wchan") == "hrtimer_nanosleep"
    };
    threads.flatten().filter(|thread| is_waiting(&thread.path())).count()
}

fn challenged(door: &Door<'_>, link: &Link) -> (Vec<u8>, AcceptedChallenge) {
    let request = Request { nonce_d: [7; 32] };
    let m0 = door.answer("challenge", &request.encode());
    let challenge = Challenge::accept(&m0, &request, &link.server_id, link.least_sequence);
    (m0, challenge.expect("the server's challenge"))
}

async fn claimed(lane: &Lane, link: &Link, challenge: &AcceptedChallenge) -> (DeviceKeys, Claim) {
    let ek = lane.endorsement_key(None).await.expect("an endorsement key");
    let keys = lane.create_keys(&ek).await.expect("keys");
    let claim = claim(lane, link, challenge, &ek, &keys).await;
    (keys, claim)
}

async fn claim(
    lane: &Lane,
    link: &Link,
    challenge: &AcceptedChallenge,
    ek: &Ek,
    keys: &DeviceKeys,
) -> Claim {
    let serial = EndorsementKey::parse(&keys.ek_public).expect("an EK").serial();
    let ak = Public::parse(keys.attestation.public()).expect("an AK");
    let certify = async |role: Role, key: Key, public: &[u8]| {
        let name = Public::parse(public).expect("a public area");
        let extra_data = certify_extra_data(
            role,
            &challenge.m0_hash(),
            &link.server_id,
            &serial,
            ak.name().as_bytes(),
            name.name().as_bytes(),
        );
        let word = lane.certify(keys, key, extra_data).await.expect("a certification");
        ClaimedKey { public: public.to_vec(), attest: word.attest, signature: word.signature }
    };
    let (signing, decryption) = (keys.signing.public(), keys.decryption.public());
    Claim {
        serial,
        user_info: UserInfo::default(),
        code: link.code.clone(),
        re_enrolment: None,
        hardware: ClaimedHardware::Tpm(Box::new(ClaimedTpm {
            certificates: ek.certificate.iter().chain(&ek.intermediates).cloned().collect(),
            keys: ClaimedKeys {
                ek_public: keys.ek_public.clone(),
                srk_public: keys.srk_public.clone(),
                ak_public: keys.attestation.public().to_vec(),
                signing: certify(Role::Signing, (&keys.signing).into(), signing).await,
                decryption: certify(Role::Decryption, (&keys.decryption).into(), decryption).await,
                serial: certify(Role::Serial, (&keys.serial).into(), keys.serial.public()).await,
            },
        })),
    }
}

async fn activate(
    door: &Door<'_>,
    lane: &Lane,
    keys: &DeviceKeys,
    challenge: &AcceptedChallenge,
    [_, m1, m2]: &[Vec<u8>; 3],
) -> (Vec<u8>, Vec<u8>) {
    let activation = Activation::verify(m2, &challenge.server_keys.signing, m1).expect("an M2");
    let Activation { enrol_id, credential_blob, encrypted_secret } = activation;
    let credential = lane.activate(keys, credential_blob, encrypted_secret).await;
    let credential = credential.expect("the chip's own credential");
    let proof = |id: EnrolId, credential: &Secret| {
        ActivationProof::new(id, credential, &challenge.m0_hash(), m1, m2).encode()
    };
    door.refuses("activate", &proof(EnrolId([9; 16]), &credential), Reason::EnrolmentUnknown);
    let guess = proof(enrol_id, &Secret::new([9; 32]));
    door.refuses("activate", &guess, Reason::WrongCredential);
    let m3 = proof(enrol_id, &credential);
    let m4 = door.answer("activate", &m3);
    assert_eq!(door.answer("activate", &m3), m4);
    door.refuses("activate", &guess, Reason::EnrolmentOther);
    (m3, m4)
}

async fn confirm(
    door: &Door<'_>,
    lane: &Lane,
    keys: &DeviceKeys,
    challenge: &AcceptedChallenge,
    (claim, link): (&Claim, &Link),
    [m0, m1, m2]: [Vec<u8>; 3],
    (m3, m4): (Vec<u8>, Vec<u8>),
) {
    let serial_key =
        Public::parse(keys.serial.public()).and_then(|a| DecryptionPublic::from_area(&a));
    let serial_key = serial_key.expect("a serial key");
    let server_signing = &challenge.server_keys.signing;
    let offer = Offer::verify(&m4, server_signing, &m3, &serial_key).expect("an M4");
    let z = lane.decapsulate_serial(keys, &offer.encapsulation).await.expect("an agreement");
    let Offer { device_id, generation, .. } = offer;
    let chain = ChainKey::first(&z, &link.server_id, &device_id, &claim.serial, generation);
    let hash = |message: &Vec<u8>| Sha256::digest(message).into();
    let mac = ConfirmationKey::new(&chain).confirm(&[&m0, &m1, &m2, &m3, &m4].map(hash));
    let signing =
        Public::parse(keys.signing.public()).and_then(|area| SigningPublic::from_area(&area));
    let algorithm = signing.expect("a signing key").algorithm();
    let m5 = async |enrol_id: EnrolId, epoch_base: u64, mac: [u8; 32]| {
        let unsigned = Confirmation { enrol_id, epoch_base, mac }.unsigned(algorithm);
        let signature = lane.sign(&keys.signing, unsigned.digest()).await.expect("a signature");
        unsigned.finish(&signature)
    };
    let unknown = m5(EnrolId([9; 16]), 0, mac).await;
    door.refuses("confirm", &unknown, Reason::EnrolmentUnknown);
    let guess = m5(offer.enrol_id, 0, [9; 32]).await;
    door.refuses("confirm", &guess, Reason::WrongConfirmation);
    let good = m5(offer.enrol_id, 0, mac).await;
    door.answer("confirm", &good);
    door.answer("confirm", &good);
    let other = m5(offer.enrol_id, 1, mac).await;
    door.refuses("confirm", &other, Reason::EnrolmentOther);
    // It is enrolled, once.
    let listed = door.world.server().run(&["device", "list", "--state", "active"]);
    assert_eq!(listed["devices"].as_array().map(Vec::len), Some(1));
}
