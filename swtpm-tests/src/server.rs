//! A server of its own, with an empty database.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::bus::User;
use crate::daemon::Daemon;
use crate::http::Api;
use crate::programs::program;

/// A `twinseal-server` of one test: it has a data folder, a secrets folder and free ports of its
/// own, which are others after each start.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    device_side: SocketAddr,
    backend_side: SocketAddr,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    place: Place,
}

/// Where a server keeps everything, and whose that is.
#[derive(Debug)]
struct Place {
    folder: TempDir,
    user: User,
}

impl Server {
    /// Makes a server and serves with it.
    pub fn start() -> Self {
        Self::with_options(&[])
    }

    /// As [`Server::start`], with more options for `serve`, such as those for TLS.
    ///
    /// # Panics
    /// When it does not come to listen; the message holds its log.
    pub fn with_options(options: &[&str]) -> Self {
        Self::with_environment(options, Vec::new())
    }

    /// As [`Server::with_options`], and `serve` finds these variables, for example those of a
    /// [`Disk`](crate::Disk).
    ///
    /// # Panics
    /// As [`Server::with_options`].
    pub fn with_environment(options: &[&str], environment: Vec<(String, String)>) -> Self {
        Self::of(User::Root, options, environment)
    }

    /// As [`Server::with_options`], run by this user, who may use its folders, too.
    ///
    /// # Panics
    /// As [`Server::with_options`].
    pub fn run_by(user: User, options: &[&str]) -> Self {
        Self::of(user, options, Vec::new())
    }

    fn of(user: User, options: &[&str], environment: Vec<(String, String)>) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let place = Place { folder: tempfile::tempdir().expect("a temporary folder"), user };
        if user != User::Root {
            chown(place.folder.path(), Some(user.uid()), Some(user.gid())).expect("a new folder");
        }
        place.run(&["init"]);
        let (daemon, [device_side, backend_side]) = place.serve(&options, &environment);
        Self { daemon, device_side, backend_side, options, environment, place }
    }

    /// Where couriers connect to.
    pub fn device_address(&self) -> SocketAddr {
        self.device_side
    }

    /// Where back ends connect to.
    pub fn backend_address(&self) -> SocketAddr {
        self.backend_side
    }

    /// Runs `twinseal-server` on this server's folders and returns the JSON that it prints. It
    /// works whether or not the server is up.
    ///
    /// # Panics
    /// When it fails; the message holds what it said.
    pub fn run(&self, arguments: &[&str]) -> Value {
        self.place.run(arguments)
    }

    /// As [`Server::run`], for when it is expected to fail.
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        self.place.command(arguments).output().expect("a program that starts")
    }

    /// Trusts the EK certificates below the root certificate in this PEM file.
    pub fn trust(&self, root_pem: &Path) {
        self.run(&["ek-roots", "add", &root_pem.to_string_lossy()]);
    }

    /// An enrolment link for one device that reaches the server at `origin`, for example by way
    /// of a [`Recorder`](crate::Recorder).
    pub fn link(&self, origin: &str) -> String {
        let code = self.run(&["code", "create", "--url", origin]);
        code["link"].as_str().expect("a link").to_owned()
    }

    /// A back end with a new API key that has these scopes, for all services.
    pub fn api(&self, scopes: &[&str]) -> Api {
        let mut arguments = vec!["api-key", "create", "--name", "test", "--service", "*"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let made = self.run(&arguments);
        Api::new(self.backend_side, made["key"].as_str().expect("a key"))
    }

    /// The folder of its database.
    pub fn data_dir(&self) -> PathBuf {
        self.place.data_dir()
    }

    /// The folder of its private keys.
    pub fn secrets_dir(&self) -> PathBuf {
        self.place.folder.path().join("data-secrets")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it, after ending it if it runs. Its addresses are new.
    pub fn restart(&mut self) {
        self.kill();
        let (daemon, sides) = self.place.serve(&self.options, &self.environment);
        self.daemon = daemon;
        [self.device_side, self.backend_side] = sides;
    }

    /// Whether it has ended by itself, or by a crash.
    pub fn has_ended(&mut self) -> bool {
        self.daemon.exit_status().is_some()
    }
}

impl Place {
    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = program("twinseal-server");
        let mut command = match self.user {
            User::Root => Command::new(program),
            user => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--clear-groups"]);
                command.arg(format!("--reuid={}", user.uid()));
                command.arg(format!("--regid={}", user.gid())).arg(program);
                command
            }
        };
        command.args(arguments).arg("--json").arg("--data").arg(self.data_dir());
        command
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().expect("a program that starts");
        let (status, said) = (output.status, String::from_utf8_lossy(&output.stderr));
        assert!(status.success(), "twinseal-server {arguments:?}: {status}\n{said}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }

    fn serve(
        &self,
        options: &[String],
        environment: &[(String, String)],
    ) -> (Daemon, [SocketAddr; 2]) {
        let free = "127.0.0.1:0";
        let mut command = self.command(&["serve", "--listen", free, "--backend-listen", free]);
        command.args(options).envs(environment.iter().map(|(name, value)| (name, value)));
        let log = self.folder.path().join("server.log");
        // Addresses of an earlier start must not be taken for those of this one.
        let _ = std::fs::remove_file(&log);
        let mut daemon = Daemon::spawn("twinseal-server", &command, log.clone());
        let sides = daemon.wait_until("listening", || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let side = |name: &str| address(&line["listening"][name]);
                Some([side("device")?, side("backend")?])
            })
        });
        (daemon, sides)
    }
}

/// The address in an origin such as `http://127.0.0.1:7480`.
fn address(origin: &Value) -> Option<SocketAddr> {
    origin.as_str()?.split_once("://")?.1.parse().ok()
}
