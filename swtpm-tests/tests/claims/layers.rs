//! Layers removed, doubled, swapped, reflected, and put around another's, between a real server
//! and a real agent, by somebody who has every key of both: the server's folders, the device's
//! disk, and a copy of its chip. Each message is right but for its one fault.

use rand_core::OsRng;
use twinseal_hardware::ChipKeys;
use twinseal_scheme::Reason;
use twinseal_scheme::id::TradeId;
use twinseal_scheme::keys::{
    DecryptionPublic, P256Private, P256Public, SigningKey, SigningPublic, random_scalar,
};
use twinseal_scheme::trade::{Content, Index, MessageType, Service};
use twinseal_server::at_rest::AtRest;
use twinseal_server::keys::ServerSecrets;
use twinseal_server::store::Store;
use twinseal_swtpm_tests::forge::{Place, direction_keys};
use twinseal_swtpm_tests::till::{APP, SERVICE, Till, until};
use twinseal_swtpm_tests::{Api, Chip, ChipKind, Device, StolenState, TokenKind, World, bytes};

use crate::thief::on;

const OUTER: u8 = 1;
const INNER: u8 = 2;
const SERVER: u8 = 3;
/// Above every number that device and server give here. What is refused uses none up.
const FIRST_SEQ: u32 = 1000;
const ORDERS: [(&str, u8); 2] = [("serial", 1), ("key", 2)];

/// One fault, what has it, and why it is refused.
type Fault = (&'static str, Vec<u8>, Reason);

struct Forger {
    place: Place,
    keys: [[u8; 32]; 2],
    decryption: P256Public,
    device: ChipKeys,
    chip: Chip,
    server: SigningKey,
}

impl Forger {
    async fn of(world: &World, till: &Till) -> Forger {
        let secrets = ServerSecrets::load(&world.server().secrets_dir()).unwrap();
        let at_rest = AtRest::new(secrets.at_rest_key());
        let store = Store::open(&world.server().data_dir(), at_rest).await.unwrap();
        let id = till.id.parse().unwrap();
        let mut tx = store.read().await.unwrap();
        let bond = tx.standing(&id, &secrets.server_id()).await.unwrap().unwrap().bond;
        let chain = tx.chain(&id, bond.generation).await.unwrap().unwrap();
        let epoch = tx.last_epoch(&id, bond.generation).await.unwrap().unwrap();
        drop(tx);
        store.close().await;
        let (SigningPublic::Es256(signing), DecryptionPublic::EcdhEs(decryption)) =
            (&bond.signing, &bond.decryption)
        else {
            panic!("{bond:?}")
        };
        let agreement = epoch.agreement.unwrap();
        let epoch_key = P256Public::from_point(&agreement.epoch_key).unwrap();
        let (ecdh, kem) = (
            secrets.encryption.agree(&epoch_key).unwrap(),
            secrets.kem.decapsulate(&agreement.kem).unwrap(),
        );
        let (number, hash) = (epoch.opening.epoch, epoch.opening.hash);
        let place = Place {
            outer: 0,
            direction: 0,
            server_id: bond.server_id.0,
            sequence: epoch.sequence,
            device_id: bond.device_id.0,
            serial: *bond.serial.as_bytes(),
            generation: bond.generation,
            keyset: bond.keyset,
            epoch: number,
            open_hash: hash,
            seq: 0,
            signing_id: signing.id().0,
            decryption_id: decryption.id().0,
        };
        let chain = chain.key().expose();
        let keys =
            direction_keys(chain, ecdh.expose(), kem.expose(), &hash, number, epoch.sequence);
        let stolen = StolenState::of(&till.device.state_dir());
        Forger {
            place,
            keys,
            decryption: decryption.clone(),
            device: ChipKeys::from_bytes(&stolen.keys()).unwrap(),
            chip: till.device.chip().copy(),
            server: secrets.signing,
        }
    }

    fn at(&self, outer: u8, direction: u8, seq: u32) -> Place {
        Place { outer, direction, seq, ..self.place.clone() }
    }

    fn es(&self, place: &Place, layer: u8, plaintext: &[u8]) -> Vec<u8> {
        place.serial_layer(layer, &self.keys[usize::from(place.direction)], plaintext)
    }

    /// The key layer up, made by the copy of the chip.
    fn signed(&self, place: &Place, layer: u8, payload: &[u8]) -> Vec<u8> {
        place.signed(layer, payload, |digest| {
            on(&self.chip, async |lane| lane.sign(self.device.signing(), digest).await.unwrap())
        })
    }

    /// The key layer down.
    fn ea(&self, place: &Place, layer: u8, plaintext: &[u8]) -> Vec<u8> {
        let ephemeral = P256Private::generate(&mut OsRng);
        let z = ephemeral.agree(&self.decryption).unwrap();
        place.key_layer(layer, ephemeral.public().point(), z.expose(), plaintext)
    }

    fn by_server(&self, place: &Place, content: &[u8]) -> Vec<u8> {
        place.signed(SERVER, content, by(&self.server))
    }

    /// The body of a message as it should be, in the order that is named apart from its place's.
    fn body(&self, place: &Place, outer: u8, content: &[u8]) -> Vec<u8> {
        let ea = |layer, text: &[u8]| match place.direction {
            0 => self.signed(place, layer, text),
            _ => self.ea(place, layer, text),
        };
        let content = match place.direction {
            0 => content.to_vec(),
            _ => self.by_server(place, content),
        };
        match outer {
            1 => self.es(place, OUTER, &ea(INNER, &content)),
            _ => ea(OUTER, &self.es(place, INNER, &content)),
        }
    }

    fn good(&self, outer: u8, direction: u8, content: &[u8]) -> Vec<u8> {
        let place = self.at(outer, direction, FIRST_SEQ + u32::from(outer));
        place.envelope(&self.body(&place, outer, content))
    }

    fn faults_up(&self, outer: u8, content: &[u8]) -> Vec<Fault> {
        let p = self.at(outer, 0, FIRST_SEQ);
        let (down, honest) = (self.at(outer, 1, p.seq), self.body(&p, outer, content));
        let es = |layer, text: &[u8]| self.es(&p, layer, text);
        let signed = |layer, text: &[u8]| self.signed(&p, layer, text);
        let another = Place { device_id: [0xa5; 16], ..p.clone() };
        let stranger = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let is_serial = outer == 1;
        // Within the order of this message: who puts his signature where.
        let signed_by = |sign: &dyn Fn(u8, &[u8]) -> Vec<u8>| match is_serial {
            true => es(OUTER, &sign(INNER, content)),
            false => sign(OUTER, &es(INNER, content)),
        };
        let reflected = self.body(&down, outer, content);
        let mut faults = vec![
            ("doubled", if is_serial { es(OUTER, &honest) } else { signed(OUTER, &honest) }),
            ("swapped", self.body(&p, 3 - outer, content)),
        ];
        faults.extend(match is_serial {
            true => [("without Es", signed(INNER, content)), ("without Ea", es(OUTER, content))],
            false => [("without Ea", es(INNER, content)), ("without Es", signed(OUTER, content))],
        });
        let mut faults: Vec<Fault> = faults
            .into_iter()
            .map(|(fault, body)| (fault, p.envelope(&body), Reason::WrongTag))
            .collect();
        let relabelled = self.at(3 - outer, 0, p.seq).envelope(&honest);
        let mirror = if is_serial { Reason::BadCommitment } else { Reason::WrongTag };
        let alien = signed_by(&|layer, text| self.signed(&another, layer, text));
        let foreign = signed_by(&|layer, text| p.signed(layer, text, by(&stranger)));
        let signature = Reason::BadDeviceSignature;
        faults.extend([
            ("relabelled", relabelled, Reason::WrongTag),
            ("returned", down.envelope(&reflected), Reason::WrongRoute),
            ("reflected", p.envelope(&reflected), mirror),
            ("around what was signed as another device", p.envelope(&alien), signature),
            ("around or in another's signature", p.envelope(&foreign), signature),
        ]);
        faults
    }

    fn faults_down(&self, outer: u8, content: &[u8]) -> Vec<Fault> {
        let p = self.at(outer, 1, FIRST_SEQ);
        let (up, honest) = (self.at(outer, 0, p.seq), self.body(&p, outer, content));
        let es = |layer, text: &[u8]| self.es(&p, layer, text);
        let ea = |layer, text: &[u8]| self.ea(&p, layer, text);
        let around = |signed: &[u8]| match outer {
            1 => es(OUTER, &ea(INNER, signed)),
            _ => ea(OUTER, &es(INNER, signed)),
        };
        let signed = self.by_server(&p, content);
        let another = Place { device_id: [0xa5; 16], ..p.clone() };
        let stranger = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let foreign = p.signed(SERVER, content, by(&stranger));
        let returned = up.envelope(&self.body(&up, outer, content));
        let reflected = p.envelope(&self.body(&up, outer, content));
        let relabelled = self.at(3 - outer, 1, p.seq).envelope(&honest);
        let (header, tag) = (Reason::WrongHeader, Reason::WrongTag);
        let particular = match outer {
            1 => [
                ("without Es", ea(OUTER, &signed), header),
                ("without Ea", es(OUTER, &signed), tag),
                ("doubled", es(OUTER, &honest), header),
            ],
            _ => [
                ("without Ea", es(OUTER, &signed), header),
                ("without Es", ea(OUTER, &signed), tag),
                ("doubled", ea(OUTER, &honest), header),
            ],
        };
        let signature = Reason::BadServerSignature;
        let general = [
            ("swapped", self.body(&p, 3 - outer, content), header),
            ("without the server's signature", around(content), tag),
            ("signed for another", around(&self.by_server(&another, content)), signature),
            ("signed by another", around(&foreign), signature),
        ];
        let faults = particular.into_iter().chain(general);
        let mut faults: Vec<Fault> =
            faults.map(|(fault, body, reason)| (fault, p.envelope(&body), reason)).collect();
        let mirror = if outer == 1 { Reason::BadCommitment } else { tag };
        faults.extend([
            ("relabelled", relabelled, Reason::WrongOrder),
            ("returned", returned, Reason::WrongRoute),
            ("reflected", reflected, mirror),
        ]);
        faults
    }
}

fn by(key: &SigningKey) -> impl Fn([u8; 32]) -> Vec<u8> {
    |digest| key.sign_digest(&digest).unwrap().to_vec()
}

/// Waits until the server has heard of a trade.
fn known(till: &Till, trade: &str) {
    let path = till.path(&format!("/trades/{trade}"));
    until("the trade", || (till.backend().get(&path).status == 200).then_some(()));
}

fn content(trade: &str, index: u32, payload: &str) -> Vec<u8> {
    let content = Content {
        trade: trade.parse::<TradeId>().unwrap(),
        index: Index::new(index).unwrap(),
        service: Service::new(SERVICE).unwrap(),
        message_type: MessageType::Data,
        content_type: "text/plain".to_owned(),
        payload: payload.as_bytes().to_vec(),
    };
    content.encode()
}

/// A device with elliptic curves, and who has all its keys.
fn attacked(world: &World) -> (Till, Forger) {
    // Nobody has made a key on a curve in a token that knows none: its sibling is attacked.
    let kind = match ChipKind::of_environment() {
        ChipKind::Token(TokenKind::KryopticRsa) => ChipKind::Token(TokenKind::Kryoptic),
        kind => kind,
    };
    let device = Device::builder().chip(Chip::of(kind)).keys("ecc");
    let till = Till::of_device(world, "attacked", device);
    till.trades("honest");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let forger = runtime.block_on(Forger::of(world, &till));
    (till, forger)
}

#[test]
fn a_server_refuses_layers_that_are_not_laid_as_they_should_be() {
    let world = World::start();
    let (till, forger) = attacked(&world);
    let door = Api::new(world.server().device_address(), "none");
    let post = |envelope: &[u8]| {
        let reply = door.send("POST", "/device/v1/message", envelope, "application/cose");
        (reply.status, reply.body)
    };
    for (order, outer) in ORDERS {
        let trade = till.open(order);
        till.send(&trade, "before");
        assert_eq!(till.backend_receive(&trade, 0), ["before"]);
        for (fault, envelope, reason) in forger.faults_up(outer, &content(&trade, 3, "forged")) {
            let before = world.server().log().len();
            assert_eq!(post(&envelope), (403, b"rejected".to_vec()), "{order}: {fault}");
            let log = world.server().log()[before..].to_owned();
            let named = format!("reason=\"{}\"", reason.code());
            assert!(log.contains(&named), "{order}: {fault}: {named}: {log}");
        }
        till.send(&trade, "after");
        assert_eq!(till.backend_receive(&trade, 2), ["after"]);
        // The same hands, and no fault: that is what the keys can do.
        let twin = till.open(order);
        known(&till, &twin);
        let good = forger.good(outer, 0, &content(&twin, 2, "laid as it should be"));
        assert_eq!(post(&good).0, 200, "{order}");
        assert_eq!(till.backend_receive(&twin, 0), ["laid as it should be"]);
    }
}

#[test]
fn an_agent_refuses_layers_that_are_not_laid_as_they_should_be() {
    let world = World::start();
    let (till, forger) = attacked(&world);
    let call = |trade: &str, method: &str, envelope: &[u8]| {
        let path = format!("/u{}/trade/{trade}", APP.uid());
        till.device.call(APP, &path, method, &[&bytes(envelope), "@a{sv} {}"])
    };
    for (order, outer) in ORDERS {
        let trade = till.open(order);
        known(&till, &trade);
        till.backend_send(&trade, "before");
        assert_eq!(till.receive(&trade, 0), ["before"]);
        for (fault, envelope, reason) in forger.faults_down(outer, &content(&trade, 2, "forged")) {
            for method in ["Trade.Open", "Trade.Inspect"] {
                // A device may look into what it has sealed itself.
                if (fault, method) == ("returned", "Trade.Inspect") {
                    continue;
                }
                let refused = call(&trade, method, &envelope).expect_err(fault);
                assert_eq!(refused.name, "org.twinseal.Error.Rejected", "{order}: {fault}");
                assert!(refused.text.contains(reason.code()), "{order}: {fault}: {}", refused.text);
            }
        }
        till.backend_send(&trade, "after");
        assert_eq!(till.receive(&trade, 1), ["after"]);
        // The same hands, and no fault: that is what the keys can do.
        let twin = till.open(order);
        let good = forger.good(outer, 1, &content(&twin, 1, "laid as it should be"));
        call(&twin, "Trade.Inspect", &good).expect(order);
        let opened = call(&twin, "Trade.Open", &good).expect(order);
        assert!(opened.contains("text/plain"), "{opened}");
    }
}
