//! The hardware crate on a token behind a module that may misbehave.

use std::fs;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use twinseal_hardware::{AuthValue, ChipKeys, Hardware, Lane, Limits, TokenConfig};
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{DecryptionPublic, Encapsulation};
use twinseal_swtpm_tests::{Module, Served, Token};

/// A token, its module, and the program that is started for it.
pub struct Rig {
    pub token: Token,
    pub module: Module,
    agent: Served,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::of(Token::start())
    }

    pub fn of(token: Token) -> Rig {
        let module = Module::before(&token);
        let environment = [token.environment(), module.environment()].concat();
        Rig { token, module, agent: Served::new("twinseal-agent", &environment) }
    }

    pub fn config(&self) -> TokenConfig {
        self.config_of(&self.token.uri_by(&self.module.path()), self.token.pin())
    }

    pub fn config_of(&self, address: &str, pin: &str) -> TokenConfig {
        let address = address.parse().expect("an address");
        let pin = AuthValue::new(pin.as_bytes().to_vec()).expect("a PIN");
        let limits = Limits { deadline: Duration::from_secs(5), ..Limits::default() };
        TokenConfig { limits, program: self.agent.path(), ..TokenConfig::new(address, pin) }
    }

    pub fn open(&self) -> Hardware {
        Hardware::open_token(self.config()).expect("a thread")
    }
}

/// The processes that have loaded this module.
pub fn loaded_by(module: &Module) -> Vec<u32> {
    let path = module.path().display().to_string();
    let pids = fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        // It may be gone by now.
        fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(&path))
    };
    pids.filter(has).collect()
}

pub async fn signs(lane: &Lane, keys: &ChipKeys) {
    let mut message = [0; 40];
    OsRng.fill_bytes(&mut message);
    let ChipKeys::Token(of_token) = keys else { panic!("keys of a token") };
    let digest = Sha256::digest(message).into();
    let signature = lane.sign(keys.signing(), digest).await.expect("a signature");
    assert!(of_token.signing.public().has_signed(&message, &signature));
}

/// A secret for whoever has the private half.
pub fn drawn_for(public: &DecryptionPublic) -> (Encapsulation, Secret) {
    Encapsulation::draw(public, [], &mut OsRng).expect("a checked key")
}
