//! A device: a chip, a system bus, an agent and a courier, each of its own.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::abrmd;
use crate::bus::{Bus, BusBuilder, User};
use crate::chip::Chip;
use crate::daemon::Daemon;
use crate::module::Module;
use crate::own::{SavedDisk, copy_folder, install, own_dir};
use crate::programs::program;
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::swtpm::Swtpm;
use crate::token::Token;

/// What polkit calls enrolment.
pub const ENROL: &str = "org.twinseal.enrol";

/// What polkit calls giving a token its PIN.
pub const UNLOCK: &str = "org.twinseal.unlock";

const NAME: &str = "org.twinseal.Agent1";
const ROOT: &str = "/org/twinseal/Agent1";

/// A device of one test: its chip, its system bus with polkit, an agent and a courier that run
/// there as their own users, with the files that the product installs.
#[derive(Debug)]
pub struct Device {
    // Dropped in this order: couriers and agents before their bus and their chip.
    courier: Option<Daemon>,
    wire: Option<Arc<Recorder>>,
    agent: Daemon,
    environment: Vec<(String, String)>,
    _abrmd: Option<Daemon>,
    bus: Bus,
    chip: Chip,
}

/// What device to make.
#[derive(Debug)]
pub struct DeviceBuilder {
    chip: Option<Chip>,
    tcti: Option<String>,
    shares_chip: bool,
    module: Option<PathBuf>,
    enrollers: Vec<User>,
    services: Vec<(String, Vec<User>)>,
    settings: String,
    hardware: String,
    keys: Option<String>,
    state: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

/// Which signing and decryption keys devices have where a test does not say: what stands in the
/// environment variable `TWINSEAL_TEST_KEYS`, `ecc` or `rsa`. With it any test runs with either.
pub fn keys() -> Option<String> {
    std::env::var("TWINSEAL_TEST_KEYS").ok()
}

impl Default for DeviceBuilder {
    fn default() -> Self {
        Self {
            chip: None,
            tcti: None,
            shares_chip: false,
            module: None,
            enrollers: vec![User::Operator],
            services: Vec::new(),
            settings: String::new(),
            hardware: String::new(),
            keys: keys(),
            state: None,
            environment: Vec::new(),
        }
    }
}

impl DeviceBuilder {
    /// With this chip, a TPM or a token; a new [`Chip::start`] unless said otherwise.
    #[must_use]
    pub fn chip(mut self, chip: impl Into<Chip>) -> Self {
        self.chip = Some(chip.into());
        self
    }

    /// The agent loads this module in the place of the token's own.
    #[must_use]
    pub fn module(mut self, module: &Module) -> Self {
        self.environment.extend(module.environment());
        self.module = Some(module.path());
        self
    }

    /// The agent reaches its chip there, for example through a [`Tap`](crate::Tap) on it.
    #[must_use]
    pub fn tcti(mut self, tcti: String) -> Self {
        self.tcti = Some(tcti);
        self
    }

    /// The agent reaches its TPM through tpm2-abrmd on the device's bus, as everybody else there
    /// may besides.
    #[must_use]
    pub fn share_chip(mut self) -> Self {
        self.shares_chip = true;
        self
    }

    /// Who may enrol the device and give its token the PIN; [`User::Operator`] alone unless said otherwise.
    #[must_use]
    pub fn may_enrol(mut self, users: &[User]) -> Self {
        self.enrollers = users.to_vec();
        self
    }

    /// These users may trade for this service.
    #[must_use]
    pub fn service(mut self, name: &str, users: &[User]) -> Self {
        self.services.push((name.to_owned(), users.to_vec()));
        self
    }

    /// The chip makes these signing and decryption keys, `ecc` or `rsa`; those of [`keys`] unless
    /// said otherwise.
    #[must_use]
    pub fn keys(mut self, family: &str) -> Self {
        self.keys = Some(family.to_owned());
        self
    }

    /// Another line of the agent's configuration, before its sections.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        let _ = writeln!(self.settings, "{line}");
        self
    }

    /// Another line in the section `[hardware]` of the agent's configuration.
    #[must_use]
    pub fn hardware(mut self, line: &str) -> Self {
        let _ = writeln!(self.hardware, "{line}");
        self
    }

    /// The agent finds these variables, for example those of a [`Disk`](crate::Disk).
    #[must_use]
    pub fn environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// The agent begins with all that the agent of `other`, which is best ended first, has on
    /// its disk, its keys to that included: what a thief of the disk has. Its courier carries to
    /// where that of `other` did.
    #[must_use]
    pub fn state_of(mut self, other: &Device) -> Self {
        self.state = Some(own_dir(other.bus.folder()));
        self
    }

    /// The agent begins with what was on a disk when it was saved.
    #[must_use]
    pub fn disk(mut self, disk: &SavedDisk) -> Self {
        self.state = Some(own_dir(disk.0.path()));
        self
    }

    /// Starts everything; the agent is on the bus when this returns.
    ///
    /// # Panics
    /// When something does not start; the message holds what it said.
    pub fn start(self) -> Device {
        let chip = self.chip.unwrap_or_else(Chip::start);
        let product = |file: &str| PathBuf::from(product_file(file));
        let allow = |bus: BusBuilder, user: &User| bus.allow(*user, ENROL).allow(*user, UNLOCK);
        let bus = self.enrollers.iter().fold(Bus::builder(), allow);
        let bus = bus
            .bus_policy(product("agent/dist/org.twinseal.Agent1.conf"))
            .bus_policy(abrmd::BUS_POLICY)
            .actions(product("agent/dist/org.twinseal.policy"))
            .start();
        let (abrmd, tcti) = match &chip {
            Chip::Tpm(chip) if self.shares_chip => {
                (Some(abrmd::on_system_bus(&bus, chip)), Some(abrmd::ON_SYSTEM_BUS.to_owned()))
            }
            _ => (None, self.tcti),
        };
        let address = chip.address(tcti, self.keys, self.module.as_deref());
        let own = own_dir(bus.folder());
        if let Some(state) = &self.state {
            copy_folder(state, &own);
        }
        install(&own, &self.services, &self.settings, &(address + &self.hardware));
        let environment = [self.environment, chip.environment()].concat();
        let agent = start_agent(&bus, &environment);
        Device { courier: None, wire: None, agent, environment, _abrmd: abrmd, bus, chip }
    }
}

impl Device {
    /// A device on which the operator may enrol and nobody may trade.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Another sort of device.
    pub fn builder() -> DeviceBuilder {
        DeviceBuilder::default()
    }

    /// Its chip.
    pub fn chip(&self) -> &Chip {
        &self.chip
    }

    /// Its TPM. The agent is connected to it, so tools wait until the agent is stopped.
    ///
    /// # Panics
    /// When it has a token.
    pub fn tpm(&self) -> &Swtpm {
        match &self.chip {
            Chip::Tpm(chip) => chip,
            Chip::Token(_) => panic!("a device with a token"),
        }
    }

    /// Its TPM, to switch it off and on.
    ///
    /// # Panics
    /// When it has a token.
    pub fn tpm_mut(&mut self) -> &mut Swtpm {
        match &mut self.chip {
            Chip::Tpm(chip) => chip,
            Chip::Token(_) => panic!("a device with a token"),
        }
    }

    /// Its token.
    ///
    /// # Panics
    /// When it has a TPM.
    pub fn token(&self) -> &Token {
        match &self.chip {
            Chip::Token(token) => token,
            Chip::Tpm(_) => panic!("a device with a TPM"),
        }
    }

    /// Its bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Its bus, to stop and start polkit.
    pub fn bus_mut(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// The agent's state folder: with the chip, all that the device is.
    pub fn state_dir(&self) -> PathBuf {
        own_dir(self.bus.folder()).join("state")
    }

    /// What the agent has logged so far.
    pub fn agent_log(&self) -> String {
        self.agent.log()
    }

    /// The agent's process id.
    pub fn agent_pid(&self) -> u32 {
        self.agent.pid()
    }

    /// Ends the agent as a crash would. Its state is what was on the disk.
    pub fn kill_agent(&mut self) {
        self.agent.kill();
    }

    /// Starts the agent, after ending it if it runs, and waits until it is on the bus.
    pub fn restart_agent(&mut self) {
        self.kill_agent();
        self.agent = start_agent(&self.bus, &self.environment);
    }

    /// Starts the agent if it has ended, as an init system would.
    pub fn revive_agent(&mut self) {
        if self.agent.exit_status().is_some() {
            self.restart_agent();
        }
    }

    /// Ends the agent, lets its operator add a line, once, to the section `[hardware]` of its
    /// configuration, and starts it.
    pub fn configure_hardware(&mut self, line: &str) {
        self.reconfigure(|text| match text.contains(line) {
            true => text,
            false => format!("{text}{line}\n"),
        });
    }

    /// Ends the agent, lets its operator take a setting out of its configuration, and starts it.
    pub fn unconfigure(&mut self, setting: &str) {
        let stays = |line: &&str| line.split(' ').next() != Some(setting);
        self.reconfigure(|text| {
            text.lines().filter(stays).map(|line| format!("{line}\n")).collect()
        });
    }

    fn reconfigure(&mut self, change: impl FnOnce(String) -> String) {
        self.kill_agent();
        let file = own_dir(self.bus.folder()).join("agent.toml");
        let text = fs::read_to_string(&file).expect("the agent's configuration");
        fs::write(&file, change(text)).expect("a file of ours");
        self.restart_agent();
    }

    /// Gives the agent the authorisation of a hierarchy of its chip, `owner` or `endorsement`,
    /// as its operator does it, and starts it with that.
    pub fn authorise(&mut self, hierarchy: &str, value: &str) {
        let file = own_dir(self.bus.folder()).join(format!("{hierarchy}.auth"));
        fs::write(&file, value).expect("a new file");
        let uid = User::Agent.uid();
        chown(&file, Some(uid), Some(uid)).expect("root gives a file away");
        self.configure_hardware(&format!("{hierarchy}_auth_file = {file:?}"));
    }

    /// Copies all that the agent has on its disk.
    pub fn save_disk(&self) -> SavedDisk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_folder(&own_dir(self.bus.folder()), &own_dir(folder.path()));
        SavedDisk(folder)
    }

    /// Ends the agent, puts back what was on its disk then, and starts it.
    pub fn restore_disk(&mut self, disk: &SavedDisk) {
        self.put_back_disk(disk);
        self.restart_agent();
    }

    /// As [`Device::restore_disk`], and leaves the agent stopped.
    pub fn put_back_disk(&mut self, disk: &SavedDisk) {
        self.kill_agent();
        let own = own_dir(self.bus.folder());
        fs::remove_dir_all(&own).expect("a folder of ours");
        copy_folder(&own_dir(disk.0.path()), &own);
    }

    /// Starts the courier, after ending it if it runs. `arguments` are the courier's.
    pub fn start_courier(&mut self, arguments: &[&str]) {
        self.stop_courier();
        let folder = self.bus.folder();
        let config = folder.join("courier.toml");
        fs::write(&config, "backoff_max_ms = 200\n").expect("a new file");
        let mut command = self.command(User::Courier, "twinseal-courier");
        command.arg("--config").arg(config).args(arguments);
        let log = folder.join("courier.log");
        self.courier = Some(Daemon::spawn("twinseal-courier", &command, log));
    }

    /// The courier's process id.
    ///
    /// # Panics
    /// When it was not started.
    pub fn courier_pid(&self) -> u32 {
        self.courier.as_ref().expect("a courier").pid()
    }

    /// Starts the courier if it has ended. `arguments` are the courier's.
    pub fn revive_courier(&mut self, arguments: &[&str]) {
        if self.courier.as_mut().is_none_or(|courier| courier.exit_status().is_some()) {
            self.start_courier(arguments);
        }
    }

    /// Ends the courier as a crash would.
    pub fn stop_courier(&mut self) {
        self.courier = None;
    }

    /// What the courier has logged so far.
    pub fn courier_log(&self) -> String {
        self.courier.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// The wire between its courier and the server.
    ///
    /// # Panics
    /// When the device belongs to no world.
    pub fn wire(&self) -> &Recorder {
        self.wire.as_ref().expect("a device that a world has connected")
    }

    pub(crate) fn set_wire(&mut self, wire: Arc<Recorder>) {
        self.wire = Some(wire);
    }

    /// Calls a method as `user`, on a connection of its own: `path` below the agent's root, such
    /// as `/u2001/trade/1`, the method with its interface, such as `Trade.Close`, and the
    /// arguments as GVariant text. The answer is GVariant text, too.
    ///
    /// # Errors
    /// The name of the D-Bus error, and its text.
    pub fn call(
        &self,
        user: User,
        path: &str,
        method: &str,
        arguments: &[&str],
    ) -> Result<String, Refusal> {
        let path = if path.starts_with(ROOT) { path.to_owned() } else { format!("{ROOT}{path}") };
        let method = match method.starts_with("org.") {
            true => method.to_owned(),
            false => format!("{NAME}.{method}"),
        };
        let output = self
            .bus
            .command(user, "gdbus")
            .args(["call", "--system", "--dest", NAME, "--timeout", "60"])
            .args(["--object-path", &path, "--method", &method])
            .args(arguments)
            .output()
            .expect("gdbus");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(Refusal::read(&output.stderr)),
        }
    }

    /// Reads a property as `user`, without the marks of its type: `interface` is empty for the
    /// agent's own, or such as `.Trade`.
    ///
    /// # Errors
    /// As [`Device::call`].
    pub fn property(
        &self,
        user: User,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<String, Refusal> {
        let interface = format!("{NAME}{interface}");
        let get = "org.freedesktop.DBus.Properties.Get";
        let value = self.call(user, path, get, &[&interface, name])?;
        // (<'text'>,) or (<uint32 7>,)
        let value = value.trim_start_matches("(<").trim_end_matches(">,)");
        Ok(value.trim_matches('\'').to_owned())
    }

    /// The word for how the agent stands, such as `Active`.
    pub fn state(&self) -> String {
        self.property(User::Root, "", "", "State").unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    /// Runs a program of ours, such as `twinseal`, on this device as `user`.
    pub fn run(&self, user: User, name: &str, arguments: &[&str]) -> Output {
        self.command(user, name).args(arguments).output().expect("a program that starts")
    }

    /// As [`Device::run`], but left to the caller to start.
    pub fn command(&self, user: User, name: &str) -> Command {
        self.bus.command(user, program(name))
    }
}

/// An `ay` as GVariant text, in the form in which answers have it.
pub fn bytes(value: &[u8]) -> String {
    let bytes: Vec<String> = value.iter().map(|byte| format!("{byte:#04x}")).collect();
    match bytes.is_empty() {
        true => "@ay []".to_owned(),
        false => format!("[byte {}]", bytes.join(", ")),
    }
}

/// The path of a file in the tree.
fn product_file(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn start_agent(bus: &Bus, environment: &[(String, String)]) -> Daemon {
    let mut command = bus.command(User::Agent, program("twinseal-agent"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.arg("--config").arg(own_dir(bus.folder()).join("agent.toml"));
    let log = bus.folder().join("agent.log");
    let mut agent = Daemon::spawn("twinseal-agent", &command, log);
    agent.wait_until("on the bus", || bus.has_owner(NAME).then_some(()));
    agent
}
