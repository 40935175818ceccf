//! A chip on a test's bench, and the little in which the kinds are asked differently.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_hardware::{
    AuthValue, ChipKeys, Config, Hardware, Lane, Limits, MessageKey, TokenConfig, draw_token_ids,
};
use twinseal_scheme::keys::{P256Private, P256Public, SigningPublic};
use twinseal_scheme::tpm::Public;
use twinseal_swtpm_tests::{Chip, ChipKind, Served};

pub struct Bench {
    pub chip: Chip,
    /// Serves the module of a token.
    agent: Served,
}

/// The public halves of an enrolment's keys.
pub struct Publics {
    pub signing: SigningPublic,
    pub decryption: P256Public,
    pub serial: P256Public,
}

impl Bench {
    pub fn with(kind: ChipKind) -> Bench {
        let chip = Chip::of(kind);
        let agent = Served::new("twinseal-agent", &chip.environment());
        Bench { chip, agent }
    }

    /// Patient, since many chips are emulated at once here.
    pub fn open(&self) -> Hardware {
        self.open_with(Limits { deadline: Duration::from_secs(120), ..Limits::default() })
    }

    pub fn open_with(&self, limits: Limits) -> Hardware {
        let opened = match &self.chip {
            Chip::Tpm(chip) => {
                let config = Config::new(chip.tcti().parse().expect("an address"));
                Hardware::open(Config { limits, ..config })
            }
            Chip::Token(token) => {
                let pin = AuthValue::new(token.pin().as_bytes().to_vec()).expect("a PIN");
                let config = TokenConfig::new(token.uri().parse().expect("an address"), pin);
                Hardware::open_token(TokenConfig { limits, program: self.agent.path(), ..config })
            }
        };
        opened.expect("a thread")
    }

    /// Open, with the keys of an enrolment.
    pub async fn enrolled(&self) -> (Hardware, ChipKeys) {
        let hardware = self.open();
        let keys = self.create_keys(&hardware.lane(0)).await;
        (hardware, keys)
    }

    pub async fn create_keys(&self, lane: &Lane) -> ChipKeys {
        match self.chip {
            Chip::Tpm(_) => {
                let ek = lane.endorsement_key(None).await.expect("an endorsement key");
                ChipKeys::Tpm(lane.create_keys(&ek).await.expect("keys"))
            }
            Chip::Token(_) => {
                ChipKeys::from(&lane.create_token_keys(draw_token_ids()).await.expect("keys"))
            }
        }
    }
}

impl Publics {
    pub fn of(keys: &ChipKeys) -> Publics {
        match keys {
            ChipKeys::Tpm(keys) => {
                let area = |public| Public::parse(public).expect("a public area");
                let p256 = |public| {
                    let area = area(public);
                    let (_, point) = area.key().point().expect("a key on a curve");
                    P256Public::from_point(point).expect("a key on P-256")
                };
                Publics {
                    signing: SigningPublic::from_area(&area(keys.signing.public())).expect("a key"),
                    decryption: p256(keys.decryption.public()),
                    serial: p256(keys.serial.public()),
                }
            }
            ChipKeys::Token(keys) => Publics {
                signing: SigningPublic::Es256(keys.signing.public().clone()),
                decryption: keys.decryption.public().clone(),
                serial: keys.serial.public().clone(),
            },
        }
    }
}

/// Has something signed, and verifies that.
pub async fn signs(lane: &Lane, keys: &ChipKeys) -> Vec<u8> {
    let mut message = [0; 40];
    OsRng.fill_bytes(&mut message);
    let signature = lane.sign(keys.signing(), Sha256::digest(message).into()).await;
    let signature = signature.expect("a signature");
    assert!(Publics::of(keys).signing.has_signed(&message, &signature));
    signature
}

/// Has the chip agree with a new key, and compares.
pub async fn agrees(lane: &Lane, key: &MessageKey, public: &P256Public) {
    let peer = P256Private::generate(&mut OsRng);
    let secret = lane.agree(key, *peer.public().point()).await.expect("an agreement");
    assert_eq!(secret, peer.agree(public).expect("a checked key"));
}

/// A point on the curve.
pub fn point() -> [u8; 65] {
    *P256Private::generate(&mut OsRng).public().point()
}
