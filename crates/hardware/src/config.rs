//! Where the chip is, and what opens it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::KeyFamily;

/// Everything that is needed to open a chip.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach it.
    pub tcti: Tcti,
    /// Authorisation of the owner hierarchy; empty where none is set.
    pub owner: AuthValue,
    /// Authorisation of the endorsement hierarchy; empty where none is set.
    pub endorsement: AuthValue,
    /// Which signing and decryption keys it makes for new enrolments.
    pub prefer: KeyFamily,
    /// How many requests may wait, and how long.
    pub limits: Limits,
}

impl Config {
    /// A chip at `tcti`, no authorisation set, elliptic curves, the default limits.
    pub fn new(tcti: Tcti) -> Self {
        Self {
            tcti,
            owner: AuthValue::default(),
            endorsement: AuthValue::default(),
            prefer: KeyFamily::Ecc,
            limits: Limits::default(),
        }
    }
}

/// How many requests may wait for the chip, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests waiting in all; one more is [`Error::Busy`].
    pub waiting: usize,
    /// Requests waiting of one caller; one more is [`Error::Busy`].
    pub waiting_per_caller: usize,
    /// How long a request may take from call to answer, unless its lane says otherwise.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 8192,
            waiting_per_caller: 1024,
            // D-Bus gives a caller 25 seconds.
            deadline: Duration::from_secs(20),
        }
    }
}

/// The authorisation of a hierarchy, at most 64 bytes. Wiped on drop, never printed.
#[derive(Clone, Default)]
pub struct AuthValue(Zeroizing<Vec<u8>>);

impl AuthValue {
    /// Takes the bytes over, as they come out of a credential file.
    ///
    /// # Errors
    /// [`Error::Misuse`] when there are more than 64.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > 64 {
            return Err(Error::Misuse("an authorisation of more than 64 bytes"));
        }
        Ok(Self(bytes))
    }

    /// The bytes, for the one who hands them to the chip.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AuthValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthValue(..)")
    }
}

/// How to reach a TPM: the transport's name and its settings, as tpm2-tools write it.
///
/// `/dev/tpmrm0` or `device:/dev/tpmrm0`; `swtpm:host=127.0.0.1,port=2321`; `mssim:` likewise;
/// `tabrmd:` or `tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=system`. Settings that are not
/// known are refused, above all `path=`: the TSS library would drop it without a word and talk to
/// whatever listens on localhost, port 2321.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcti {
    /// A character device. Only `/dev/tpmrm*` may be shared with others.
    Device(PathBuf),
    /// swtpm's TCP protocol.
    Swtpm {
        /// Address of the emulator.
        host: IpAddr,
        /// Its command channel; the control channel is the next port.
        port: u16,
    },
    /// The TCP protocol of the reference simulator.
    Mssim {
        /// Address of the simulator.
        host: IpAddr,
        /// Its command channel; the platform channel is the next port.
        port: u16,
    },
    /// The tpm2-abrmd resource manager.
    Tabrmd {
        /// Its name on the bus.
        bus_name: String,
        /// Whether it sits on the session bus instead of the system bus.
        session_bus: bool,
    },
}

impl Tcti {
    /// Whether a resource manager stands between us and the chip, so that the handles we see are
    /// ours alone and those of a killed predecessor are gone with his connection.
    pub fn is_managed(&self) -> bool {
        match self {
            Tcti::Device(path) => {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tpmrm"))
            }
            Tcti::Tabrmd { .. } => true,
            Tcti::Swtpm { .. } | Tcti::Mssim { .. } => false,
        }
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tcti::Device(path) => write!(f, "device:{}", path.display()),
            Tcti::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
            Tcti::Mssim { host, port } => write!(f, "mssim:host={host},port={port}"),
            Tcti::Tabrmd { bus_name, session_bus } => {
                let bus_type = if *session_bus { "session" } else { "system" };
                write!(f, "tabrmd:bus_name={bus_name},bus_type={bus_type}")
            }
        }
    }
}

impl FromStr for Tcti {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        match name {
            _ if text.starts_with('/') => Ok(Tcti::Device(PathBuf::from(text))),
            "device" if settings.starts_with('/') => Ok(Tcti::Device(PathBuf::from(settings))),
            "device" => Err(Error::Misuse("a tcti device without an absolute path")),
            "swtpm" => network(settings).map(|(host, port)| Tcti::Swtpm { host, port }),
            "mssim" => network(settings).map(|(host, port)| Tcti::Mssim { host, port }),
            "tabrmd" => tabrmd(settings),
            _ => Err(Error::Misuse("a tcti that is none of device, swtpm, mssim, tabrmd")),
        }
    }
}

fn network(settings: &str) -> Result<(IpAddr, u16), Error> {
    let (mut host, mut port) = (None, None);
    for (key, value) in pairs(settings)? {
        match key {
            "host" => host = Some(address(value)?),
            "port" => port = Some(parse_port(value)?),
            "path" => {
                return Err(Error::Misuse(
                    "a tcti with path=, which the TSS library drops and then talks to another chip; use host= and port=",
                ));
            }
            _ => return Err(Error::Misuse("a tcti setting other than host= and port=")),
        }
    }
    match (host, port) {
        (Some(host), Some(port)) => Ok((host, port)),
        _ => Err(Error::Misuse("a network tcti without host= and port=")),
    }
}

fn tabrmd(settings: &str) -> Result<Tcti, Error> {
    let mut bus_name = "com.intel.tss2.Tabrmd".to_owned();
    let mut session_bus = false;
    for (key, value) in pairs(settings)? {
        match (key, value) {
            ("bus_name", name) => bus_name = name.to_owned(),
            ("bus_type", "session") => session_bus = true,
            ("bus_type", "system") => session_bus = false,
            _ => return Err(Error::Misuse("a tabrmd setting that is not known")),
        }
    }
    Ok(Tcti::Tabrmd { bus_name, session_bus })
}

fn pairs(settings: &str) -> Result<Vec<(&str, &str)>, Error> {
    settings
        .split(',')
        .filter(|setting| !setting.is_empty())
        .map(|setting| {
            setting.split_once('=').ok_or(Error::Misuse("a tcti setting that is not key=value"))
        })
        .collect()
}

fn address(host: &str) -> Result<IpAddr, Error> {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    host.parse().map_err(|_| Error::Misuse("a tcti host that is not an IP address"))
}

fn parse_port(port: &str) -> Result<u16, Error> {
    port.parse().map_err(|_| Error::Misuse("a tcti port that is not a number"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_it_writes_it_reads() {
        for text in [
            "device:/dev/tpmrm0",
            "swtpm:host=127.0.0.1,port=2400",
            "mssim:host=::1,port=2321",
            "tabrmd:bus_name=org.example.Tabrmd,bus_type=session",
        ] {
            assert_eq!(text.parse::<Tcti>().unwrap().to_string(), text);
        }
        let short: Tcti = "/dev/tpm0".parse().unwrap();
        assert_eq!(short.to_string(), "device:/dev/tpm0");
        assert!(!short.is_managed());
        assert!("tabrmd:".parse::<Tcti>().unwrap().is_managed());
        assert!("/dev/tpmrm1".parse::<Tcti>().unwrap().is_managed());
    }

    #[test]
    fn a_socket_path_is_refused_by_name() {
        let error = "swtpm:path=/run/tpm.sock".parse::<Tcti>().unwrap_err();
        assert!(error.to_string().contains("path="), "{error}");
    }

    #[test]
    fn half_a_setting_is_refused() {
        for text in [
            "",
            "swtpm",
            "swtpm:host=127.0.0.1",
            "swtpm:port=1,host=127.0.0.1,user=x",
            "mssim:host=127.0.0.1,port=70000",
            "swtpm:host=example.org,port=1",
            "device:tpm0",
            "tabrmd:bus_type=other",
            "libtpms:",
        ] {
            assert_eq!(text.parse::<Tcti>().unwrap_err().code(), "misuse", "{text}");
        }
    }

    #[test]
    fn an_authorisation_is_not_printed() {
        let auth = AuthValue::new(b"geheim".to_vec()).unwrap();
        assert_eq!(format!("{auth:?}"), "AuthValue(..)");
        assert!(AuthValue::new(vec![0; 65]).is_err());
    }
}
