//! A private system bus with a real polkitd on it, and users to call it.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::Daemon;

const INSIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/inside");

/// A user of the fixture. They exist only inside of it, whatever the machine's own users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// UID 0.
    Root,
    /// The agent's own user `twinseal`, UID 1500.
    Agent,
    /// The courier's user, UID 1501, in group `twinseal-courier`.
    Courier,
    /// A person in group `twinseal`, UID 1502.
    Operator,
    /// An application's user, UID 2001 to 2009. The first two may have keys: they are in group
    /// `twinseal-keys`, GID 1503. The others are in no group but their own.
    App(u32),
    /// Somebody of the machine, under the UID and GID that he has outside of the fixture.
    Person(u32, u32),
}

impl User {
    const FIXED: [Self; 4] = [Self::Root, Self::Agent, Self::Courier, Self::Operator];

    /// The UID.
    pub fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Agent => 1500,
            Self::Courier => 1501,
            Self::Operator => 1502,
            Self::App(uid) | Self::Person(uid, _) => uid,
        }
    }

    /// The GID of the user's own group.
    pub fn gid(self) -> u32 {
        match self {
            Self::Person(_, gid) => gid,
            other => other.uid(),
        }
    }

    /// The name, as polkit's rules see it.
    pub fn name(self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::Agent => "twinseal".to_owned(),
            Self::Courier => "twinseal-courier".to_owned(),
            Self::Operator => "operator".to_owned(),
            Self::App(uid) => format!("app{uid}"),
            Self::Person(uid, _) => format!("person{uid}"),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        Self::FIXED.into_iter().chain((2001..=2009).map(Self::App))
    }
}

/// A system bus of one test: dbus-daemon with a system bus's rules, and polkitd.
///
/// It needs to be root, real or in a user namespace, because it speaks for several users and
/// gives the daemons files of their own in place of those in `/etc`.
#[derive(Debug)]
pub struct Bus {
    polkitd: Option<Daemon>,
    dbus: Daemon,
    folder: TempDir,
}

/// What the bus allows.
#[derive(Debug, Clone, Default)]
pub struct BusBuilder {
    people: Vec<User>,
    bus_policies: Vec<PathBuf>,
    actions: Vec<PathBuf>,
    rules: String,
}

impl BusBuilder {
    /// Installs a file as in `/usr/share/dbus-1/system.d`.
    #[must_use]
    pub fn bus_policy(mut self, file: impl Into<PathBuf>) -> Self {
        self.bus_policies.push(file.into());
        self
    }

    /// Installs a file as in `/usr/share/polkit-1/actions`.
    #[must_use]
    pub fn actions(mut self, file: impl Into<PathBuf>) -> Self {
        self.actions.push(file.into());
        self
    }

    /// This user may do what `action` names, without being asked for a password.
    #[must_use]
    pub fn allow(mut self, user: User, action: &str) -> Self {
        if matches!(user, User::Person(..)) && !self.people.contains(&user) {
            self.people.push(user);
        }
        let _ = writeln!(
            self.rules,
            "polkit.addRule(function(action, subject) {{ if (action.id == {action:?} && \
             subject.user == {:?}) return polkit.Result.YES; }});",
            user.name()
        );
        self
    }

    /// Starts both daemons; they answer when this returns.
    ///
    /// # Panics
    /// When not root, and when a daemon does not start; the message says what to do.
    pub fn start(self) -> Bus {
        assert_root();
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.fill(folder.path());
        let dbus = start_dbus(folder.path());
        let mut bus = Bus { polkitd: None, dbus, folder };
        bus.start_polkitd();
        bus
    }

    fn fill(&self, folder: &Path) {
        // The users of the fixture find the socket and their programs here.
        open_to_all(folder);
        for name in ["system.d", "actions", "rules.d", "no-rules", "programs"] {
            fs::create_dir(folder.join(name)).expect("a new folder");
            open_to_all(&folder.join(name));
        }
        let place = folder.display().to_string();
        let config = include_str!("../fixture/bus.conf").replace("FOLDER", &place);
        write(&folder.join("bus.conf"), &config);
        let (passwd, group) = users(&self.people);
        write(&folder.join("passwd"), &passwd);
        write(&folder.join("group"), &group);
        write(&folder.join("rules.d/50-test.rules"), &self.rules);
        install(&self.bus_policies, &folder.join("system.d"));
        install(&self.actions, &folder.join("actions"));
    }
}

impl Bus {
    /// A bus that allows nothing yet.
    pub fn builder() -> BusBuilder {
        BusBuilder::default()
    }

    /// Its address, as for `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        address(self.folder.path())
    }

    /// A folder that every user of the fixture can enter.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that runs `program` as `user`, with this bus as its system bus and the fixture's
    /// users and groups as the machine's. Its working folder is `/`.
    pub fn command(&self, user: User, program: impl AsRef<Path>) -> Command {
        inside(self.folder.path(), user, program.as_ref())
    }

    /// Whether somebody owns this well-known name.
    pub fn has_owner(&self, name: &str) -> bool {
        let output = self
            .command(User::Root, "dbus-send")
            .args(["--system", "--print-reply=literal", "--dest=org.freedesktop.DBus"])
            .args(["/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner"])
            .arg(format!("string:{name}"))
            .output()
            .expect("dbus-send");
        output.stdout.ends_with(b"boolean true\n")
    }

    /// Ends polkitd at once.
    pub fn stop_polkitd(&mut self) {
        self.polkitd = None;
    }

    /// Starts polkitd if it is not running, and waits until it answers on the bus.
    pub fn start_polkitd(&mut self) {
        if self.polkitd.is_none() {
            self.polkitd = Some(start_polkitd(self.folder.path()));
        }
    }

    /// What both daemons have said, to explain a failure.
    pub fn log(&self) -> String {
        let polkitd = self.polkitd.as_ref().map(Daemon::log).unwrap_or_default();
        format!("{}{polkitd}", self.dbus.log())
    }
}

fn start_dbus(folder: &Path) -> Daemon {
    let mut command = inside(folder, User::Root, Path::new("dbus-daemon"));
    command.arg("--config-file").arg(folder.join("bus.conf")).args([
        "--nofork",
        "--nopidfile",
        "--nosyslog",
        "--print-address",
    ]);
    let mut daemon = Daemon::spawn("dbus-daemon", &command, folder.join("dbus.log"));
    let log = folder.join("dbus.log");
    daemon.wait_until("listening", || said(&log, "unix:path="));
    daemon
}

/// polkitd changes to its own user by itself. It ends when the bus does.
fn start_polkitd(folder: &Path) -> Daemon {
    let log = folder.join("polkitd.log");
    let _ = fs::remove_file(&log);
    let command = inside(folder, User::Root, Path::new("/usr/lib/polkit-1/polkitd"));
    let mut daemon = Daemon::spawn("polkitd", &command, log.clone());
    daemon.wait_until("on the bus", || said(&log, "Acquired the name org.freedesktop.PolicyKit1"));
    daemon
}

fn said(log: &Path, text: &str) -> Option<()> {
    fs::read_to_string(log).ok()?.contains(text).then_some(())
}

fn inside(folder: &Path, user: User, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", INSIDE])
        .arg(folder)
        .args([user.uid().to_string(), user.gid().to_string()])
        .arg(program)
        .env("DBUS_SYSTEM_BUS_ADDRESS", address(folder));
    command
}

fn address(folder: &Path) -> String {
    format!("unix:path={}/socket", folder.display())
}

/// `passwd` and `group`: the fixture's users and these, and polkitd's as the machine has it.
fn users(people: &[User]) -> (String, String) {
    let line = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.lines()
            .find(|line| line.starts_with("polkitd:"))
            .unwrap_or_else(|| panic!("{file}: no polkitd: is the package polkitd installed?"))
            .to_owned()
    };
    let (mut passwd, mut group) = (line("/etc/passwd"), line("/etc/group"));
    for user in User::all().chain(people.iter().copied()) {
        let (name, uid, gid) = (user.name(), user.uid(), user.gid());
        let _ = write!(passwd, "\n{name}:x:{uid}:{gid}::/:/bin/sh");
        let members = match user {
            User::Agent => User::Operator.name(),
            _ => String::new(),
        };
        let _ = write!(group, "\n{name}:x:{gid}:{members}");
    }
    let _ = write!(group, "\ntwinseal-keys:x:1503:app2001,app2002");
    (passwd + "\n", group + "\n")
}

fn assert_root() {
    let uid = fs::metadata("/proc/self").expect("/proc").uid();
    assert!(
        uid == 0,
        "the private system bus speaks for several users, so this test needs root, real or in a \
         user namespace: run scripts/test, or \
         `unshare --map-root-user --map-auto --mount cargo test`"
    );
}

fn install(files: &[PathBuf], folder: &Path) {
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.file_name().expect("a file has a name");
        write(&folder.join(name), &text);
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("our own folder");
}
