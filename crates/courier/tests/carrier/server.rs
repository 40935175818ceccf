//! An HTTP server that says what a test wants it to say, true or not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Header lines in lower case.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

/// What is sent, in order; then the connection is closed.
#[derive(Debug, Clone)]
pub enum Piece {
    Bytes(Vec<u8>),
    Wait(Duration),
}

/// A whole, well-formed reply.
pub fn reply(status: &str, content_type: &str, body: &[u8]) -> Vec<Piece> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    vec![Piece::Bytes([head.as_bytes(), body].concat())]
}

/// Listens on a free loopback port as long as the process lives.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Says `pieces` to every request.
    pub fn saying(pieces: Vec<Piece>) -> Self {
        Self::start(None, pieces)
    }

    /// The same behind TLS.
    pub fn with_tls(config: ServerConfig, pieces: Vec<Piece>) -> Self {
        Self::start(Some(Arc::new(config)), pieces)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn origin(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }

    fn start(tls: Option<Arc<ServerConfig>>, pieces: Vec<Piece>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, pieces, told) = (tls.clone(), pieces.clone(), Arc::clone(&told));
                thread::spawn(move || match tls {
                    None => answer(stream.unwrap(), &pieces, &told),
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        answer(StreamOwned::new(session, stream.unwrap()), &pieces, &told)
                    }
                });
            }
        });
        Self { address, seen }
    }
}

/// A client that leaves in the middle is part of the game.
fn answer(mut stream: impl Read + Write, pieces: &[Piece], seen: &Mutex<Vec<Seen>>) {
    let Some(request) = read(&mut stream) else { return };
    seen.lock().unwrap().push(request);
    for piece in pieces {
        match piece {
            Piece::Wait(time) => thread::sleep(*time),
            Piece::Bytes(bytes) => {
                if stream.write_all(bytes).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().to_lowercase() {
            empty if empty.is_empty() => break,
            header => headers.push(header),
        }
    }
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Seen { line, headers, body })
}

/// A port on which nobody listens.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    port
}
