//! A relay for HTTP between a courier and its server, and what can happen to a request on it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::door::Door;
use crate::plan::{Plan, kill};

/// What can happen to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireMishap {
    /// This process is killed before the server has the request.
    KillBefore(u32),
    /// This process is killed when the server has answered, before the reply.
    KillAfter(u32),
    /// It never reaches the server.
    LostRequest,
    /// The server does it; the reply never comes.
    LostReply,
    /// The server gets it twice at once; one of the replies comes.
    Duplicate,
    /// A gateway answers with this status; it does not reach the server.
    Status(u16),
    /// The server does it; the body of the reply is as long, and nonsense.
    Garbage,
}

/// A relay on a free loopback port that understands as much of HTTP/1.1 as couriers and servers
/// use: bodies with a length.
#[derive(Debug)]
pub struct Relay {
    door: Door,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    plan: Plan<WireMishap>,
}

impl Relay {
    /// Relays to `upstream`, which need not listen yet.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let shared = Arc::new(Mutex::new(Shared { upstream, plan: Plan::default() }));
        let state = Arc::clone(&shared);
        let door = Door::open(listener, move |client| {
            let shared = Arc::clone(&state);
            // Either side may leave at any time; that ends this connection alone.
            thread::spawn(move || serve(client, &shared));
        });
        Self { door, shared }
    }

    /// Where couriers connect to.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// From now on requests go there: the server has moved.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        lock(&self.shared).upstream = upstream;
    }

    /// This happens to the `nth` request from now on, which is 1 for the next, and to no other.
    pub fn meet(&self, nth: u32, mishap: WireMishap) {
        lock(&self.shared).plan.set(nth, mishap);
    }

    /// Whether the mishap that was asked for is still to come; forgets it.
    pub fn take_mishap(&self) -> bool {
        lock(&self.shared).plan.take()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut client: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        let request = read_message(&mut client)?;
        let mishap = lock(shared).plan.pass();
        match mishap {
            Some(WireMishap::LostRequest) => return Ok(()),
            Some(WireMishap::KillBefore(pid)) => {
                kill(pid);
                return Ok(());
            }
            Some(WireMishap::Status(status)) => {
                let reply =
                    format!("HTTP/1.1 {status} Sorry\r\ncontent-length: 9\r\n\r\ntry later");
                client.write_all(reply.as_bytes())?;
                continue;
            }
            _ => {}
        }
        let mut reply = thread::scope(|scope| {
            if mishap == Some(WireMishap::Duplicate) {
                scope.spawn(|| ask(shared, &request));
            }
            ask(shared, &request)
        })?;
        match mishap {
            Some(WireMishap::LostReply) => return Ok(()),
            Some(WireMishap::KillAfter(pid)) => {
                kill(pid);
                return Ok(());
            }
            Some(WireMishap::Garbage) => {
                let body = end_of_head(&reply).unwrap_or(reply.len());
                reply[body..].fill(0xa5);
            }
            _ => {}
        }
        client.write_all(&reply)?;
    }
}

/// Each request has a connection of its own to the server, which may be another by now.
fn ask(shared: &Mutex<Shared>, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let upstream = lock(shared).upstream;
    let mut server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    server.write_all(request)?;
    read_message(&mut server)
}

/// Head and body.
fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(body) = end_of_head(&message)
            && message.len() >= body + content_length(&message[..body])
        {
            return Ok(message);
        }
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => message.extend_from_slice(&buffer[..count]),
        }
    }
}

fn end_of_head(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|place| place + 4)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
