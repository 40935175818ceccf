//! A device on which two users may trade, and others that may do nothing.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use twinseal_swtpm_tests::{Device, User, World, rerun_command};

pub const SERVICE: &str = "com.example.till";
/// May trade, and abuses it.
pub const ABUSER: User = User::App(2001);
/// May trade, and wants to.
pub const HONEST: User = User::App(2002);
/// In no file of services, in no group.
pub const STRANGER: User = User::App(2003);
/// Likewise.
pub const OTHER_STRANGER: User = User::App(2004);

/// An enrolled device, and a trade of the abuser's.
pub struct Stage {
    pub device: Device,
    pub trade: String,
    _world: World,
}

impl Stage {
    pub fn set() -> Stage {
        let world = World::start();
        let builder = Device::builder().service(SERVICE, &[ABUSER, HONEST]);
        let device = world.enrolled(builder, &[("holder", "till 7")]);
        let trade = open_trade(&device, ABUSER);
        Stage { device, trade, _world: world }
    }

    /// This test again, as a user of the device; it finds `variables` in its environment.
    pub fn guest(&self, user: User, test: &str, variables: &[(&str, &str)]) -> Guest {
        let mut command = rerun_command(test, |program| self.device.bus().command(user, program));
        command.env("TRADE", &self.trade).envs(variables.iter().copied());
        Guest::start(command, self.device.bus().folder())
    }

    /// The agent's open files.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.device.agent_pid());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Somebody honest reads a property, makes a trade, and sends in it. The longest of the three.
    pub fn honest_work(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut timed = |begun: Instant| longest = longest.max(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(self.device.property(HONEST, "", "", "State").unwrap(), "Active");
        timed(begun);
        let begun = Instant::now();
        let trade = open_trade(&self.device, HONEST);
        timed(begun);
        let begun = Instant::now();
        let arguments = ["[byte 0x68, 0x69]", "@a{sv} {}"];
        let index = self.device.call(HONEST, &trade, "Trade.Send", &arguments);
        assert_eq!(index.unwrap(), "(uint64 2,)");
        timed(begun);
        longest
    }
}

/// The path of a new trade of this user's.
pub fn open_trade(device: &Device, user: User) -> String {
    let opened = device.call(user, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]).unwrap();
    opened.split('\'').nth(1).unwrap().to_owned()
}

/// A test that runs as another user.
pub struct Guest {
    child: Child,
    out: std::path::PathBuf,
}

impl Guest {
    fn start(mut command: Command, folder: &Path) -> Guest {
        let name = format!("guest-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let out = folder.join(name);
        let file = std::fs::File::create(&out).unwrap();
        command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(file);
        Guest { child: command.spawn().unwrap(), out }
    }

    /// What it has printed so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap()).into_owned()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has printed this word.
    pub fn wait_for(&mut self, word: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.said().contains(word) {
            assert!(self.runs() && Instant::now() < deadline, "no {word}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, which must be a good one, and gives what it has printed.
    pub fn end(mut self) -> String {
        let status = self.child.wait().unwrap();
        let said = self.said();
        // A misspelt name would run nothing and succeed.
        assert!(status.success() && said.contains("1 passed"), "{said}");
        said
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
