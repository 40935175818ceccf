//! A wire with a tape: a TCP relay that keeps every byte, and that can be cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::door::Door;

/// What went over one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tape {
    /// From who connected to who was connected to.
    pub up: Vec<u8>,
    /// The other way.
    pub down: Vec<u8>,
}

/// One HTTP exchange on a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The last part of its path.
    pub kind: String,
    /// The body that went up.
    pub request: Vec<u8>,
    /// The body that came down.
    pub reply: Vec<u8>,
}

/// A relay on a free loopback port, between a client and the server behind it.
///
/// It copies bytes and understands none of them, so what it has on tape is what an attacker on
/// the network has.
#[derive(Debug)]
pub struct Recorder {
    door: Door,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    cut: bool,
    tapes: Vec<Tape>,
    open: Vec<TcpStream>,
}

impl Recorder {
    /// Relays to `upstream`, which need not listen yet.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self::on(listener, upstream)
    }

    pub(crate) fn on(listener: TcpListener, upstream: SocketAddr) -> Self {
        let shared = Shared { upstream, cut: false, tapes: Vec::new(), open: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let state = Arc::clone(&shared);
        let door = Door::open(listener, move |client| connect(client, &state));
        Self { door, shared }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// From now on, new connections go there: the server has moved.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        lock(&self.shared).upstream = upstream;
    }

    /// Cuts the wire: ends all connections, and every new one at once.
    pub fn cut(&self) {
        let mut shared = lock(&self.shared);
        shared.cut = true;
        shared.hang_up();
    }

    /// Mends the wire.
    pub fn mend(&self) {
        lock(&self.shared).cut = false;
    }

    /// All connections so far, in the order in which they were opened.
    pub fn tapes(&self) -> Vec<Tape> {
        lock(&self.shared).tapes.clone()
    }

    /// Every whole HTTP exchange so far.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for tape in self.tapes() {
            let (up, down) = (http_messages(&tape.up), http_messages(&tape.down));
            for ((head, request), (_, reply)) in up.into_iter().zip(down) {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
                calls.push(Call { kind, request, reply });
            }
        }
        calls
    }

    /// Whether `needle` was ever on the wire within one connection, in either direction.
    ///
    /// # Panics
    /// When `needle` is empty: that would be found anywhere.
    pub fn heard(&self, needle: &[u8]) -> bool {
        assert!(!needle.is_empty(), "nothing to listen for");
        let within = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        lock(&self.shared).tapes.iter().any(|tape| within(&tape.up) || within(&tape.down))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn hang_up(&mut self) {
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(client: TcpStream, shared: &Arc<Mutex<Shared>>) {
    let upstream = {
        let shared = lock(shared);
        match shared.cut {
            true => return,
            false => shared.upstream,
        }
    };
    // A server that is down looks like one: the client's connection ends.
    if let Ok(server) = TcpStream::connect(upstream) {
        relay(client, server, shared);
    }
}

fn relay(client: TcpStream, server: TcpStream, shared: &Arc<Mutex<Shared>>) {
    let twin = |stream: &TcpStream| stream.try_clone().expect("a second handle of a socket");
    let tape = {
        let mut shared = lock(shared);
        shared.open.extend([twin(&client), twin(&server)]);
        shared.tapes.push(Tape::default());
        shared.tapes.len() - 1
    };
    // Many small writes each way: without this, each waits for the acknowledgement of the last.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let (client_twin, server_twin) = (twin(&client), twin(&server));
    let (up, down) = (Arc::clone(shared), Arc::clone(shared));
    thread::spawn(move || {
        copy(client, server, |bytes| {
            lock(&up).tapes[tape].up.extend_from_slice(bytes);
        });
    });
    thread::spawn(move || {
        copy(server_twin, client_twin, |bytes| {
            lock(&down).tapes[tape].down.extend_from_slice(bytes);
        });
    });
}

/// Bytes are on tape before they are passed on, so whoever has an answer finds its request here.
fn copy(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Head and body of each message of one direction of a connection.
fn http_messages(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let (start, length): (usize, usize) = (end + 4, length.unwrap_or(0));
        let Some(body) = bytes.get(start..start + length) else { break };
        messages.push((head, body.to_vec()));
        bytes = &bytes[start + length..];
    }
    messages
}
