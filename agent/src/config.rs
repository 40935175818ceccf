//! The agent's configuration file (TOML).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use twinseal_hardware::{AuthValue, EkKind, KeyFamily};

use crate::{Error, Kind};

/// Everything that an operator decides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the state is kept; made with mode 0700.
    pub state_dir: PathBuf,
    /// The state key's file, outside `state_dir`, made with mode 0600. Without it the systemd
    /// credential `state-key` is used.
    pub state_key_file: Option<PathBuf>,
    /// The folder of `*.toml` files that say who may trade for which service.
    pub services_dir: PathBuf,
    /// Who may see what names this very chip, besides root: a group's name or number.
    #[serde(default = "operator_group")]
    pub operator_group: String,
    /// Who may carry, besides root: a group's name or number.
    #[serde(default = "courier_group")]
    pub courier_group: String,
    /// Who may make keys of his own in the chip, besides root: a group's name or number.
    #[serde(default = "key_group")]
    pub key_group: String,
    /// The chip.
    pub hardware: HardwareConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// Where the chip is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareConfig {
    /// How to reach it, as tpm2-tools write it, such as `device:/dev/tpmrm0`.
    pub tcti: String,
    /// Forces the endorsement key at the first use, such as `rsa-2048`.
    pub ek: Option<EkKind>,
    /// Which signing and decryption keys new enrolments get: `ecc` or `rsa`.
    #[serde(default)]
    pub prefer: KeyFamily,
    /// File with the owner hierarchy's authorisation, where one is set.
    pub owner_auth_file: Option<PathBuf>,
    /// File with the endorsement hierarchy's authorisation, where one is set.
    pub endorsement_auth_file: Option<PathBuf>,
    /// How long a request to it may take, milliseconds; 20,000 unless given.
    pub deadline_ms: Option<u64>,
}

/// Bounds on what callers can make the agent keep.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Sealed messages that may wait for the server, of all callers.
    pub outbox: u32,
    /// Trades of one user that have not ended.
    pub trades_per_user: u32,
    /// Keys of one user.
    pub keys_per_user: u32,
    /// Receipts that are kept; of older ones the server has the same.
    pub receipts_kept: u32,
    /// How long the server may hold a fetch, milliseconds.
    pub fetch_wait_ms: u32,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            outbox: 4096,
            trades_per_user: 1024,
            keys_per_user: 256,
            receipts_kept: 100_000,
            fetch_wait_ms: 25_000,
        }
    }
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with the line that is wrong.
    pub fn read(path: &Path) -> Result<Config, Error> {
        let wrong = |e: &dyn std::fmt::Display| {
            Error::new(Kind::InvalidArgument, format!("{}: {e}", path.display()))
                .and("correct the configuration file")
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        toml::from_str(&text).map_err(|e| wrong(&e))
    }
}

impl HardwareConfig {
    /// Reads what the files hold.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(crate) fn load(&self) -> Result<twinseal_hardware::Config, Error> {
        let tcti = self.tcti.parse().map_err(|e: twinseal_hardware::Error| {
            Error::new(Kind::InvalidArgument, e.to_string()).and("correct hardware.tcti")
        })?;
        let mut config = twinseal_hardware::Config::new(tcti);
        config.prefer = self.prefer;
        config.owner = auth(self.owner_auth_file.as_deref())?;
        config.endorsement = auth(self.endorsement_auth_file.as_deref())?;
        if let Some(deadline_ms) = self.deadline_ms {
            config.limits.deadline = Duration::from_millis(deadline_ms);
        }
        Ok(config)
    }
}

fn auth(file: Option<&Path>) -> Result<AuthValue, Error> {
    let Some(file) = file else { return Ok(AuthValue::default()) };
    let wrong = |e: &dyn std::fmt::Display| {
        Error::new(Kind::InvalidArgument, format!("{}: {e}", file.display()))
            .and("correct the file of the authorisation")
    };
    let bytes = std::fs::read(file).map_err(|e| wrong(&e))?;
    AuthValue::new(bytes).map_err(|e| wrong(&e))
}

fn operator_group() -> String {
    "twinseal".to_owned()
}

fn courier_group() -> String {
    "twinseal-courier".to_owned()
}

fn key_group() -> String {
    "twinseal-keys".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_shipped_holds_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/agent.toml");
        let shipped = Config::read(&file).unwrap();
        let limits = LimitsConfig::default();
        assert_eq!(shipped.operator_group, operator_group());
        assert_eq!(shipped.courier_group, courier_group());
        assert_eq!(shipped.key_group, key_group());
        assert_eq!(shipped.limits.keys_per_user, limits.keys_per_user);
        assert_eq!(shipped.limits.outbox, limits.outbox);
        assert_eq!(shipped.limits.trades_per_user, limits.trades_per_user);
        assert_eq!(shipped.limits.receipts_kept, limits.receipts_kept);
        assert_eq!(shipped.limits.fetch_wait_ms, limits.fetch_wait_ms);
        assert_eq!(shipped.hardware.prefer, KeyFamily::default());
        shipped.hardware.load().unwrap();
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        std::fs::write(&file, "state_dri = '/x'").unwrap();
        let error = Config::read(&file).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(error.to_string().contains("state_dri"), "{error}");
        let path = HardwareConfig {
            tcti: "swtpm:path=/run/x".to_owned(),
            ek: None,
            prefer: KeyFamily::Ecc,
            owner_auth_file: None,
            endorsement_auth_file: None,
            deadline_ms: None,
        };
        assert!(path.load().unwrap_err().to_string().contains("hardware.tcti"));
    }
}
