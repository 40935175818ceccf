//! What an operator can decide.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The configuration file (TOML). Everything in it can be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of the server, instead of the one in the enrolment link that the agent knows.
    pub server: Option<String>,
    /// Files with root certificates (PEM) for HTTPS. With any, no others are trusted; without,
    /// the system's are.
    pub roots: Vec<PathBuf>,
    /// URL of an HTTP proxy. The variables that name one for other programs are not read.
    pub proxy: Option<String>,
    /// How long a connection may take, milliseconds.
    pub connect_timeout_ms: u64,
    /// How long an item may take in all, milliseconds. The server holds a fetch for 25 seconds.
    pub timeout_ms: u64,
    /// The longest wait after failures, milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: None,
            roots: Vec::new(),
            proxy: None,
            connect_timeout_ms: 10_000,
            timeout_ms: 60_000,
            backoff_max_ms: 30_000,
        }
    }
}

/// A configuration that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: correct the configuration")]
pub struct BadConfig {
    what: String,
}

impl BadConfig {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string() }
    }

    /// About a file.
    pub(crate) fn of(file: &Path, error: impl std::fmt::Display) -> Self {
        Self { what: format!("{}: {error}", file.display()) }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`BadConfig`] with the line that is wrong.
    pub fn read(file: &Path) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(file).map_err(|error| BadConfig::of(file, error))?;
        toml::from_str(&text).map_err(|error| BadConfig::of(file, error))
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn backoff_max(&self) -> Duration {
        Duration::from_millis(self.backoff_max_ms)
    }
}
