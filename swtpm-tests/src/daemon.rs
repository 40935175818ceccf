//! Programs that live exactly as long as the fixture that started them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A running program. It is killed when this value is dropped, and by the kernel when the test
/// process ends in any other way.
///
/// Its standard output and error go to a log file, so that a failure can be explained.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` and appends what it prints to the file `log`. Failures call it `name`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &str, command: &Command, log: PathBuf) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let mut tied = tied_to_this_process(command);
        tied.stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file);
        let child = spawn_from_lasting_thread(tied).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program has printed so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Ends it at once, as a crash or a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Polls `ready` until it gives a value.
    ///
    /// # Panics
    /// When the program ends meanwhile, or after 20 seconds; the message holds its log.
    pub fn wait_until<T>(&mut self, what: &str, ready: impl FnMut() -> Option<T>) -> T {
        self.poll(ready).unwrap_or_else(|| panic!("{}: not {what}:\n{}", self.name, self.log()))
    }

    /// As [`Daemon::wait_until`], but `None` when the program ends or the time is over.
    pub fn poll<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let ended = self.exit_status().is_some();
            if let Some(value) = ready() {
                return Some(value);
            }
            if ended || Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The same command behind `setpriv --pdeathsig KILL`: no test run leaves a daemon behind.
fn tied_to_this_process(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Linux sends the parent death signal when the *thread* ends that forked, so everything is
/// started by one thread that lasts as long as the process.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, child) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawning thread lasts");
    child.recv().expect("the spawning thread answers")
}
