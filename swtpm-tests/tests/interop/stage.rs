//! A device whose agent has no server, an application's user who may have keys, and the module
//! where he can load it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use twinseal_swtpm_tests::{Device, User, program};

/// Who uses keys.
pub const APP: User = User::App(2001);
/// Another who may have keys.
pub const OTHER: User = User::App(2002);

/// A device, and a folder of the user's.
pub struct Stage {
    pub device: Device,
    pub folder: PathBuf,
    pub module: String,
}

impl Stage {
    pub fn new() -> Self {
        Self::of(Device::start())
    }

    pub fn of(device: Device) -> Self {
        let folder = device.bus().folder().join("app");
        fs::create_dir(&folder).unwrap();
        let module = device.bus().folder().join("libtwinseal_pkcs11.so");
        fs::copy(program("libtwinseal_pkcs11.so"), &module).unwrap();
        let stage = Self { device, module: text(&module), folder };
        stage.give("");
        stage
    }

    /// A path in the user's folder.
    pub fn path(&self, name: &str) -> String {
        text(&self.folder.join(name))
    }

    /// Writes a file of the user's; its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.folder.join(name), content).unwrap();
        self.give(name);
        self.path(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn give(&self, name: &str) {
        chown(self.folder.join(name), Some(APP.uid()), Some(APP.uid())).unwrap();
    }

    /// A service's program, installed or unpacked by `scripts/setup`; a copy that the user can
    /// run.
    pub fn service(&self, name: &str) -> String {
        let installed = PathBuf::from(format!("/usr/sbin/{name}"));
        let unpacked = tools().join("usr/sbin").join(name);
        let found = if installed.exists() { installed } else { unpacked };
        let copy = self.device.bus().folder().join(name);
        if !copy.exists() {
            fs::copy(&found, &copy).unwrap_or_else(|_| panic!("no {name}: run scripts/setup"));
        }
        text(&copy)
    }

    /// A program, to be run by the user on his device.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.device.bus().command(APP, program);
        command.env("HOME", &self.folder).env_remove("OPENSSL_CONF");
        command
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program).args(arguments).output();
        output.unwrap_or_else(|error| panic!("{program}: {error}: run scripts/setup"))
    }

    /// Runs a program that has to succeed; all that it prints.
    #[track_caller]
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let said = said(&output);
        assert!(output.status.success(), "{program} {arguments:?}: {}\n{said}", output.status);
        said
    }

    /// Runs a program that has to fail; all that it prints.
    #[track_caller]
    pub fn fails(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let said = said(&output);
        assert!(!output.status.success(), "{program} {arguments:?}:\n{said}");
        said
    }

    /// `pkcs11-tool` with the module, which has to succeed.
    #[track_caller]
    pub fn tool(&self, arguments: &[&str]) -> String {
        self.ok("pkcs11-tool", &[&["--module", &self.module], arguments].concat())
    }

    /// Makes a key pair, such as `EC:prime256v1` for `sign`.
    pub fn key(&self, kind: &str, label: &str, id: &str, uses: &[&str]) {
        let uses: Vec<String> = uses.iter().map(|word| format!("--usage-{word}")).collect();
        let uses = uses.iter().map(String::as_str);
        let make = ["--keypairgen", "--key-type", kind, "--label", label, "--id", id];
        self.tool(&make.into_iter().chain(uses).collect::<Vec<_>>());
    }

    /// The public half of a key with this id, of one byte, as PEM; the file's path.
    pub fn public_key(&self, id: &str) -> String {
        let (pem, provider) = (self.path(&format!("{id}.pem")), &self.module);
        let url = format!("pkcs11:token=Twinseal;id=%{id};type=public");
        self.ok("p11tool", &["--provider", provider, "--export", &url, "--outfile", &pem]);
        pem
    }

    /// A certification authority of the user's: certificate and key, as files.
    pub fn authority(&self) -> (String, String) {
        let (key, certificate) = (self.path("ca.key"), self.path("ca.pem"));
        let curve = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key];
        self.ok("openssl", &curve);
        let subject = ["-subj", "/CN=Example CA", "-days", "2"];
        let make = ["req", "-x509", "-new", "-key", &key, "-out", &certificate];
        self.ok("openssl", &[&make[..], &subject].concat());
        (certificate, key)
    }

    /// Lets the authority certify a request; the certificate's path.
    pub fn certify(&self, request: &str, name: &str) -> String {
        let (ca, ca_key) = (self.path("ca.pem"), self.path("ca.key"));
        let certificate = self.path(name);
        let sign = ["x509", "-req", "-in", request, "-CA", &ca, "-CAkey", &ca_key];
        let end = ["-CAcreateserial", "-days", "2", "-out", &certificate];
        self.ok("openssl", &[&sign[..], &end].concat());
        certificate
    }

    /// A key with a certificate that OpenSSL has asked for through the engine; the certificate's
    /// path.
    pub fn certified(&self, kind: &str, label: &str, id: &str) -> String {
        self.key(kind, label, id, &["sign"]);
        let request = self.path(&format!("{label}.csr"));
        let mut asking = self.command("openssl");
        asking.env("OPENSSL_CONF", self.openssl_config());
        asking.args(["req", "-new", "-engine", "pkcs11", "-keyform", "engine"]);
        asking.args(["-key", &private(label), "-subj", &format!("/CN={label}"), "-out", &request]);
        let output = asking.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        self.ok("openssl", &["req", "-in", &request, "-verify", "-noout"]);
        self.certify(&request, &format!("{label}.pem"))
    }

    /// OpenSSL's configuration with the engine and the module.
    pub fn openssl_config(&self) -> String {
        let folder = self.ok("openssl", &["version", "-e"]);
        let folder = folder.split('"').nth(1).expect("ENGINESDIR: \"...\"").to_owned();
        let config = format!(
            "openssl_conf = all\n[all]\nengines = engines\n[engines]\npkcs11 = pkcs11\n\
             [pkcs11]\nengine_id = pkcs11\ndynamic_path = {folder}/pkcs11.so\n\
             MODULE_PATH = {}\ninit = 0\n[req]\ndistinguished_name = name\n[name]\n",
            self.module
        );
        self.file("openssl.cnf", config)
    }
}

/// Where `scripts/setup` unpacks programs.
pub fn tools() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools"))
}

/// Ended when the test is.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is there.
pub fn wait_for(path: &str) {
    let began = Instant::now();
    while !Path::new(path).exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "no {path}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a program has printed to either side.
pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// How programs name a private key (RFC 7512).
pub fn private(label: &str) -> String {
    format!("pkcs11:token=Twinseal;object={label};type=private")
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
