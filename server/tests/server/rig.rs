//! A server of its own for each test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use twinseal_server::app::api_keys::Scope;
use twinseal_server::app::{App, Folders, Policy};
use twinseal_server::http::{Endpoint, Limits, Listeners};

/// A folder in which a server was made.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.json(&["init"]);
        place
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn secrets(&self) -> PathBuf {
        self.folder.path().join("data-secrets")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinseal-server"));
        command.arg("--data").arg(self.data()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that succeeds prints with `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The code of the error of a command that fails.
    pub fn failure(&self, args: &[&str]) -> String {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(!output.status.success(), "{args:?} succeeded");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(!error["error"]["next"].as_str().unwrap().is_empty());
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    /// A key for everything.
    pub fn api_key(&self) -> String {
        let mut args = vec!["api-key", "create", "--name", "test", "--service", "*"];
        for scope in Scope::ALL {
            args.extend(["--scope", scope.word()]);
        }
        self.json(&args)["key"].as_str().unwrap().to_owned()
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, options: &[&str]) -> Server {
        let ports =
            ["serve", "--json", "--listen", "127.0.0.1:0", "--backend-listen", "127.0.0.1:0"];
        let log = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = self
            .command(&[&ports, options].concat())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect(&line);
        let url = |side: &str| said["listening"][side].as_str().unwrap().to_owned();
        Server { device: url("device"), backend: url("backend"), child }
    }

    /// A server in this process, with these limits.
    pub async fn serve_within(&self, limits: Limits) -> Served {
        let folders = Folders::new(self.data(), None);
        let app = App::open(&folders, limits, Policy::default()).await.unwrap();
        let any = Endpoint { listen: "127.0.0.1:0".parse().unwrap(), tls: None };
        let listeners = Listeners::bind(&any, &any).await.unwrap();
        let url = |(scheme, address)| format!("{scheme}://{address}");
        let (device, backend) = (url(listeners.device()), url(listeners.backend()));
        let serving = listeners.serve(Arc::new(app), std::future::pending());
        Served { device, backend, serving: tokio::spawn(serving) }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A client that knows no proxy of the host's.
pub fn client() -> reqwest::Client {
    // The first test to come installs it; for the others it is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A server that runs in this process.
pub struct Served {
    pub device: String,
    pub backend: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The host and port of a URL.
pub fn address(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

/// A running server; killed when it is dropped.
pub struct Server {
    pub device: String,
    pub backend: String,
    child: Child,
}

impl Server {
    /// Ends it as a crash or a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
