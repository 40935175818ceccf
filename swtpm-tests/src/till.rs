//! A till: a device with one application on it, and its back end's way to it.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::bus::User;
use crate::chip::Chip;
use crate::device::{Device, DeviceBuilder};
use crate::http::Api;
use crate::swtpm::{EkKind, Swtpm};
use crate::world::World;
use serde_json::Value;

/// The service that it trades for.
pub const SERVICE: &str = "com.example.till";
/// The user whose application trades for it.
pub const APP: User = User::App(2001);

/// A device that is enrolled, whose application trades for [`SERVICE`].
#[derive(Debug)]
pub struct Till {
    /// Its device.
    pub device: Device,
    /// The device's id at the server.
    pub id: String,
    api: Api,
}

impl Till {
    /// With a chip of the kind that the environment names; a TPM has both kinds of endorsement
    /// key, and the agent takes the P-384 one.
    pub fn enrol(world: &World, name: &str) -> Till {
        Till::with_chip(world, name, Chip::start())
    }

    /// With a TPM with one kind of endorsement key.
    pub fn of_kind(world: &World, name: &str, kind: EkKind) -> Till {
        Till::with_chip(world, name, Swtpm::builder().only(kind).start())
    }

    /// With this chip.
    pub fn with_chip(world: &World, name: &str, chip: impl Into<Chip>) -> Till {
        Till::of_device(world, name, Device::builder().chip(chip))
    }

    /// On this device, which may now trade for the service, too.
    pub fn of_device(world: &World, name: &str, builder: DeviceBuilder) -> Till {
        let device = world.enrolled(builder.service(SERVICE, &[APP]), &[("till", name)]);
        let api = api(world);
        let found = api.get(&format!("/api/v1/devices?find=till={name}")).ok();
        let id = found["devices"][0]["device"].as_str().expect("one device").to_owned();
        Till { device, id, api }
    }

    /// What the application on the device does, with the command line; the first object that it
    /// prints.
    pub fn app(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.try_app(APP, arguments, input);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {said}{wrong}\n{}",
            self.device.agent_log()
        );
        let first = said.lines().next().unwrap_or_default();
        serde_json::from_str(first).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
    }

    /// The same, by anybody, and it may fail.
    pub fn try_app(&self, user: User, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .device
            .command(user, "twinseal")
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program that starts");
        let mut stdin = child.stdin.take().expect("standard input");
        // A program that has ended already does not want it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("a program that ends")
    }

    /// The application opens a trade; gives its id.
    pub fn open(&self, outer: &str) -> String {
        text(&self.app(&["trade", "open", SERVICE, "--outer", outer], "")["trade"])
    }

    /// The application sends a message.
    pub fn send(&self, trade: &str, message: &str) {
        self.app(&["trade", "send", trade], message);
    }

    /// The texts that have arrived after an index, as soon as there is one.
    pub fn receive(&self, trade: &str, after: u32) -> Vec<String> {
        let received = self.app(&["trade", "receive", trade, "--after", &after.to_string()], "");
        let messages = received["messages"].as_array().expect("messages").iter();
        messages.map(|message| text(&message["text"])).collect()
    }

    /// Closes a trade on the device, and gives what `receipt verify` says of its receipt.
    pub fn close(&self, world: &World, trade: &str) -> Value {
        let file = self.device.bus().folder().join(format!("receipt-{trade}"));
        let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        make_public(folder.path());
        let out = folder.path().join("receipt").display().to_string();
        self.app(&["trade", "close", trade, "--receipt", &out], "");
        std::fs::copy(&out, &file).expect("a receipt");
        let server_id = server_id(world);
        self.app(&["receipt", "verify", &out, "--server-id", &server_id], "")
    }

    /// The path of this device's things in the back-end API.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/devices/{}{rest}", self.id)
    }

    /// The back end opens a trade.
    pub fn backend_open(&self, outer: &str) -> String {
        let body = serde_json::json!({ "service": SERVICE, "outer": outer });
        text(&self.api.post(&self.path("/trades"), &body).ok()["trade"])
    }

    /// The back end sends a message.
    pub fn backend_send(&self, trade: &str, message: &str) {
        let path = self.path(&format!("/trades/{trade}/messages"));
        self.api.send("POST", &path, message.as_bytes(), "text/plain").ok();
    }

    /// The back end's view of the device's messages after an index, as soon as there is one.
    pub fn backend_receive(&self, trade: &str, after: u32) -> Vec<String> {
        let path = self.path(&format!("/trades/{trade}/messages?after={after}&wait_ms=20000"));
        // What the device has opened the server knows a moment later.
        let received = until("the trade", || {
            let reply = self.api.get(&path);
            (reply.status != 404).then(|| reply.ok())
        });
        let messages = received["messages"].as_array().expect("messages").iter();
        messages.map(|message| from_base64(&text(&message["payload"]))).collect()
    }

    /// The back end asks, and waits for the reply.
    pub fn backend_exchange(&self, outer: &str, request: &str) -> Value {
        let body = serde_json::json!({
            "service": SERVICE, "outer": outer, "payload": to_base64(request), "wait_ms": 20_000,
        });
        self.api.post(&self.path("/exchange"), &body).ok()
    }

    /// The back end's view of a trade.
    pub fn backend_trade(&self, trade: &str) -> Value {
        self.api.get(&self.path(&format!("/trades/{trade}"))).ok()
    }

    /// The next trade that the server offers to the application that listens for it.
    pub fn offered(&self) -> String {
        text(&self.app(&["trade", "listen", SERVICE, "--count", "1"], "")["trade"])
    }

    /// Waits until the agent is in this state; gives its message.
    pub fn wait_for(&self, state: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.device.state() != state {
            let late = Instant::now() > deadline;
            assert!(!late, "not within a minute: {state}\n{}", self.device.agent_log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let read = self.device.property(User::Root, "", "", "Message");
        read.expect("a sentence for people")
    }

    /// Says `message` in a new trade, and sees it arrive: trades can be made.
    pub fn trades(&self, message: &str) {
        let trade = self.open("serial");
        self.send(&trade, message);
        assert_eq!(self.backend_receive(&trade, 0), [message]);
    }

    /// What the server's operator sees of the device.
    pub fn shown(&self, world: &World) -> Value {
        world.server().run(&["device", "show", &self.id])
    }

    /// After the server has moved.
    pub fn use_api(&mut self, api: Api) {
        self.api = api;
    }

    /// The back end's way to the server.
    pub fn backend(&self) -> &Api {
        &self.api
    }
}

/// A back end that may do everything with trades.
pub fn api(world: &World) -> Api {
    world.server().api(&["devices:read", "trades:read", "trades:write"])
}

/// The server's id, out of a link.
pub fn server_id(world: &World) -> String {
    let link = world.server().link("http://localhost:1");
    let id = link.split("server=").nth(1).expect("a server id");
    id.split('&').next().expect("a server id").to_owned()
}

/// Asks until it is so.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A JSON text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

fn make_public(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder, mode).expect("root changes a mode");
}

/// As the API carries payloads.
pub fn to_base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A text out of the API.
pub fn from_base64(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    String::from_utf8(bytes).expect("text")
}
