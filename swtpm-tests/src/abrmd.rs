//! Private resource managers over a TPM, as stand-in for `/dev/tpmrm0`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::bus::{Bus, User};
use crate::daemon::Daemon;
use crate::swtpm::Swtpm;

const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

/// tpm2-abrmd over a [`Swtpm`], on a session bus of its own: many clients at once, each with as
/// many objects as it likes.
///
/// Its TCTI finds the bus only through the environment, which no thread may change for the
/// others. So who speaks to it is a process of its own: a tool, or the test itself as a child by
/// [`rerun`](crate::rerun), both started with [`Abrmd::command`].
#[derive(Debug)]
pub struct Abrmd {
    // Dropped in this order, so that it can take its leave of the TPM and the bus.
    _abrmd: Daemon,
    _dbus: Daemon,
    folder: TempDir,
}

impl Abrmd {
    /// The TCTI for a process that [`Abrmd::command`] started.
    pub const TCTI: &str = "tabrmd:bus_type=session";

    /// Starts it and waits until it answers. It occupies the only connection of `chip`.
    ///
    /// # Panics
    /// When a daemon does not start; the message holds what it said.
    pub fn start(chip: &Swtpm) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("dbus-daemon");
        command
            .args(["--session", "--nofork", "--nopidfile", "--nosyslog"])
            .arg(format!("--address={}", address(folder.path())));
        let mut dbus = Daemon::spawn("dbus-daemon", &command, folder.path().join("dbus.log"));
        dbus.wait_until("listening", || folder.path().join("bus").exists().then_some(()));

        let mut command = command_on(folder.path(), program());
        command.args(["--session", "--allow-root"]).arg(format!("--tcti={}", chip.tcti()));
        let log = folder.path().join("abrmd.log");
        let mut abrmd = Daemon::spawn("tpm2-abrmd", &command, log);
        abrmd.wait_until("answering", || {
            let mut probe = command_on(folder.path(), Path::new("tpm2_getcap"));
            let output = probe.arg("properties-fixed").output().ok()?;
            output.status.success().then_some(())
        });
        Self { _abrmd: abrmd, _dbus: dbus, folder }
    }

    /// A command whose [`Abrmd::TCTI`] is this one; tpm2-tools use it without being told.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        command_on(self.folder.path(), program.as_ref())
    }
}

/// The TCTI of a resource manager on the system bus.
pub(crate) const ON_SYSTEM_BUS: &str = "tabrmd:bus_type=system";

/// The rules of a bus that it is on: everybody may use the chip.
pub(crate) const BUS_POLICY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/com.intel.tss2.Tabrmd.conf");

/// Starts it on a system bus with [`BUS_POLICY`], where everybody finds it by [`ON_SYSTEM_BUS`].
pub(crate) fn on_system_bus(bus: &Bus, chip: &Swtpm) -> Daemon {
    let mut command = bus.command(User::Root, program());
    command.args(["--allow-root", &format!("--tcti={}", chip.tcti())]);
    let mut abrmd = Daemon::spawn("tpm2-abrmd", &command, bus.folder().join("abrmd.log"));
    abrmd.wait_until("on the bus", || bus.has_owner("com.intel.tss2.Tabrmd").then_some(()));
    abrmd
}

/// Where the package puts it, else where `scripts/setup` unpacks it: `/usr/sbin` is in few users'
/// search path.
fn program() -> &'static Path {
    let installed = Path::new("/usr/sbin/tpm2-abrmd");
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/usr/sbin/tpm2-abrmd");
    if installed.exists() { installed } else { Path::new(unpacked) }
}

fn command_on(folder: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(BUS, address(folder)).env("TPM2TOOLS_TCTI", Abrmd::TCTI);
    command
}

fn address(folder: &Path) -> String {
    format!("unix:path={}/bus", folder.display())
}
