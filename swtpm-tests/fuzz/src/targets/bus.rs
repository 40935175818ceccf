//! Calls on the agent's bus with any arguments.
//!
//! The agent is on a bus of this module's, which lets through what a real one does: well-formed
//! messages only. What is in them may be anything, and each gets exactly one answer.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use std::io::Write as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use twinseal_agent::{Agent, Config, bus};

use super::wire::{
    CALL, ERROR, INTERFACE, MEMBER, PATH, REPLY_SERIAL, RETURN, Received, SENDER, SIGNATURE,
    Writer, log_in, message, receive,
};
use crate::Target;

/// The first bytes choose path, method and types, the rest are values.
pub const ARGUMENTS: Target = Target {
    name: "dbus-arguments",
    run: arguments,
    seeds: || {
        let methods = METHODS.len() as u8;
        let text = b"\x10com.example.till\x00\x05hello\x01\x05outer\x01\x06serial\x04\x03";
        (0..methods).flat_map(|m| [vec![0, m, 0], [&[0, m, 0][..], text].concat()]).collect()
    },
    mutations: 1500,
};

/// Interface, method, types of its arguments: from the files that say what the bus offers, so
/// that a new method is called too.
static METHODS: LazyLock<Vec<(String, String, String)>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/dbus");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect(folder).map(|f| f.expect("a file").path()).collect();
    files.sort();
    let mut methods = Vec::new();
    for file in files {
        let xml = std::fs::read_to_string(&file).expect("introspection");
        let interface = file.file_stem().expect("a name").to_string_lossy().into_owned();
        for method in xml.split("<method name=\"").skip(1) {
            let method = method.split("</method>").next().expect("an end");
            let name = method.split('"').next().expect("a name").to_owned();
            let inputs = method.lines().filter(|line| line.contains("direction=\"in\""));
            let kind =
                |line: &str| line.split("type=\"").nth(1)?.split('"').next().map(str::to_owned);
            methods.push((interface.clone(), name, inputs.filter_map(kind).collect()));
        }
    }
    for (name, types) in [("Get", "ss"), ("GetAll", "s"), ("Set", "ssv")] {
        methods.push(("org.freedesktop.DBus.Properties".into(), name.into(), types.into()));
    }
    let introspect = ("org.freedesktop.DBus.Introspectable", "Introspect");
    methods.push((introspect.0.into(), introspect.1.into(), String::new()));
    let managed = ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
    methods.push((managed.0.into(), managed.1.into(), String::new()));
    methods
});

struct Bus {
    stream: UnixStream,
    answers: Receiver<Received>,
    serial: u32,
    _runtime: Runtime,
    _folder: TempDir,
}

static BUS: LazyLock<Mutex<Bus>> = LazyLock::new(|| Mutex::new(Bus::start()));

impl Bus {
    fn start() -> Bus {
        let folder = TempDir::new().expect("a folder");
        let config: Config = toml::from_str(&format!(
            "state_dir = '{0}/state'\nstate_key_file = '{0}/key'\nservices_dir = '{0}/services'\n\
             hardware.tcti = 'device:{0}/no-chip'",
            folder.path().display()
        ))
        .expect("a configuration");
        let (own, agents) = UnixStream::pair().expect("a socket");
        let (send, answers) = channel();
        let mut reading = own.try_clone().expect("a socket");
        let writing = own.try_clone().expect("a socket");
        std::thread::spawn(move || {
            log_in(&mut reading).expect("a login");
            while let Ok(received) = receive(&mut reading) {
                match received.kind {
                    CALL => (&writing).write_all(&answer(&received)).expect("an answer"),
                    RETURN | ERROR => send.send(received).expect("somebody who waits"),
                    _ => {}
                }
            }
        });
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let bus = zbus::connection::Builder::unix_stream(agents).build().await.expect("a bus");
            let agent = Agent::start(config).await.expect("an agent without a chip");
            let service = bus::publish(agent, bus).await.expect("a name on the bus");
            tokio::spawn(service.run());
        });
        Bus { stream: own, answers, serial: 1, _runtime: runtime, _folder: folder }
    }

    /// Calls, and waits for the one answer.
    fn call(&mut self, fields: &[(u8, &str)], body: &[u8]) -> Received {
        self.serial += 1;
        self.stream.write_all(&message(CALL, self.serial, fields, body)).expect("the bus");
        let patience = Duration::from_secs(20);
        let answer = self.answers.recv_timeout(patience).expect("an answer to every call");
        assert_eq!(answer.reply_serial, self.serial, "an answer to another call");
        answer
    }
}

/// What the agent asks of a bus.
fn answer(call: &Received) -> Vec<u8> {
    let mut body = Writer::default();
    let signature = match call.member.as_str() {
        "Hello" => {
            body.text(":1.1");
            "s"
        }
        "RequestName" => {
            body.u32(1);
            "u"
        }
        "GetConnectionCredentials" => {
            body.array(8, |body| {
                body.text("UnixUserID");
                body.signature("u");
                body.u32(0);
            });
            "a{sv}"
        }
        _ => "",
    };
    let to = call.serial.to_string();
    let from = (SENDER, "org.freedesktop.DBus");
    message(RETURN, 1, &[(REPLY_SERIAL, &to), from, (SIGNATURE, signature)], &body.0)
}

fn arguments(input: &[u8]) -> bool {
    const PATHS: [&str; 6] = [
        "/org/twinseal/Agent1",
        "/org/twinseal/Agent1/u0/trade/00000000000000000000000000000000",
        "/org/twinseal/Agent1/u0/job/1",
        "/org/twinseal/Agent1/u0",
        "/org/twinseal/Agent1/u4294967295/job/18446744073709551615",
        "/",
    ];
    let [path, method, types, values @ ..] = input else { return false };
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let (interface, member, own) = &METHODS[usize::from(*method) % METHODS.len()];
    let mut values = Values(values);
    let signature = match types % 4 {
        0 | 1 => own.clone(),
        // The first arguments are one of another type, or there is one more.
        2 => format!("{}{}", values.some_type(), own.trim_start_matches(['s', 't', 'u'])),
        _ => format!("{own}{}", values.some_type()),
    };
    let mut body = Writer::default();
    let mut rest = signature.as_str();
    while !rest.is_empty() {
        rest = values.write(rest, &mut body, 0);
    }
    let fields = [
        (PATH, path),
        (INTERFACE, interface.as_str()),
        (MEMBER, member.as_str()),
        (SENDER, ":1.7"),
        (SIGNATURE, signature.as_str()),
    ];
    let answer = BUS.lock().unwrap_or_else(PoisonError::into_inner).call(&fields, &body.0);
    let ours = answer.error.strip_prefix("org.twinseal.Error.");
    assert_ne!(ours, Some("Internal"), "{interface}.{member}");
    answer.kind == RETURN || ours.is_some_and(|kind| kind != "InvalidArgument")
}

/// Values out of the input; all zero when it is used up.
struct Values<'a>(&'a [u8]);

impl Values<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// A length, and as many bytes.
    fn bytes(&mut self) -> &[u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    fn some_type(&mut self) -> &'static str {
        const TYPES: [&str; 12] =
            ["y", "b", "n", "i", "x", "d", "g", "o", "as", "v", "(sv)", "a{sa{sv}}"];
        TYPES[usize::from(self.byte()) % TYPES.len()]
    }

    /// Writes a value of the first type of `signature`; gives the other types.
    fn write<'s>(&mut self, signature: &'s str, to: &mut Writer, depth: u8) -> &'s str {
        let (first, rest) = signature.split_at(1);
        match first {
            "y" => to.0.push(self.byte()),
            "b" => to.u32(u32::from(self.byte() & 1)),
            // A descriptor that was not sent.
            "h" => to.u32(u32::from(self.byte())),
            "n" | "q" => {
                to.pad(2);
                to.0.extend([self.byte(), self.byte()]);
            }
            // Small, since some methods wait for so many milliseconds.
            "u" => to.u32(u32::from(self.byte() / 32)),
            "i" => to.u32(u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])),
            "x" | "t" | "d" => {
                to.pad(8);
                let bytes = [(); 8].map(|()| self.byte());
                to.0.extend(bytes);
            }
            "s" => {
                let text = String::from_utf8_lossy(self.bytes()).replace('\0', " ");
                to.text(&text);
            }
            "o" => to.text(["/", "/a", "/org/twinseal/Agent1"][usize::from(self.byte() % 3)]),
            "g" => to.signature(self.some_type()),
            "v" => {
                let inside = if depth > 3 { "y" } else { self.variant_type() };
                to.signature(inside);
                self.write(inside, to, depth + 1);
            }
            "(" | "{" => {
                to.pad(8);
                let mut rest = rest;
                while !rest.starts_with([')', '}']) {
                    rest = self.write(rest, to, depth + 1);
                }
                return &rest[1..];
            }
            "a" => return self.write_array(rest, to, depth),
            other => panic!("no type {other}"),
        }
        rest
    }

    fn variant_type(&mut self) -> &'static str {
        match self.byte() % 3 {
            0 => self.some_type(),
            1 => "s",
            _ => "u",
        }
    }

    fn write_array<'s>(&mut self, item: &'s str, to: &mut Writer, depth: u8) -> &'s str {
        let rest = after_one(item);
        if item.starts_with('y') {
            let bytes = self.bytes().to_vec();
            to.array(1, |to| to.0.extend(bytes));
            return rest;
        }
        let alignment = match item.as_bytes()[0] {
            b'{' | b'(' | b'x' | b't' | b'd' => 8,
            b'g' | b'v' => 1,
            _ => 4,
        };
        let count = if depth > 3 { 0 } else { self.byte() % 4 };
        to.array(alignment, |to| {
            for _ in 0..count {
                self.write(item, to, depth + 1);
            }
        });
        rest
    }
}

/// What follows the first complete type.
fn after_one(signature: &str) -> &str {
    let mut open = 0;
    for (at, character) in signature.char_indices() {
        match character {
            'a' => continue,
            '(' | '{' => open += 1,
            ')' | '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &signature[at + 1..];
        }
    }
    ""
}
