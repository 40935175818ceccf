//! A chip on a test's bench, and the little in which the kinds are asked differently.

use std::time::Duration;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_hardware::{
    ApplicationKey, AuthValue, ChipKeys, Config, Error, Hardware, KeyAlgorithm, Lane, Limits,
    MessageKey, TokenConfig, Uses, draw_token_ids,
};
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{DecryptionPublic, Encapsulation, P256Private, SigningPublic};
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
    pub decryption: DecryptionPublic,
    pub serial: DecryptionPublic,
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

    pub async fn create_application_key(
        &self,
        lane: &Lane,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<ApplicationKey, Error> {
        match self.chip {
            Chip::Tpm(_) => {
                let ek = lane.endorsement_key(None).await?;
                lane.create_application_key(&ek, algorithm, uses).await.map(ApplicationKey::Tpm)
            }
            Chip::Token(_) => {
                let [id] = draw_token_ids();
                let made = lane.create_key_in_token(id, algorithm, uses).await;
                made.map(ApplicationKey::from)
            }
        }
    }
}

impl Publics {
    pub fn of(keys: &ChipKeys) -> Publics {
        match keys {
            ChipKeys::Tpm(keys) => {
                let area = |public| Public::parse(public).expect("a public area");
                let opens = |public| DecryptionPublic::from_area(&area(public)).expect("a key");
                Publics {
                    signing: SigningPublic::from_area(&area(keys.signing.public())).expect("a key"),
                    decryption: opens(keys.decryption.public()),
                    serial: opens(keys.serial.public()),
                }
            }
            ChipKeys::Token(keys) => Publics {
                signing: keys.signing.public().clone(),
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

/// Has the chip agree with a new key, or decrypt, and compares.
pub async fn opens(lane: &Lane, key: &MessageKey, public: &DecryptionPublic) {
    let (sealed, expected) = drawn_for(public);
    assert_eq!(lane.decapsulate(key, &sealed).await.expect("a secret"), expected);
}

/// As [`opens`], with the serial key.
pub async fn opens_serial(lane: &Lane, keys: &ChipKeys) {
    let (sealed, expected) = drawn_for(&Publics::of(keys).serial);
    assert_eq!(lane.decapsulate_serial(keys, &sealed).await.expect("a secret"), expected);
}

/// Why the chip opens nothing, with either key.
pub async fn refusals(lane: &Lane, keys: &ChipKeys) -> [&'static str; 2] {
    let publics = Publics::of(keys);
    let (sealed, of_serial) = (drawn_for(&publics.decryption).0, drawn_for(&publics.serial).0);
    [
        lane.decapsulate(keys.decryption(), &sealed).await.unwrap_err().code(),
        lane.decapsulate_serial(keys, &of_serial).await.unwrap_err().code(),
    ]
}

fn drawn_for(public: &DecryptionPublic) -> (Encapsulation, Secret) {
    Encapsulation::draw(public, [], &mut OsRng).expect("a checked key")
}

/// A point on the curve.
pub fn point() -> [u8; 65] {
    *P256Private::generate(&mut OsRng).public().point()
}
