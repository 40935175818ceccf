//! A private TPM 2.0.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::authority::{EkAuthority, Signer, Vendor};
use crate::daemon::Daemon;
use crate::ports::PortPair;

/// An endorsement key that the fixture's chips have, with its TCG handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EkKind {
    /// RSA 2048: key at 0x81010001, certificate at NV index 0x01c00002.
    Rsa2048,
    /// ECC NIST P-384: key at 0x81010016, certificate at NV index 0x01c00016.
    EccP384,
}

impl EkKind {
    /// Both, in the order in which `swtpm_setup` makes them.
    pub const ALL: [Self; 2] = [Self::Rsa2048, Self::EccP384];

    /// The persistent handle.
    pub fn handle(self) -> &'static str {
        match self {
            Self::Rsa2048 => "0x81010001",
            Self::EccP384 => "0x81010016",
        }
    }

    /// The NV index of the certificate.
    pub fn certificate_index(self) -> &'static str {
        match self {
            Self::Rsa2048 => "0x01c00002",
            Self::EccP384 => "0x01c00016",
        }
    }
}

/// A software TPM 2.0 of one test, in its own state folder and on its own loopback ports.
///
/// It is powered on and started up (TPM2_Startup CLEAR), owner, endorsement, lockout and platform
/// authorisation are empty. **It serves one connection at a time**, as a bare `/dev/tpm0` would:
/// [`Swtpm::tool`] waits while somebody else is connected.
#[derive(Debug)]
pub struct Swtpm {
    daemon: Daemon,
    ports: PortPair,
    state: Arc<TempDir>,
}

/// What a chip had in its non-volatile memory at one moment.
#[derive(Debug)]
pub struct Snapshot(TempDir);

/// The file with a chip's non-volatile memory.
const PERMANENT: &str = "tpm2-00.permall";

/// What chip to make.
#[derive(Debug, Clone)]
pub struct Builder<'a> {
    authority: &'a EkAuthority,
    vendor: Vendor,
    certified: Vec<EkKind>,
    kept: Vec<EkKind>,
    intermediate: bool,
}

impl<'a> Builder<'a> {
    /// Who the EK certificates say made the chip; [`Vendor::Acme`] unless said otherwise.
    #[must_use]
    pub fn vendor(mut self, vendor: Vendor) -> Self {
        self.vendor = vendor;
        self
    }

    /// Who signs the EK certificates; [`EkAuthority::shared`] unless said otherwise.
    #[must_use]
    pub fn authority(mut self, authority: &'a EkAuthority) -> Self {
        self.authority = authority;
        self
    }

    /// Only this kind of EK has a persistent key and a certificate. (Any chip can still make the
    /// other kind from its endorsement seed.)
    #[must_use]
    pub fn only(mut self, kind: EkKind) -> Self {
        self.kept = vec![kind];
        self.certified = vec![kind];
        self
    }

    /// No EK certificates at all, as on many virtual TPMs.
    #[must_use]
    pub fn no_certificates(mut self) -> Self {
        self.certified.clear();
        self
    }

    /// The EK certificates come from an issuing authority, whose own certificate stands at NV
    /// index 0x01c00100, instead of directly from the root.
    #[must_use]
    pub fn intermediate(mut self) -> Self {
        self.intermediate = true;
        self
    }

    /// Manufactures the chip and powers it on. It takes about 0.7 s.
    ///
    /// # Panics
    /// When `swtpm` or `swtpm_setup` fail; the message holds what they said.
    pub fn start(self) -> Swtpm {
        let state = tempfile::tempdir().expect("a temporary folder");
        self.manufacture(state.path());
        let chip = Swtpm::power_on(Arc::new(state));
        for kind in EkKind::ALL {
            if !self.kept.contains(&kind) {
                chip.tool("tpm2_evictcontrol", &["-C", "o", "-c", kind.handle()]);
            }
            if !self.certified.contains(&kind) {
                chip.tool("tpm2_nvundefine", &["-C", "p", kind.certificate_index()]);
            }
        }
        if self.intermediate {
            chip.write_certificate("0x01c00100", self.authority.issuing_der());
        }
        chip
    }

    fn manufacture(&self, state: &Path) {
        let signer = match self.intermediate {
            true => Signer::Issuing,
            false => Signer::Root,
        };
        let log = state.join("setup.log");
        let mut setup = Command::new("swtpm_setup");
        setup
            .args(["--tpm2", "--create-ek-cert", "--tpm-state"])
            .arg(state)
            .arg("--config")
            .arg(self.authority.setup_config(self.vendor, signer))
            .arg("--logfile")
            .arg(&log);
        let output = setup.output().unwrap_or_else(|e| panic!("swtpm_setup: {e}"));
        if !output.status.success() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            panic!("swtpm_setup: {}\n{said}", output.status);
        }
    }
}

impl Swtpm {
    /// A chip of [`Vendor::Acme`] with both kinds of EK and their certificates.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Another sort of chip.
    pub fn builder() -> Builder<'static> {
        Builder {
            authority: EkAuthority::shared(),
            vendor: Vendor::Acme,
            certified: EkKind::ALL.to_vec(),
            kept: EkKind::ALL.to_vec(),
            intermediate: false,
        }
    }

    /// Where it is, as tpm2-tss names it: `swtpm:host=127.0.0.1,port=…`. It stays the same when
    /// the chip is switched off and on.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.ports.first)
    }

    /// The TCP port of its command channel on 127.0.0.1; the control channel is on the next.
    pub fn port(&self) -> u16 {
        self.ports.first
    }

    /// The process id of its daemon.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The folder with its state: every secret of the chip.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Cuts its power, without the orderly shutdown that a TPM likes to be told of.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Cuts its power if it is on, and powers it on again: a TPM reset.
    pub fn restart(&mut self) {
        self.kill();
        self.daemon = boot(self.state.path(), self.ports.first)
            .unwrap_or_else(|log| panic!("swtpm does not start again:\n{log}"));
    }

    /// Another chip that begins with all that this one has in its non-volatile memory, so with
    /// the same seeds, keys, certificates and counters.
    pub fn copy(&self) -> Self {
        Self::power_on(Arc::new(self.snapshot().0))
    }

    /// Keeps what it has in its non-volatile memory.
    pub fn snapshot(&self) -> Snapshot {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_memory(self.state.path(), folder.path());
        Snapshot(folder)
    }

    /// Cuts its power, puts back what it had in its non-volatile memory then, and powers it on.
    pub fn roll_back(&mut self, to: &Snapshot) {
        self.kill();
        copy_memory(to.0.path(), self.state.path());
        self.restart();
    }

    /// Puts this chip into the place of the other and the other into its: each is powered on at
    /// the address of the other.
    pub fn trade_places(&mut self, other: &mut Swtpm) {
        self.kill();
        other.kill();
        std::mem::swap(&mut self.state, &mut other.state);
        self.restart();
        other.restart();
    }

    /// Takes it out of its device, which loses it, does some work on it where nobody else is
    /// connected, and puts it back.
    pub fn on_the_bench<T>(&mut self, work: impl FnOnce(&Swtpm) -> T) -> T {
        self.kill();
        let bench = Self::power_on(Arc::clone(&self.state));
        let done = work(&bench);
        drop(bench);
        self.restart();
        done
    }

    /// What it holds while nobody is connected, a line for each handle.
    pub fn handles(&self) -> Vec<String> {
        let kinds = ["transient", "loaded-session", "saved-session", "persistent", "nv-index"];
        let of_kind = |kind: &str| {
            let listed = self.tool("tpm2_getcap", &[&format!("handles-{kind}")]);
            listed.lines().map(|line| format!("{kind} {line}")).collect::<Vec<_>>()
        };
        kinds.into_iter().flat_map(of_kind).collect()
    }

    /// TPM2_Clear: a new storage seed, so that all that hung below the old one is gone, and with
    /// it counters and clock. The endorsement keys stay.
    pub fn clear(&self) {
        self.tool("tpm2_clear", &["-c", "p"]);
    }

    /// Sets the authorisation of a hierarchy, `owner` or `endorsement`, that had none.
    pub fn set_authorisation(&self, hierarchy: &str, value: &str) {
        self.tool("tpm2_changeauth", &["-c", hierarchy, value]);
    }

    /// Makes a key that its protection against guessing covers, with the authorisation `right`,
    /// and uses it with `guess`; says whether the chip accepted that.
    pub fn guess(&self, guess: &str) -> bool {
        let context = self.state.path().join("protected").to_string_lossy().into_owned();
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt";
        let made = ["-C", "o", "-p", "right", "-a", attributes, "-c", &context];
        self.tool("tpm2_createprimary", &made);
        let null = "/dev/null";
        let guessed = ["-C", &context, "-P", guess, "-u", null, "-r", null];
        let output = self.try_tool("tpm2_create", &guessed);
        self.tool("tpm2_flushcontext", &["-t"]);
        output.status.success()
    }

    /// One of the numbers of `tpm2_getcap properties-variable`, such as
    /// `TPM2_PT_LOCKOUT_COUNTER`, or a flag of it, such as `inLockout`.
    pub fn variable(&self, name: &str) -> u32 {
        let all = self.tool("tpm2_getcap", &["properties-variable"]);
        let line = all.lines().find(|line| line.trim_start().starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()).expect("such a property");
        match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).expect("a number"),
            None => value.parse().expect("a number"),
        }
    }

    /// TPM2_ChangeEPS: new endorsement seed, so another hardware serial. What hangs below the
    /// storage seed goes on working. The persistent EKs are gone; the certificates stay, and now
    /// speak of a key that this chip has not.
    pub fn change_endorsement_seed(&self) {
        self.tool("tpm2_changeeps", &[]);
    }

    /// Runs one of tpm2-tools on this chip and returns its standard output.
    ///
    /// # Panics
    /// When it fails or does not end within 30 seconds, which mostly means that somebody else is
    /// connected.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_tool(program, arguments);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("{program} {arguments:?}: {}\n{said}", output.status);
        }
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// As [`Swtpm::tool`], for when it is expected to fail.
    pub fn try_tool(&self, program: &str, arguments: &[&str]) -> Output {
        let mut child = Command::new(program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", self.tcti())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().expect("a child can be waited for").is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("{program}: no answer: is another program connected to this TPM?");
            }
            thread::sleep(Duration::from_millis(2));
        }
        child.wait_with_output().expect("its output")
    }

    /// Writes a certificate where the TCG EK credential profile wants it, with its attributes.
    pub fn write_certificate(&self, index: &str, der: &[u8]) {
        let file = self.state.path().join("certificate.der");
        fs::write(&file, der).expect("the state folder can be written");
        let size = der.len().to_string();
        let attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate";
        self.tool("tpm2_nvdefine", &["-C", "p", "-s", &size, "-a", attributes, index]);
        let file = file.to_string_lossy();
        self.tool("tpm2_nvwrite", &["-C", "p", "-i", &file, index]);
    }

    fn power_on(state: Arc<TempDir>) -> Self {
        let mut said = String::new();
        // Somebody who does not ask for a claim may take a port between the claim and the start.
        for _ in 0..5 {
            let ports = PortPair::claim();
            match boot(state.path(), ports.first) {
                Ok(daemon) => {
                    return Self { daemon, ports, state };
                }
                Err(log) => said = log,
            }
        }
        panic!("swtpm does not start:\n{said}");
    }
}

fn copy_memory(from: &Path, to: &Path) {
    fs::copy(from.join(PERMANENT), to.join(PERMANENT))
        .unwrap_or_else(|e| panic!("{PERMANENT}: {e}"));
}

/// Starts the daemon. It writes its process id when both ports are bound: then it is ready.
fn boot(state: &Path, port: u16) -> Result<Daemon, String> {
    let ready = state.join("ready");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new("swtpm");
    command
        .args(["socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", state.display()))
        .arg("--server")
        .arg(format!("type=tcp,bindaddr=127.0.0.1,port={port}"))
        .arg("--ctrl")
        .arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", port + 1))
        .args(["--flags", "not-need-init,startup-clear", "--pid"])
        .arg(format!("file={}", ready.display()));
    let mut daemon = Daemon::spawn("swtpm", &command, state.join("swtpm.log"));
    match daemon.poll(|| ready.exists().then_some(())) {
        Some(()) if daemon.exit_status().is_none() => Ok(daemon),
        _ => Err(daemon.log()),
    }
}
