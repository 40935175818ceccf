//! A device made of software keys, written into the server's database as if it had enrolled.
//! How devices enrol is tested with emulated chips elsewhere.

use rand_core::OsRng;
use reqwest::StatusCode;
use twinseal_scheme::Secret;
use twinseal_scheme::answer::{Ack, Answer, Fetch, FetchRoute};
use twinseal_scheme::bond::Bond;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::enrol::{DeviceState, UserInfo};
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochOpening};
use twinseal_scheme::id::{DeviceId, KeyId, TradeId};
use twinseal_scheme::keys::{
    DecryptionPublic, Encapsulation, P256Private, SigningKey, SigningPublic, random_scalar,
};
use twinseal_scheme::message::{DownOpening, Envelope, Outer, seal_up};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_scheme::trade::{Content, Service, Trade};
use twinseal_server::at_rest::AtRest;
use twinseal_server::keys::ServerSecrets;
use twinseal_server::store::{self, Caller, Entry, Standing, Store};

use crate::rig::{Place, Server, client};

pub const SERVICE: &str = "com.example.till";

/// A device, and its view of the server.
pub struct Device {
    pub bond: Bond,
    pub keys: Option<EpochKeys>,
    pub chain: ChainKey,
    signing: SigningKey,
    decryption: P256Private,
    server_keys: ServerKeys,
    seq: u32,
    url: String,
    client: reqwest::Client,
}

pub async fn open_store(place: &Place) -> (Store, ServerSecrets) {
    let secrets = ServerSecrets::load(&place.secrets()).unwrap();
    let store = Store::open(&place.data(), AtRest::new(secrets.at_rest_key())).await.unwrap();
    (store, secrets)
}

impl Device {
    /// A device with this serial, enrolled.
    pub async fn enrolled(place: &Place, url: &str, serial: [u8; 32]) -> Device {
        let (store, secrets) = open_store(place).await;
        let statement = store.read().await.unwrap().statement().await.unwrap();
        let server_keys = ServerKeys::verify(&statement, &secrets.server_id()).unwrap();
        let signing = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let decryption = P256Private::generate(&mut OsRng);
        let bond = Bond {
            server_id: secrets.server_id(),
            device_id: DeviceId(*serial.first_chunk().unwrap()),
            serial: HardwareSerial::from_bytes(serial),
            generation: 1,
            keyset: 1,
            signing: SigningPublic::Es256(signing.public().clone()),
            decryption: DecryptionPublic::EcdhEs(decryption.public().clone()),
        };
        let chain = ChainKey::of_bond(&Secret::new(serial), &bond);
        insert(&store, &bond, &chain).await;
        store.close().await;
        Device {
            bond,
            keys: None,
            chain,
            signing,
            decryption,
            server_keys,
            seq: 0,
            url: url.to_owned(),
            client: client(),
        }
    }

    /// The same, with its first epoch open.
    pub async fn ready(place: &Place, server: &Server, serial: [u8; 32]) -> Device {
        Device::ready_at(place, &server.device, serial).await
    }

    /// The same at this URL.
    pub async fn ready_at(place: &Place, url: &str, serial: [u8; 32]) -> Device {
        let mut device = Device::enrolled(place, url, serial).await;
        device.start(1).await;
        device
    }

    pub fn follow(&mut self, server: &Server) {
        self.url = server.device.clone();
    }

    pub async fn post(&self, kind: &str, body: &[u8]) -> (StatusCode, Vec<u8>) {
        let request = self.client.post(format!("{}/device/v1/{kind}", self.url));
        let request = request.header("content-type", "application/cose").body(body.to_vec());
        let response = request.send().await.unwrap();
        (response.status(), response.bytes().await.unwrap().to_vec())
    }

    /// The answer to an envelope, which must be one of this epoch.
    pub async fn tell(&self, envelope: &[u8]) -> Answer {
        let (status, bytes) = self.post("message", envelope).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
        self.read(envelope, &bytes)
    }

    pub fn read(&self, request: &[u8], answer: &[u8]) -> Answer {
        let keys = self.keys.as_ref().unwrap();
        Answer::open(&keys.answer_key(), request, answer).unwrap()
    }

    pub fn verify(&self, request: &[u8], answer: &[u8]) -> Answer {
        let (key, id) = (&self.server_keys.signing, &self.bond.device_id);
        Answer::verify(key, id, request, answer).unwrap()
    }

    /// An epoch-open, and the keys that it brings.
    pub fn epoch_open(&self, number: u64) -> (Vec<u8>, EpochKeys) {
        let chain = self.chain.ratchet(number).unwrap();
        let opening = EpochOpening::draw(&self.server_keys, &mut OsRng).unwrap();
        let unsigned = opening.seal(&self.bond, &chain, None, &mut OsRng).unwrap();
        let signature = self.signing.sign_digest(&unsigned.digest()).unwrap();
        unsigned.finish(&signature).unwrap()
    }

    /// Opens an epoch.
    pub async fn start(&mut self, number: u64) {
        let (envelope, keys) = self.epoch_open(number);
        (self.keys, self.seq) = (Some(keys), 0);
        assert_eq!(self.tell(&envelope).await, Answer::Accepted);
    }

    pub fn seal(&mut self, outer: Outer, content: &Content) -> Vec<u8> {
        self.seq += 1;
        self.seal_as(outer, self.seq, &content.encode())
    }

    /// Seals on after this number.
    pub fn follow_seq(&mut self, seq: u32) {
        self.seq = seq;
    }

    pub fn seal_as(&self, outer: Outer, seq: u32, content: &[u8]) -> Vec<u8> {
        let keys = self.keys.as_ref().unwrap();
        let unsigned = seal_up(&self.bond, keys, outer, seq, content, &mut OsRng).unwrap();
        let signature = self.signing.sign_digest(&unsigned.digest()).unwrap();
        unsigned.finish(&signature).unwrap()
    }

    pub fn fetching(&self, wait_ms: u32, acks: &[Ack]) -> Vec<u8> {
        let keys = self.keys.as_ref().unwrap();
        let (device_id, generation) = (self.bond.device_id, self.bond.generation);
        let route = FetchRoute { device_id, generation, epoch: keys.epoch };
        let fetch = Fetch { wait_ms, acks: acks.to_vec() };
        fetch.seal(&route, keys, &mut OsRng).unwrap()
    }

    pub async fn fetch(&self, wait_ms: u32, acks: &[Ack]) -> Answer {
        let fetch = self.fetching(wait_ms, acks);
        let (status, bytes) = self.post("fetch", &fetch).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
        self.read(&fetch, &bytes)
    }

    /// The next message down, which must be there, opened and with its acknowledgement.
    pub async fn next(&self, acks: &[Ack]) -> (Content, Ack) {
        match self.fetch(0, acks).await {
            Answer::Downlink(envelope) => self.open(&envelope),
            other => panic!("no message but {other:?}"),
        }
    }

    pub fn open(&self, envelope: &[u8]) -> (Content, Ack) {
        let keys = self.keys.as_ref().unwrap();
        let envelope = Envelope::decode(envelope).unwrap();
        let opening = DownOpening::begin(&self.bond, keys, &envelope).unwrap();
        let z = match opening.encapsulation() {
            Encapsulation::EcdhEs(ephemeral) => self.decryption.agree(ephemeral).unwrap(),
            Encapsulation::RsaOaep(..) => panic!("this device has no RSA key"),
        };
        let opened = opening.finish(&z, &self.server_keys.signing).unwrap();
        let content = Content::decode(&opened.content).unwrap();
        let inner_hash = content.inner_hash(Direction::Down).0;
        let (trade_id, index) = (content.trade.0, content.index.number());
        (content, Ack { trade_id, index, inner_hash })
    }

    pub fn sign_digest(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.signing.sign_digest(digest).unwrap().to_vec()
    }
}

/// A trade that the device opens, with its opening message.
pub fn opened(id: u8, outer: Outer) -> (Trade, Content) {
    let service = Service::new(SERVICE).unwrap();
    Trade::open(TradeId([id; 16]), service, Direction::Up, outer).unwrap()
}

async fn insert(store: &Store, bond: &Bond, chain: &ChainKey) {
    let user_info = [("name", "Anna Müller"), ("till", "7")].map(|(n, v)| (n.into(), v.into()));
    let mut write = store.write(&Caller::Cli("test".into())).await.unwrap();
    let device = store::Device {
        id: bond.device_id,
        serial: bond.serial,
        generation: bond.generation,
        state: DeviceState::Active,
        assurance: "tpm-ek".into(),
        user_info: UserInfo::new(user_info.into()).unwrap(),
        verdict: "outcome: tpm-ek".into(),
        alarm: None,
        enrolled_at: write.now(),
        changed_at: write.now(),
    };
    write.put_device(&device).await.unwrap();
    let standing = Standing {
        state: DeviceState::Active,
        bond: bond.clone(),
        serial_key: KeyId([1; 32]),
        attester: None,
        assurance: device.assurance.clone(),
        verdict: device.verdict.clone(),
        enrolled_at: write.now(),
    };
    write.add_bond(&standing).await.unwrap();
    write.put_chain(&bond.device_id, bond.generation, chain).await.unwrap();
    write.commit(Entry::of("device.enrol", bond.device_id, "test")).await.unwrap();
}
