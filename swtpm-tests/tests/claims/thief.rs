//! A thief: he has the device's disk, its state key and a copy of its chip that lacks the serial
//! alone; and an agent of his own, that does not mind whose chip it is.

use std::path::PathBuf;
use std::process::Command;

use rand_core::OsRng;
use twinseal_hardware::{AuthValue, ChipKeys, Config, Hardware, Lane, TokenConfig, draw_token_ids};
use twinseal_scheme::Secret;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochOpening};
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::{
    DecryptionAlgorithm, DecryptionPublic, Encapsulation, P256Public, SigningAlgorithm,
    SigningPublic,
};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_scheme::tpm::Public;
use twinseal_swtpm_tests::{Chip, Device, Served, StolenState, ecdsa_der};

/// What is on a device's disk, opened with its state key.
pub struct Thief {
    bond: Bond,
    keys: ChipKeys,
    encapsulation: Encapsulation,
    server_keys: ServerKeys,
}

impl Thief {
    /// Reads the disk of a device.
    pub fn of(device: &Device) -> Thief {
        let stolen = StolenState::of(&device.state_dir());
        let row = |column: &str| -> Vec<u8> { stolen.column(column) };
        let signing = SigningAlgorithm::of_number(stolen.column("signing_algorithm"));
        let decryption = DecryptionAlgorithm::of_number(stolen.column("decryption_algorithm"));
        let (signing, decryption) = (signing.expect("known"), decryption.expect("known"));
        let keys = ChipKeys::from_bytes(&stolen.keys()).expect("the chip's keys");
        let server_id = ServerId(row("server_id").try_into().expect("32 bytes"));
        Thief {
            bond: Bond {
                server_id,
                device_id: DeviceId(row("device_id").try_into().expect("16 bytes")),
                serial: HardwareSerial::from_bytes(row("serial").try_into().expect("32 bytes")),
                generation: stolen.column("generation"),
                keyset: stolen.column("keyset"),
                signing: SigningPublic::from_spki(signing, &row("signing")).expect("a key"),
                decryption: DecryptionPublic::from_spki(decryption, &row("decryption"))
                    .expect("a key"),
            },
            encapsulation: Encapsulation::decode(&serial_key(&keys), &row("encapsulation"))
                .expect("an E for the serial key"),
            keys,
            server_keys: ServerKeys::verify(&row("statement"), &server_id).expect("a statement"),
        }
    }

    /// Has the chip sign with the true device's signing key, and asks `openssl` whether that is
    /// a signature of the true device.
    pub fn openssl_believes(&self, chip: &Chip, message: &[u8]) -> bool {
        let signature = on(chip, async |lane| {
            lane.sign(self.keys.signing(), sha256(message)).await.expect("the key loads and signs")
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a new file");
            path
        };
        let key = file("key.der", &self.bond.signing.spki());
        let (signature, options): (Vec<u8>, &[&str]) = match self.bond.signing.algorithm() {
            SigningAlgorithm::Es256 => (ecdsa_der(&signature), &[]),
            SigningAlgorithm::Ps256 => (signature, &PSS),
            SigningAlgorithm::Rs256 => (signature, &[]),
        };
        let signature = file("signature", &signature);
        let message = file("message", message);
        let status = Command::new("openssl")
            .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
            .arg(key)
            .args(options)
            .arg("-signature")
            .args([signature, message])
            .output()
            .expect("openssl");
        status.status.success()
    }

    /// Has the chip do what it does with the true device's decryption key.
    pub fn decapsulate(&self, chip: &Chip, encapsulation: &Encapsulation) -> Secret {
        let key = self.keys.decryption();
        let secret = on(chip, async |lane| lane.decapsulate(key, encapsulation).await);
        secret.expect("the key loads and works")
    }

    /// Whether the chip computes what the true device's serial layer hangs on; else the code of its
    /// refusal.
    pub fn agrees(&self, chip: &Chip) -> Result<(), &'static str> {
        let secret =
            on(chip, async |lane| lane.decapsulate_serial(&self.keys, &self.encapsulation).await);
        secret.map(drop).map_err(|error| error.code())
    }

    /// The server's signing key, as the device has pinned it.
    pub fn server_signing(&self) -> &P256Public {
        &self.server_keys.signing
    }

    /// What an agent makes that states the true serial, on this chip: an epoch-open under the
    /// true device's signing key, sealed with what the chip's own serial key gives.
    pub fn forge(&self, chip: &Chip, epoch: u64) -> Vec<u8> {
        on(chip, async |lane| {
            let own = own_keys(&lane).await;
            let z = match lane.decapsulate_serial(&own, &self.encapsulation).await {
                // Another RSA key makes nothing of it, and he takes what he likes.
                Err(error) if error.code() == "rejected" => Secret::new([7; 32]),
                z => z.expect("an agreement"),
            };
            let chain = ChainKey::of_bond(&z, &self.bond).ratchet(epoch).expect("a later epoch");
            let opening = EpochOpening::draw(&self.server_keys, &mut OsRng).expect("an opening");
            let extra = opening.extra_data(&self.bond, epoch);
            let attest = match &own {
                ChipKeys::Tpm(own) => {
                    let attest = lane.certify(own, &own.signing, extra).await.expect("an attest");
                    Some((attest.attest, attest.signature))
                }
                ChipKeys::Token(_) => None,
            };
            let unsigned =
                opening.seal(&self.bond, &chain, attest, &mut OsRng).expect("a sealed opening");
            let signed = lane.sign(self.keys.signing(), unsigned.digest()).await;
            unsigned.finish(&signed.expect("the true key signs")).expect("an envelope").0
        })
    }
}

fn serial_key(keys: &ChipKeys) -> DecryptionPublic {
    match keys {
        ChipKeys::Tpm(keys) => {
            let area = Public::parse(keys.serial.public()).expect("a public area");
            DecryptionPublic::from_area(&area).expect("a key on P-256")
        }
        ChipKeys::Token(keys) => keys.serial.public().clone(),
    }
}

/// Keys that the chip makes for whoever asks.
async fn own_keys(lane: &Lane) -> ChipKeys {
    match lane.endorsement_key(None).await {
        Ok(ek) => ChipKeys::Tpm(lane.create_keys(&ek).await.expect("keys of its own seed")),
        Err(_) => ChipKeys::from(
            &lane.create_token_keys(draw_token_ids()).await.expect("keys of its own"),
        ),
    }
}

/// Does something with a chip, and leaves it.
pub fn on<T>(chip: &Chip, work: impl AsyncFnOnce(Lane) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let agent = Served::new("twinseal-agent", &chip.environment());
        let hardware = open(chip, agent.path());
        let done = work(hardware.lane(0)).await;
        hardware.close().await;
        done
    })
}

/// The module of a token is served by `program`.
fn open(chip: &Chip, program: PathBuf) -> Hardware {
    let hardware = match chip {
        Chip::Tpm(chip) => {
            let mut config = Config::new(chip.tcti().parse().expect("an address"));
            if let Some(keys) = twinseal_swtpm_tests::keys() {
                config.prefer = serde_json::from_value(keys.into()).expect("ecc or rsa");
            }
            Hardware::open(config)
        }
        Chip::Token(token) => {
            let pin = AuthValue::new(token.pin().as_bytes().to_vec()).expect("a PIN");
            let config = TokenConfig::new(token.uri().parse().expect("an address"), pin);
            Hardware::open_token(TokenConfig { program, ..config })
        }
    };
    hardware.expect("a thread")
}

fn sha256(message: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(message).into()
}

/// RSASSA-PSS with a salt as long as the hash.
const PSS: [&str; 4] = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
