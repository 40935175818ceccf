//! The server's side, in memory, made of the scheme's own functions: one device, no limits.

/// What is to be signed, signed.
macro_rules! sign {
    ($key:expr, $unsigned:expr) => {{
        let unsigned = $unsigned;
        $key.sign(unsigned.to_sign()).map(|signature| unsigned.finish(&signature))
    }};
}

mod device;
mod enrolment;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_agent::{CarryKind, TradeId};
use twinseal_scheme::answer::{Answer, Fetch};
use twinseal_scheme::bond::Bond;
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::enrol::{
    Activation, ActivationProof, Challenge, Claim, ClaimOpening, ClaimedHardware, ClaimedKey,
    ClaimedTpm, Confirmation, ConfirmationKey, Grant, GrantKey, Offer, Request, Standing,
    certify_extra_data, re_enrolment_proof, verify_re_enrolment_proof,
};
use twinseal_scheme::epoch::{ChainKey, EpochKeys, VerifiedEpochOpen};
use twinseal_scheme::id::{DeviceId, EnrolId};
use twinseal_scheme::keys::{
    DecryptionPublic, Encapsulation, KemPrivate, P256Private, SigningKey, random_scalar,
};
use twinseal_scheme::link::Link;
use twinseal_scheme::message::{DownOpening, Envelope, Outer, open_up, seal_down};
use twinseal_scheme::receipt::{SignedReceipt, UnsignedReceipt};
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_scheme::tpm::{
    Certification, DeviceKeyClaims, Name, VerifiedDeviceKeys, make_credential, verify_device_keys,
    verify_epoch_attest,
};
use twinseal_scheme::trade::{
    Content, Due, Kind, MessageType, Receipt, ReceiptFacts, Received, Row, Service, Trade,
};
use twinseal_scheme::{Outside, Reason, Secret};

const NOW: u64 = 1_760_000_000;

/// A server.
pub struct Server {
    identity: SigningKey,
    signing: SigningKey,
    encryption: P256Private,
    kem: KemPrivate,
    pub keys: ServerKeys,
    /// What the next confirmation is granted.
    pub standing: Standing,
    /// Answers already given, by the request.
    answers: HashMap<[u8; 32], Vec<u8>>,
    enrolling: HashMap<EnrolId, Enrolling>,
    pub device: Option<Device>,
    /// What the next message or fetch is answered, instead of being accepted.
    pub verdict: Option<Answer>,
    /// What nobody but the two ends may ever see: credentials, chain keys.
    pub secrets: Vec<Vec<u8>>,
    /// Replies to every request with these bytes before it.
    pub reply_prefix: Option<Vec<u8>>,
}

struct Enrolling {
    hashes: Vec<[u8; 32]>,
    proof: ActivationProof,
    keys: VerifiedDeviceKeys,
    ak_public: Vec<u8>,
    chain: Option<(Offer, ChainKey)>,
    mac: [u8; 32],
}

/// The enrolled device.
pub struct Device {
    pub bond: Bond,
    ak_public: Vec<u8>,
    srk_name: Name,
    signing_name: Name,
    chain: ChainKey,
    /// CK_e of every epoch.
    pub chain_keys: Vec<Vec<u8>>,
    epochs: BTreeMap<u64, EpochKeys>,
    /// Envelopes that had an effect.
    pub accepted: HashSet<[u8; 32]>,
    trades: HashMap<TradeId, Known>,
    downlinks: VecDeque<(Outer, Content)>,
    sealed: Option<(u64, Vec<u8>)>,
    /// Every message down that was fetched.
    sent_down: Vec<Vec<u8>>,
    down_seq: u32,
    /// Hears no acknowledgements.
    pub is_deaf: bool,
    expected: Option<(TradeId, Vec<u8>)>,
}

struct Known {
    trade: Trade,
    rows: BTreeMap<u32, Row>,
    delivered: Vec<Vec<u8>>,
    receipt: Option<Vec<u8>>,
}

type Reply = Result<Vec<u8>, Reason>;

impl Server {
    pub fn new() -> Server {
        let key = || SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        let (identity, signing) = (key(), key());
        let encryption = P256Private::generate(&mut OsRng);
        let (kem, _) = KemPrivate::generate().unwrap();
        let keys = ServerKeys {
            sequence: NOW,
            min_sequence: 0,
            signing: signing.public().clone(),
            encryption: encryption.public().clone(),
            kem: kem.public().clone(),
            identity: identity.public().clone(),
        };
        Server {
            identity,
            signing,
            encryption,
            kem,
            keys,
            standing: Standing::Active,
            answers: HashMap::new(),
            enrolling: HashMap::new(),
            device: None,
            verdict: None,
            secrets: vec![],
            reply_prefix: None,
        }
    }

    pub fn link(&self) -> String {
        let url = "http://localhost:1".to_owned();
        let (server_id, least_sequence) = (self.keys.server_id(), self.keys.sequence);
        Link { url, server_id, least_sequence, code: Some("K7QX".to_owned()) }.to_string()
    }

    pub fn device(&mut self) -> &mut Device {
        self.device.as_mut().unwrap()
    }

    /// What comes back for one request: the answer, or one of the four words.
    pub fn handle(&mut self, kind: CarryKind, request: &[u8]) -> Result<Vec<u8>, &'static str> {
        let reply = match kind {
            CarryKind::Challenge => self.challenge(request),
            CarryKind::Claim => self.once(request, Server::claim),
            CarryKind::Activate => self.once(request, Server::activate),
            CarryKind::Confirm => self.confirm(request),
            CarryKind::Message => self.message(request),
            CarryKind::Fetch => self.fetch(request),
        };
        reply.map_err(|reason: Reason| Outside::word(reason.outside()))
    }

    fn once(&mut self, request: &[u8], make: fn(&mut Server, &[u8]) -> Reply) -> Reply {
        let hash = sha256(request);
        if let Some(answer) = self.answers.get(&hash) {
            return Ok(answer.clone());
        }
        let answer = make(self, request)?;
        self.answers.insert(hash, answer.clone());
        Ok(answer)
    }

    fn challenge(&mut self, q: &[u8]) -> Reply {
        let mut random = [0; 24];
        OsRng.fill_bytes(&mut random);
        let statement = sign!(self.identity, self.keys.unsigned())?;
        let challenge = Challenge::new(&Request::decode(q)?, random, NOW + 600, statement);
        sign!(self.signing, challenge.unsigned())
    }

    fn message(&mut self, bytes: &[u8]) -> Reply {
        let envelope = Envelope::decode(bytes)?;
        let device = self.device.as_mut().ok_or(Reason::WrongRoute)?;
        if envelope.route.generation != device.bond.generation {
            return Err(Reason::WrongRoute);
        }
        if envelope.route.seq == 0 {
            let (encryption, kem) = (&self.encryption, &self.kem);
            device.open_epoch(&envelope, encryption, kem)?;
        }
        let epoch = envelope.route.epoch;
        let Some(keys) = device.epochs.get(&epoch).cloned() else {
            return Err(Reason::EpochNotOpen);
        };
        if envelope.route.sequence < self.keys.min_sequence {
            self.verdict = Some(Answer::Refused(Reason::StatementStale.code().to_owned()));
        }
        if let Some(verdict) = self.verdict.take() {
            return verdict.seal(&keys.answer_key(), bytes, &mut OsRng);
        }
        if envelope.route.seq > 0 && !device.accepted.contains(&envelope.hash) {
            let opened = open_up(&device.bond, &keys, &envelope)?;
            let content = Content::decode(&opened.content)?;
            device.receive(content, envelope.route.outer, self.reply_prefix.as_deref());
        }
        device.accepted.insert(envelope.hash);
        device.do_expected();
        self.issue_receipts()?;
        Answer::Accepted.seal(&keys.answer_key(), bytes, &mut OsRng)
    }

    fn fetch(&mut self, bytes: &[u8]) -> Reply {
        let (route, sealed) = Fetch::route(bytes)?;
        let device = self.device.as_mut().ok_or(Reason::WrongRoute)?;
        let keys = device.epochs.get(&route.epoch).cloned().ok_or(Reason::EpochNotOpen)?;
        let fetch = Fetch::open(&route, &sealed, &keys)?;
        for ack in fetch.acks {
            device.acknowledge(TradeId(ack.trade_id), ack.index);
        }
        let answer = match self.verdict.take() {
            Some(verdict) => verdict,
            None => device.downlink(&keys, &self.signing)?,
        };
        answer.seal(&keys.answer_key(), bytes, &mut OsRng)
    }

    fn issue_receipts(&mut self) -> Result<(), Reason> {
        let server_keys = sign!(self.identity, self.keys.unsigned())?;
        let device = self.device.as_mut().ok_or(Reason::WrongRoute)?;
        let bond = device.bond.clone();
        let about = DeviceStatement {
            server_id: bond.server_id,
            device_id: bond.device_id,
            serial: bond.serial,
            generation: bond.generation,
            keyset: bond.keyset,
            signing: bond.signing.clone(),
            decryption: bond.decryption.id(),
            assurance: "tpm-ek".to_owned(),
            verdict: "chain verified".to_owned(),
            enrolled_s: NOW,
        };
        let device_statement = sign!(self.signing, about.unsigned())?;
        for known in device.trades.values_mut() {
            if known.trade.due() != Some(Due::Receipt) {
                continue;
            }
            let facts = ReceiptFacts {
                server_id: bond.server_id,
                device_id: bond.device_id,
                serial: bond.serial,
                generation: bond.generation,
                signing_key: bond.signing.id(),
                decryption_key: bond.decryption.id(),
                opened_s: NOW,
                closed_s: NOW,
                device_statement: device_statement.clone(),
                server_keys: server_keys.clone(),
            };
            let unsigned = UnsignedReceipt::new(&Receipt::of(&known.trade, facts)?);
            let signature = self.signing.sign(&unsigned.to_sign())?;
            let content = known.trade.receipt(unsigned.finish(signature))?;
            device.downlinks.push_back((known.trade.outer(), content));
        }
        Ok(())
    }

    /// New keys for everything but the identity.
    pub fn rotate(&mut self, min_sequence: u64) {
        self.signing = SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap();
        self.keys.signing = self.signing.public().clone();
        self.keys.sequence += 1;
        self.keys.min_sequence = min_sequence;
    }
}

impl Server {
    /// See [`Device::seal_next`].
    pub fn seal_next(&mut self) -> Vec<u8> {
        self.device.as_mut().unwrap().seal_next(&self.signing)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
