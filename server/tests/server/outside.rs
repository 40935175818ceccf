//! What the server looks like to who has no key: the same for every device, known or not.

use std::collections::BTreeSet;

use rand_core::{OsRng, RngCore};
use twinseal_scheme::Secret;
use twinseal_scheme::answer::{Answer, Fetch, FetchRoute};
use twinseal_scheme::bond::Bond;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochOpening};
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::{
    DecryptionPublic, P256Private, SigningKey, SigningPublic, random_scalar,
};
use twinseal_scheme::message::{Outer, seal_up};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_server::store::{Caller, Entry};

use crate::device::{Device, open_store};
use crate::rig::{Place, Server, client};

/// An id that no device has.
pub fn unknown() -> DeviceId {
    let mut id = DeviceId([0; 16]);
    OsRng.fill_bytes(&mut id.0);
    id
}

/// What somebody has who knows of a device what stands on the wire, and no key.
struct Forger {
    bond: Bond,
    chain: Secret,
    signing: SigningKey,
}

impl Forger {
    fn of(device_id: DeviceId, generation: u32) -> Forger {
        let mut random = [0; 32];
        OsRng.fill_bytes(&mut random);
        let signing = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let bond = Bond {
            server_id: ServerId(random),
            device_id,
            serial: HardwareSerial::from_bytes(random),
            generation,
            keyset: 1,
            signing: SigningPublic::Es256(signing.public().clone()),
            decryption: DecryptionPublic::EcdhEs(
                P256Private::generate(&mut OsRng).public().clone(),
            ),
        };
        Forger { bond, chain: Secret::new(random), signing }
    }

    fn keys(&self, epoch: u64) -> EpochKeys {
        EpochKeys::opening(&ChainKey::kept(epoch, self.chain.clone()), 1)
    }

    fn message(&self, epoch: u64, seq: u32, outer: Outer) -> Vec<u8> {
        let keys = self.keys(epoch);
        let unsigned = seal_up(&self.bond, &keys, outer, seq, b"forged", &mut OsRng).unwrap();
        let signature = self.signing.sign_digest(&unsigned.digest()).unwrap();
        unsigned.finish(&signature).unwrap()
    }

    fn epoch_open(&self, epoch: u64, server_keys: &ServerKeys) -> Vec<u8> {
        let chain = ChainKey::kept(epoch, self.chain.clone());
        let opening = EpochOpening::draw(server_keys, &mut OsRng).unwrap();
        let unsigned = opening.seal(&self.bond, &chain, None, &mut OsRng).unwrap();
        let signature = self.signing.sign_digest(&unsigned.digest()).unwrap();
        unsigned.finish(&signature).unwrap().0
    }

    fn fetch(&self, epoch: u64) -> Vec<u8> {
        let (device_id, generation) = (self.bond.device_id, self.bond.generation);
        let fetch = Fetch { wait_ms: 0, acks: vec![] };
        let route = FetchRoute { device_id, generation, epoch };
        fetch.seal(&route, &self.keys(epoch), &mut OsRng).unwrap()
    }
}

/// A message of this device under made-up keys.
pub fn forged(device: DeviceId, epoch: u64, seq: u32, outer: Outer) -> Vec<u8> {
    Forger::of(device, 1).message(epoch, seq, outer)
}

/// Status, headers and body of a reply; only the date is left out.
async fn seen(server: &Server, kind: &str, body: Vec<u8>) -> (u16, Vec<(String, String)>, String) {
    let request = client().post(format!("{}/device/v1/{kind}", server.device));
    let request = request.header("content-type", "application/cose").body(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().iter().filter(|(name, _)| *name != "date");
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    (status, headers, response.text().await.unwrap())
}

/// Devices in every state, one that has opened no epoch, and one that nobody has heard of, with
/// everything that can be forged of each.
#[tokio::test]
async fn devices_in_every_state_and_unknown_ones_look_the_same_from_outside() {
    let place = Place::new();
    let server = place.serve();
    let mut known = Device::ready(&place, &server, [1; 32]).await;
    known.start(2).await;
    let fresh = Device::enrolled(&place, &server.device, [2; 32]).await;
    let revoked = Device::ready(&place, &server, [3; 32]).await;
    place.json(&["device", "revoke", &revoked.bond.device_id.to_string()]);
    let quarantined = Device::ready(&place, &server, [4; 32]).await;
    let (clone, _) = quarantined.epoch_open(1);
    let (_, answer) = quarantined.post("message", &clone).await;
    assert_eq!(quarantined.verify(&clone, &answer), Answer::Quarantined);
    let awaiting = Device::ready(&place, &server, [5; 32]).await;
    let (store, secrets) = open_store(&place).await;
    let id = awaiting.bond.device_id;
    let mut write = store.write(&Caller::Cli("test".into())).await.unwrap();
    write.set_state(&id, DeviceState::Awaiting).await.unwrap();
    write.commit(Entry::of("device.await", id, "test")).await.unwrap();
    let statement = store.read().await.unwrap().statement().await.unwrap();
    let server_keys = ServerKeys::verify(&statement, &secrets.server_id()).unwrap();
    store.close().await;
    let devices = [&known, &fresh, &revoked, &quarantined, &awaiting];
    let ids = devices.map(|device| device.bond.device_id).into_iter().chain([unknown()]);
    let mut looks = BTreeSet::new();
    for id in ids {
        for generation in [1, 2] {
            let forger = Forger::of(id, generation);
            // Closed, open, and never opened; an epoch-open of each.
            for epoch in [1, 2, 3, u64::MAX] {
                for outer in [Outer::Serial, Outer::Key] {
                    let message = forger.message(epoch, 1, outer);
                    looks.insert(seen(&server, "message", message).await);
                }
                let opening = forger.epoch_open(epoch, &server_keys);
                looks.insert(seen(&server, "message", opening).await);
                looks.insert(seen(&server, "fetch", forger.fetch(epoch)).await);
            }
        }
    }
    let (status, _, body) = looks.first().unwrap();
    assert_eq!((looks.len(), *status, body.as_str()), (1, 403, "rejected"), "{looks:?}");
    // That there is a difference to be seen: the device itself is answered.
    let fetch = known.fetching(0, &[]);
    assert_eq!(seen(&server, "fetch", fetch).await.0, 200);
    // And so are those that are revoked or in quarantine: they have signed.
    for (device, verdict) in [(&revoked, Answer::Revoked), (&quarantined, Answer::Quarantined)] {
        let message = device.seal_as(Outer::Serial, 1, b"late");
        assert_eq!(device.tell(&message).await, verdict);
    }
    // Before an operator has approved it, a device is unknown.
    let message = awaiting.seal_as(Outer::Serial, 1, b"early");
    assert_eq!(looks.first(), Some(&seen(&server, "message", message).await));
}
