//! The few lines of HTTP/1.1 that a test of a back end needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A back end's way to a server: an address and an API key.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    key: String,
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body, where it is JSON; else null.
    pub json: Value,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Api {
    /// Calls `address` with `key`.
    pub fn new(address: SocketAddr, key: impl Into<String>) -> Self {
        Self { address, key: key.into() }
    }

    /// GET of a path such as `/api/v1/devices`.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    /// POST of a JSON body.
    pub fn post(&self, path: &str, json: &Value) -> Reply {
        self.send("POST", path, json.to_string().as_bytes(), "application/json")
    }

    /// The same key for a server that has moved.
    #[must_use]
    pub fn moved_to(&self, address: SocketAddr) -> Self {
        Self { address, key: self.key.clone() }
    }

    /// Any request, on a connection of its own.
    ///
    /// # Panics
    /// When no answer comes within 60 seconds.
    pub fn send(&self, method: &str, path: &str, body: &[u8], content_type: &str) -> Reply {
        let answer = self.try_send(method, path, body, content_type);
        answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// As [`Api::send`], for when the server may be gone.
    ///
    /// # Errors
    /// Those of the connection; what is not HTTP, or not whole.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        content_type: &str,
    ) -> std::io::Result<Reply> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            self.key,
            body.len()
        );
        let answer = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        };
        parse(&answer()?).ok_or(std::io::ErrorKind::InvalidData.into())
    }
}

impl Reply {
    /// The JSON body of a success.
    ///
    /// # Panics
    /// When the status says otherwise; the message holds the answer.
    pub fn ok(self) -> Value {
        let said = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{}: {said}", self.status);
        self.json
    }
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Reply { status, json, body })
}

/// RFC 9112 section 7.1, without trailers.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let start = line + 2;
        body.extend_from_slice(rest.get(start..start + size)?);
        if size == 0 {
            return Some(body);
        }
        rest = rest.get(start + size + 2..)?;
    }
}

#[test]
fn answers_are_read_whole_and_chunked() {
    let whole = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(parse(whole).unwrap().status, 404);
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n";
    assert_eq!(parse(chunked).unwrap().json, serde_json::json!({ "a": 1 }));
    assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\r\n").is_none());
}
