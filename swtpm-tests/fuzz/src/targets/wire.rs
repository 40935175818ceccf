//! D-Bus messages by hand (D-Bus specification, "Message Protocol"): only so can any value be put
//! where any other is expected.

use std::io::{Read, Result, Write};

/// Writes values in little-endian, padded as the specification wants it.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub fn u32(&mut self, value: u32) {
        self.pad(4);
        self.0.extend(value.to_le_bytes());
    }

    /// STRING and OBJECT_PATH.
    pub fn text(&mut self, value: &str) {
        self.u32(value.len() as u32);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    pub fn signature(&mut self, value: &str) {
        self.0.push(value.len() as u8);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    /// An array whose items `write` writes, aligned to `to`.
    pub fn array(&mut self, to: usize, write: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let len_at = self.0.len() - 4;
        self.pad(to);
        let start = self.0.len();
        write(self);
        let len = (self.0.len() - start) as u32;
        self.0[len_at..len_at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// A header field.
    fn field(&mut self, code: u8, signature: &str, value: &str) {
        self.pad(8);
        self.0.push(code);
        self.signature(signature);
        match signature {
            "u" => self.u32(value.parse().expect("a number")),
            "g" => self.signature(value),
            _ => self.text(value),
        }
    }
}

pub const CALL: u8 = 1;
pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const PATH: u8 = 1;
pub const INTERFACE: u8 = 2;
pub const MEMBER: u8 = 3;
pub const ERROR_NAME: u8 = 4;
pub const REPLY_SERIAL: u8 = 5;
pub const SENDER: u8 = 7;
pub const SIGNATURE: u8 = 8;

/// A whole message; `fields` are code and value.
pub fn message(kind: u8, serial: u32, fields: &[(u8, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = Writer(vec![b'l', kind, 0, 1]);
    out.u32(body.len() as u32);
    out.u32(serial);
    out.array(8, |out| {
        for (code, value) in fields.iter().filter(|(code, v)| *code != SIGNATURE || !v.is_empty()) {
            let signature = match *code {
                PATH => "o",
                REPLY_SERIAL => "u",
                SIGNATURE => "g",
                _ => "s",
            };
            out.field(*code, signature, value);
        }
    });
    out.pad(8);
    [out.0, body.to_vec()].concat()
}

/// A message as far as a bus must understand it.
pub struct Received {
    pub kind: u8,
    pub serial: u32,
    pub path: String,
    pub member: String,
    pub error: String,
    pub reply_serial: u32,
    pub body: Vec<u8>,
}

/// Reads one message.
pub fn receive(from: &mut impl Read) -> Result<Received> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let fields_len = number(12) as usize;
    let mut rest = vec![0; fields_len.next_multiple_of(8) + number(4) as usize];
    from.read_exact(&mut rest)?;
    let mut received = Received {
        kind: head[1],
        serial: number(8),
        path: String::new(),
        member: String::new(),
        error: String::new(),
        reply_serial: 0,
        body: rest[fields_len.next_multiple_of(8)..].to_vec(),
    };
    let mut at = 0;
    while at < fields_len {
        at = at.next_multiple_of(8);
        let (code, signature) = (rest[at], rest[at + 2]);
        at += 4;
        let len_at = at.next_multiple_of(if signature == b'g' { 1 } else { 4 });
        let word =
            |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (start, len) = match signature {
            b'g' => (len_at + 1, usize::from(rest[len_at])),
            b'u' => (len_at, 3),
            _ => (len_at + 4, word(len_at) as usize),
        };
        let text = || String::from_utf8_lossy(&rest[start..start + len]).into_owned();
        match code {
            PATH => received.path = text(),
            MEMBER => received.member = text(),
            ERROR_NAME => received.error = text(),
            REPLY_SERIAL => received.reply_serial = word(len_at),
            _ => {}
        }
        at = start + len + 1;
    }
    Ok(received)
}

/// The server's side of a login, which believes everything (D-Bus specification,
/// "Authentication Protocol").
pub fn log_in(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["BEGIN"] => return Ok(()),
            ["AUTH", _] => "DATA\r\n",
            ["NEGOTIATE_UNIX_FD"] => "AGREE_UNIX_FD\r\n",
            _ => "OK 0123456789abcdef0123456789abcdef\r\n",
        };
        stream.write_all(answer.as_bytes())?;
    }
}
