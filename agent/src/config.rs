//! The agent's configuration file (TOML).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use twinseal_hardware::{AuthValue, EkKind, Hardware, KeyFamily, Limits, TokenConfig};

use crate::{Error, Kind, pin};

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

/// Where the chip is: a TPM at `tcti`, or the `token`; one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareConfig {
    /// How to reach a TPM, as tpm2-tools write it, such as `device:/dev/tpmrm0`.
    pub tcti: Option<String>,
    /// A PKCS#11 token, as RFC 7512 names it, with its module, such as
    /// `pkcs11:token=till?module-path=/usr/lib/softhsm/libsofthsm2.so`.
    pub token: Option<String>,
    /// File with the token's PIN, mode 0600. Without it the systemd credential `token-pin` is
    /// used; without either the PIN is asked for ([`Agent::unlock`](crate::Agent::unlock)).
    pub pin_file: Option<PathBuf>,
    /// Forces the endorsement key at the first use, such as `rsa-2048`.
    pub ek: Option<EkKind>,
    /// Which signing and decryption keys new enrolments get: `ecc` or `rsa`. A token that knows no
    /// elliptic curves gets RSA keys in any case.
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
    /// Whether the chip is a token.
    pub(crate) fn is_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads what the files hold, and starts the thread that will own the chip.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(crate) fn open(&self) -> Result<Hardware, Error> {
        let opened = match (&self.tcti, &self.token) {
            (Some(tcti), None) if self.pin_file.is_none() => Hardware::open(self.tpm(tcti)?),
            (None, Some(token)) => Hardware::open_token(self.token(token)?),
            _ => {
                return Err(Error::new(
                    Kind::InvalidArgument,
                    "the section hardware wants tcti, or token and perhaps pin_file, and not both",
                )
                .and("correct it"));
            }
        };
        opened.map_err(|e| {
            Error::new(Kind::Internal, format!("no thread for the chip can be started: {e}"))
        })
    }

    fn token(&self, token: &str) -> Result<TokenConfig, Error> {
        let has_tpms = self.ek.is_some()
            || self.owner_auth_file.is_some()
            || self.endorsement_auth_file.is_some();
        if has_tpms {
            let what = "ek, owner_auth_file and endorsement_auth_file are a TPM's";
            return Err(Error::new(Kind::InvalidArgument, what).and("remove them for a token"));
        }
        let address = token.parse().map_err(|e: twinseal_hardware::Error| {
            Error::new(Kind::InvalidArgument, e.to_string()).and("correct hardware.token")
        })?;
        let pin = pin::read(self.pin_file.as_deref())?;
        let (limits, prefer) = (self.limits(), self.prefer);
        Ok(TokenConfig { limits, prefer, ..TokenConfig::new(address, pin) })
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(deadline_ms) = self.deadline_ms {
            limits.deadline = Duration::from_millis(deadline_ms);
        }
        limits
    }

    fn tpm(&self, tcti: &str) -> Result<twinseal_hardware::Config, Error> {
        let tcti = tcti.parse().map_err(|e: twinseal_hardware::Error| {
            Error::new(Kind::InvalidArgument, e.to_string()).and("correct hardware.tcti")
        })?;
        let mut config = twinseal_hardware::Config::new(tcti);
        config.prefer = self.prefer;
        config.owner = auth(self.owner_auth_file.as_deref())?;
        config.endorsement = auth(self.endorsement_auth_file.as_deref())?;
        config.limits = self.limits();
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
        shipped.hardware.open().unwrap();
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        std::fs::write(&file, "state_dri = '/x'").unwrap();
        let error = Config::read(&file).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(error.to_string().contains("state_dri"), "{error}");
        for (section, named) in [
            ("tcti = 'swtpm:path=/run/x'", "hardware.tcti"),
            ("token = 'pkcs11:token=t'", "hardware.token"),
            ("token = 'pkcs11:token=t?module-path=/m.so'\nek = 'rsa-2048'", "ek, owner"),
            ("token = 'pkcs11:token=t?module-path=/m.so'\npin_file = '/nowhere'", "pin_file"),
            ("tcti = '/dev/tpm0'\npin_file = '/pin'", "pin_file"),
            ("prefer = 'ecc'", "tcti, or token"),
        ] {
            let hardware: HardwareConfig = toml::from_str(section).unwrap();
            let error = hardware.open().err().unwrap();
            assert_eq!(error.kind, Kind::InvalidArgument);
            assert!(error.to_string().contains(named), "{section}: {error}");
        }
    }
}
