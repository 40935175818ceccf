//! An agent that the PKCS#11 module takes for its own, on a socket of its own, and that answers
//! one method as it is told to.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::super::wire::{
    REPLY_SERIAL, RETURN, Received, SIGNATURE, Writer, log_in, message, receive,
};

/// What the module calls, and gets an answer to that it reads.
pub const METHODS: [&str; 8] =
    ["GetManagedObjects", "GetAll", "Ping", "Random", "Sign", "Decrypt", "Delete", "CreateKey"];

/// The one of this process.
pub static AGENT: LazyLock<Agent> = LazyLock::new(Agent::start);

pub struct Agent {
    name: String,
    lie: Mutex<Option<Lie>>,
}

/// What is said to calls of one method.
struct Lie {
    method: &'static str,
    /// Whole messages, after which the connection ends; else types and values.
    is_raw: bool,
    answer: Vec<u8>,
}

impl Agent {
    fn start() -> Self {
        let name = format!("twinseal-fuzz-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { name, lie: Mutex::default() }
    }

    /// As for `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:abstract={}", self.name)
    }

    pub fn tell_the_truth(&self) {
        *self.lies() = None;
    }

    /// Says this to calls of a method. In the form of a message: the length of its types, those,
    /// and its values.
    pub fn lie(&self, method: u8, is_raw: bool, answer: &[u8]) {
        let method = METHODS[usize::from(method)];
        *self.lies() = Some(Lie { method, is_raw, answer: answer.to_vec() });
    }

    /// True answers to a method, in both forms.
    pub fn seeds(&self, method: u8) -> [Vec<u8>; 2] {
        let (types, body) = truth(METHODS[usize::from(method)], EC_KEY, 64);
        let head = [method, 0, types.len() as u8];
        // Before it are a greeting, a session and a search.
        let whole = message(RETURN, 1, &[(REPLY_SERIAL, "4"), (SIGNATURE, types)], &body);
        [[&head, types.as_bytes(), &body].concat(), [&[method, 1][..], &whole].concat()]
    }

    fn lies(&self) -> MutexGuard<'_, Option<Lie>> {
        self.lie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(mut stream: UnixStream) {
    // It ends when the module goes.
    if log_in(&mut stream).is_err() {
        return;
    }
    while let Ok(call) = receive(&mut stream) {
        let (answer, is_last) = answer(&call);
        if stream.write_all(&answer).is_err() || is_last {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// What is answered, and whether nothing follows.
fn answer(call: &Received) -> (Vec<u8>, bool) {
    let to = call.serial.to_string();
    let wrapped = |types: &str, body: &[u8]| {
        message(RETURN, 1, &[(REPLY_SERIAL, &to), (SIGNATURE, types)], body)
    };
    match AGENT.lies().as_ref().filter(|lie| lie.method == call.member) {
        None => {
            let number = call.body.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let (types, body) = truth(&call.member, &call.path, number as usize);
            (wrapped(types, &body), false)
        }
        Some(Lie { is_raw: true, answer, .. }) => (answer.clone(), true),
        Some(Lie { answer, .. }) => {
            let (len, rest) = answer.split_first().unwrap_or((&0, &[]));
            let (types, body) = rest.split_at(usize::from(*len).min(rest.len()));
            (wrapped(&String::from_utf8_lossy(types), body), false)
        }
    }
}

const EC_KEY: &str = "/org/twinseal/Agent1/u0/key/01";
const RSA_KEY: &str = "/org/twinseal/Agent1/u0/key/02";

/// Types and values of a true answer; `number` is what the call begins with.
fn truth(method: &str, path: &str, number: usize) -> (&'static str, Vec<u8>) {
    let mut body = Writer::default();
    let bytes = |body: &mut Writer, length: usize| {
        body.array(1, |body| body.0.extend(vec![7; length]));
    };
    let types = match method {
        "Hello" => {
            body.text(":1.7");
            "s"
        }
        "GetManagedObjects" => {
            body.array(8, |body| {
                key(body, EC_KEY, "till", &["sign", "agree"], &EC);
                let rsa = [&RSA_HEAD[..], &[0x7f; 256], &RSA_TAIL].concat();
                key(body, RSA_KEY, "open", &["sign", "decrypt"], &rsa);
            });
            "a{oa{sa{sv}}}"
        }
        // Of the agent, and of a key: the module takes what it wants.
        "GetAll" => {
            properties(&mut body, "till", &["sign"], &EC);
            "a{sv}"
        }
        "CreateKey" => {
            body.text(EC_KEY);
            "o"
        }
        "Random" => {
            bytes(&mut body, number);
            "ay"
        }
        "Sign" => {
            bytes(&mut body, if path == RSA_KEY { 256 } else { 64 });
            "ay"
        }
        "Decrypt" | "Agree" => {
            bytes(&mut body, 32);
            "ay"
        }
        _ => "",
    };
    (types, body.0)
}

fn key(body: &mut Writer, path: &str, label: &str, uses: &[&str], spki: &[u8]) {
    body.pad(8);
    body.text(path);
    body.array(8, |body| {
        body.pad(8);
        body.text("org.twinseal.Agent1.Key");
        properties(body, label, uses, spki);
    });
}

fn properties(body: &mut Writer, label: &str, uses: &[&str], spki: &[u8]) {
    let property = |body: &mut Writer, name: &str, types: &str| {
        body.pad(8);
        body.text(name);
        body.signature(types);
    };
    body.array(8, |body| {
        for (name, text) in
            [("Label", label), ("Version", "0.1"), ("HardwareTag", "0123456789abcdef")]
        {
            property(body, name, "s");
            body.text(text);
        }
        property(body, "Uses", "as");
        body.array(4, |body| uses.iter().for_each(|word| body.text(word)));
        for (name, value) in [("Id", &b"01"[..]), ("PublicKey", spki), ("Certificate", &[])] {
            property(body, name, "ay");
            body.array(1, |body| body.0.extend(value));
        }
    });
}

/// SubjectPublicKeyInfo of a point on P-256.
const EC: [u8; 91] = {
    let head = [
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 3, 1, 7, 3, 0x42, 0, 4,
    ];
    let mut spki = [7; 91];
    let mut at = 0;
    while at < head.len() {
        spki[at] = head[at];
        at += 1;
    }
    spki
};

/// The same of an RSA key, around its modulus.
const RSA_HEAD: [u8; 33] = [
    0x30, 0x82, 1, 0x22, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3,
    0x82, 1, 0x0f, 0, 0x30, 0x82, 1, 0x0a, 2, 0x82, 1, 1, 0,
];
const RSA_TAIL: [u8; 5] = [2, 3, 1, 0, 1];
