//! A server, and devices that trade with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::authority::EkAuthority;
use crate::bus::User;
use crate::device::{Device, DeviceBuilder};
use crate::recorder::Recorder;
use crate::server::Server;

/// A server that trusts the fixture's EK certificates, accepts tokens, and a recorder on the wire to each of its
/// devices.
#[derive(Debug)]
pub struct World {
    server: Server,
    wires: Mutex<Vec<Arc<Recorder>>>,
    tls: Option<Tls>,
}

/// A certificate for `localhost`, and its key.
#[derive(Debug)]
struct Tls {
    folder: TempDir,
}

impl World {
    /// With plain HTTP between couriers and server: the scheme holds without TLS, and the
    /// recorders see what it makes of a message.
    pub fn start() -> Self {
        Self::of(None)
    }

    /// With HTTPS, which couriers check by host name.
    pub fn start_https() -> Self {
        Self::of(Some(Tls::make()))
    }

    /// With these options of `serve` in the place of `--accept-tokens`.
    pub fn with_options(options: &[&str]) -> Self {
        Self::of_server(Server::with_options(options), None)
    }

    fn of(tls: Option<Tls>) -> Self {
        let mut options: Vec<String> = tls.as_ref().map(Tls::options).unwrap_or_default();
        options.push("--accept-tokens".to_owned());
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self::of_server(Server::with_options(&options), tls)
    }

    fn of_server(server: Server, tls: Option<Tls>) -> Self {
        server.trust(&EkAuthority::shared().root_pem_file());
        Self { server, wires: Mutex::default(), tls }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server, to end it. The wires find it again after [`World::restart_server`].
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Starts the server, after ending it if it runs.
    pub fn restart_server(&mut self) {
        self.server.restart();
        for wire in self.wires().iter() {
            wire.set_upstream(self.server.device_address());
        }
    }

    /// Starts a device with its courier. It is not enrolled.
    pub fn device(&self, builder: DeviceBuilder) -> Device {
        let wire = Arc::new(Recorder::start(self.server.device_address()));
        self.wires().push(Arc::clone(&wire));
        let mut device = builder.start();
        device.set_wire(wire);
        self.start_courier(&mut device);
        device
    }

    /// Starts the courier of a device of this world, after ending it if it runs.
    pub fn start_courier(&self, device: &mut Device) {
        match &self.tls {
            Some(tls) => device.start_courier(&["--root", &tls.path("certificate.pem")]),
            None => device.start_courier(&[]),
        }
    }

    /// A link with a new code, for this device.
    pub fn link(&self, device: &Device) -> String {
        self.server.link(&self.origin(device.wire().address()))
    }

    /// Enrols a device of this world with a new code, as its operator does it, and waits until
    /// it is active.
    ///
    /// # Panics
    /// When it is refused, or is not active within a minute; the message holds why.
    pub fn enrol(&self, device: &Device, user_info: &[(&str, &str)]) {
        let outcome = enrol(device, &self.link(device), user_info);
        let explain = || format!("{}\n{}", device.agent_log(), self.server.log());
        assert_eq!(outcome, Ok(()), "{}", explain());
        wait(|| device.state() == "Active", explain);
    }

    /// Starts a device as `builder` says, and enrols it.
    pub fn enrolled(&self, builder: DeviceBuilder, user_info: &[(&str, &str)]) -> Device {
        let device = self.device(builder);
        self.enrol(&device, user_info);
        device
    }

    fn origin(&self, wire: SocketAddr) -> String {
        match self.tls {
            Some(_) => format!("https://localhost:{}", wire.port()),
            None => format!("http://{wire}"),
        }
    }

    fn wires(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Recorder>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned()];
        let params = CertificateParams::new(names).expect("a host name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let tls = Self { folder };
        std::fs::write(tls.path("certificate.pem"), certificate.pem()).expect("a new file");
        std::fs::write(tls.path("key.pem"), key.serialize_pem()).expect("a new file");
        tls
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn options(&self) -> Vec<String> {
        let (certificate, key) = (self.path("certificate.pem"), self.path("key.pem"));
        vec!["--tls-certificates".to_owned(), certificate, "--tls-key".to_owned(), key]
    }
}

/// Enrols a device by this link, as its operator, and waits until that is done.
///
/// # Errors
/// Name and text of what the agent says was wrong.
pub fn enrol(device: &Device, link: &str, user_info: &[(&str, &str)]) -> Result<(), String> {
    let info: Vec<String> =
        user_info.iter().map(|(name, value)| format!("{name:?}: <{value:?}>")).collect();
    let info = format!("{{{}}}", info.join(", "));
    let info = if user_info.is_empty() { "@a{sv} {}" } else { &info };
    let arguments = [link, info, "@a{sv} {}"];
    let job = device
        .call(User::Operator, "", "Enrol", &arguments)
        .map_err(|refusal| format!("{}: {}", refusal.name, refusal.text))?;
    let job = job.split('\'').nth(1).expect("an object path").to_owned();
    let read = |name: &str| {
        device
            .property(User::Operator, &job, ".Job", name)
            .unwrap_or_else(|refusal| panic!("{job}: {refusal:?}"))
    };
    wait(|| read("State") != "Running", || device.agent_log());
    match read("State").as_str() {
        "Completed" => Ok(()),
        _ => Err(read("Error")),
    }
}

/// Asks until it is so.
fn wait(is_so: impl Fn() -> bool, explain: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it took too long:\n{}", explain());
        thread::sleep(Duration::from_millis(20));
    }
}
