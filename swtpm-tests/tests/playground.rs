//! `scripts/playground`: what a shell is told is true, and nothing stays behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use twinseal_swtpm_tests::till::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/playground");

/// A playground of one test. Ended at the latest with this value.
struct Playground {
    folder: TempDir,
}

impl Playground {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    /// What `up` has written down: process id, start time and folder.
    fn recorded(&self) -> Option<[String; 3]> {
        let text = fs::read_to_string(self.record()).ok()?;
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.try_into().ok()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SCRIPT);
        command.args(arguments).env("TWINSEAL_PLAYGROUND", self.record()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        said(&self.command(arguments).output().unwrap())
    }

    /// Runs lines of shell where its `env` was evaluated, in another folder.
    fn shell(&self, lines: &str) -> String {
        let eval = format!("set -eu\neval \"$({SCRIPT} env)\"\ncd {:?}\n", self.folder.path());
        let mut shell = Command::new("sh");
        shell.env("TWINSEAL_PLAYGROUND", self.record()).args(["-c", &(eval + lines)]);
        said(&shell.output().unwrap())
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
    }
}

fn said(output: &Output) -> String {
    let wrong = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {text}{wrong}", output.status);
    text.trim_end().to_owned()
}

/// The processes that were started with this folder for what is temporary.
fn processes_of(folder: &str) -> Vec<PathBuf> {
    let variable = format!("TMPDIR={folder}");
    let is_one = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|line| line == variable.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(|process| is_one(process)).collect()
}

fn nothing_is_left(folder: &str) {
    assert!(processes_of(folder).is_empty(), "{:?}", processes_of(folder));
    assert!(!Path::new(folder).exists(), "{folder}");
}

fn begin_up(playground: &Playground) -> Child {
    playground.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The section of the front door: what is typed, with what is seen then.
fn transcript() -> Vec<(String, String)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let section = readme.split("## Write an application").nth(1).unwrap();
    let console = section.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let steps = console.strip_prefix("$ ").unwrap().trim_end().split("\n$ ");
    let parts = steps.map(|step| step.split_once('\n').unwrap_or((step, "")));
    parts.map(|(typed, seen)| (typed.to_owned(), seen.to_owned())).collect()
}

/// Without what is another each time: numbers, ids and codes.
fn plain(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let plain = words.map(|word| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let lower = word.chars().any(|c| c.is_ascii_lowercase());
        if word.len() > 5 && (digits > 3 || !lower) { "#" } else { word }
    });
    plain.collect()
}

#[test]
fn an_application_is_written_as_the_readme_says() {
    let playground = Playground::new();
    let transcript = transcript();
    let (last, lines) = transcript.split_last().unwrap();
    let marked: Vec<String> =
        lines.iter().map(|(typed, _)| format!("{typed}\necho '<end>'\n")).collect();
    let mut shell = Command::new("sh");
    shell.current_dir(Path::new(SCRIPT).ancestors().nth(2).unwrap());
    shell.env("TWINSEAL_PLAYGROUND", playground.record()).args(["-ec", &marked.concat()]);
    let seen = said(&shell.output().unwrap());
    let mut seen = seen.split("<end>").map(str::trim);
    for (typed, promised) in lines {
        assert_eq!(plain(seen.next().unwrap()), plain(promised), "{typed}");
    }

    assert!(playground.run(&["up"]).contains("It is running already."));
    let [_, _, folder] = playground.recorded().unwrap();
    assert!(processes_of(&folder).len() > 6, "chip, bus, polkit, agent, courier, server, …");
    let verified = playground.shell(
        "echo order >order
         pkcs11-tool --module \"$TWINSEAL_PKCS11_MODULE\" --id \"$TWINSEAL_KEY\" \
             --sign --mechanism ECDSA-SHA256 --signature-format openssl \
             --input-file order --output-file order.sig >&2
         twinseal key show \"$TWINSEAL_KEY\" --public-key key.pem >&2
         openssl dgst -sha256 -verify key.pem -signature order.sig order
         test -d \"$TWINSEAL_AGENT_STATE\"",
    );
    assert_eq!(verified, "Verified OK");

    assert_eq!((last.0.as_str(), last.1.as_str()), ("scripts/playground down", "It is gone."));
    assert_eq!(playground.run(&["down"]), last.1);
    nothing_is_left(&folder);
    assert_eq!(playground.run(&["down"]), "It is not running.");
    let output = playground.command(&["env"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn its_device_may_have_a_token() {
    let playground = Playground::new();
    playground.run(&["up", "--token"]);
    let [_, _, folder] = playground.recorded().unwrap();
    let status = playground.shell("twinseal --json status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["state"], &status["assurance"]), (&"Active".into(), &"token".into()));
    let done = playground.shell(
        "trade=$(twinseal trade open \"$TWINSEAL_SERVICE\")
         echo 'a tea' | twinseal trade send \"$trade\"
         openssl rand 32 | twinseal key sign \"$TWINSEAL_KEY\" --scheme ecdsa | wc --bytes",
    );
    assert_eq!(done, "Message 2 is in the outbox\n64");
    playground.run(&["down"]);
    nothing_is_left(&folder);
}

#[test]
fn whoever_dies_leaves_nothing_running() {
    let playground = Playground::new();
    let mut up = begin_up(&playground);
    // It is in the middle of it now.
    let [_, _, folder] = until("a record", || playground.recorded());
    until("a program", || (!processes_of(&folder).is_empty()).then_some(()));
    up.kill().unwrap();
    up.wait().unwrap();
    until("nothing runs", || processes_of(&folder).is_empty().then_some(()));

    playground.run(&["up"]);
    assert!(!Path::new(&folder).exists(), "the next one clears away");
    let [pid, _, folder] = playground.recorded().unwrap();
    said(&Command::new("kill").args(["-KILL", &pid]).output().unwrap());
    until("nothing runs", || processes_of(&folder).is_empty().then_some(()));
    assert!(!playground.command(&["env"]).output().unwrap().status.success());
    assert_eq!(playground.run(&["down"]), "It is gone.");
    nothing_is_left(&folder);
}

#[test]
fn a_process_that_has_only_got_the_number_is_left_alone() {
    let playground = Playground::new();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let record = format!("{} 1 {}\n", other.id(), folder.path().display());
    fs::write(playground.record(), record).unwrap();
    assert_eq!(playground.run(&["down"]), "It is gone.");
    assert!(other.try_wait().unwrap().is_none(), "it was started at another time");
    assert!(!folder.path().exists());
    other.kill().unwrap();
    other.wait().unwrap();
}
