//! One connection to the bus: its greeting, calls, and what to do with everything else.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use zeroize::{Zeroize, Zeroizing};

use super::wire::{Argument, Reader, Value, Writer};

/// The longest message that is read or sent, bytes. The agent's longest is a list of all keys.
const MESSAGE_BYTES: usize = 16 << 20;
/// What every message begins with: the fixed part, and the length of its fields.
const HEAD_BYTES: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u64 = 2;
const ERROR: u64 = 3;

/// A method call.
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) method: &'a str,
    pub(crate) arguments: &'a [Argument<'a>],
}

/// Why a call has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No bus answers at its address.
    NoBus,
    /// The connection ended while the call was under way; it may have been done.
    Lost,
    /// There was no answer in time; it may yet be done.
    Late,
    /// What came is not D-Bus, or longer than anything should be.
    Malformed,
    /// An error was the answer; this is its name.
    Refused(String),
}

/// A connection that has been greeted.
pub(super) struct Connection {
    socket: OwnedFd,
    serial: u32,
    /// What has come in and was not read yet: less than one message, but for a moment.
    received: Zeroizing<Vec<u8>>,
}

impl Connection {
    /// Connects and says hello.
    pub(super) fn open(socket: &SocketAddrUnix, deadline: Instant) -> Result<Self, Failure> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|_| Failure::NoBus)?;
        // A bus with a full queue says EAGAIN.
        connect(&fd, socket).map_err(|_| Failure::NoBus)?;
        let mut connection = Self::over(fd);
        connection.authenticate(deadline)?;
        let hello = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            method: "Hello",
            arguments: &[],
        };
        connection.call(&hello, deadline)?;
        Ok(connection)
    }

    /// Over a socket that is not greeted yet, and does not block.
    pub(super) fn over(socket: OwnedFd) -> Self {
        Self { socket, serial: 0, received: Zeroizing::default() }
    }

    /// Sends a call and waits for its answer. After any failure but `Refused` the connection is
    /// of no more use.
    pub(super) fn call(
        &mut self,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = Zeroizing::new(written(call, self.serial));
        if message.len() > MESSAGE_BYTES {
            return Err(Failure::Malformed);
        }
        self.send(&message, deadline)?;
        loop {
            let message = self.message(deadline)?;
            if let Some(answer) = answer(&message, self.serial)? {
                return answer;
            }
        }
    }

    /// Whether the other end is still there. Reads away the signals that have come.
    pub(super) fn is_alive(&mut self) -> bool {
        loop {
            match self.read_what_is_there() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            while let Ok(Some(length)) = message_length(&self.received) {
                if self.received.len() < length {
                    break;
                }
                self.received.drain(..length);
            }
        }
    }

    /// As the user that the process acts for (D-Bus Specification, "EXTERNAL").
    fn authenticate(&mut self, deadline: Instant) -> Result<(), Failure> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let mut request = "\0AUTH EXTERNAL ".to_owned();
        for digit in uid.bytes() {
            let _ = write!(request, "{digit:02x}");
        }
        request += "\r\n";
        self.send(request.as_bytes(), deadline)?;
        let line = loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                break self.received.drain(..end + 2).collect::<Vec<u8>>();
            }
            if self.received.len() > 1000 {
                return Err(Failure::Malformed);
            }
            self.wait_and_read(deadline)?;
        };
        match line.starts_with(b"OK ") {
            true => self.send(b"BEGIN\r\n", deadline),
            false => Err(Failure::NoBus),
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, Failure> {
        loop {
            if let Some(length) = message_length(&self.received)?
                && self.received.len() >= length
            {
                let rest = self.received.split_off(length);
                return Ok(std::mem::replace(&mut self.received, Zeroizing::new(rest)));
            }
            self.wait_and_read(deadline)?;
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Failure::Lost),
            }
        }
        Ok(())
    }

    fn wait_and_read(&mut self, deadline: Instant) -> Result<(), Failure> {
        while !self.read_what_is_there()? {
            self.wait(PollFlags::IN, deadline)?;
        }
        Ok(())
    }

    /// Whether something was there.
    fn read_what_is_there(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        let read = loop {
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Failure::Lost),
                Ok((read, _)) => break read,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Failure::Lost),
            }
        };
        self.received.extend(buffer.get(..read).unwrap_or_default());
        buffer.zeroize();
        Ok(true)
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(Failure::Late);
            }
            let left = Timespec::try_from(left).map_err(|_| Failure::Late)?;
            let mut fds = [PollFd::new(&self.socket, flags)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return Err(Failure::Late),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Failure::Lost),
            }
        }
    }
}

fn written(call: &Call<'_>, serial: u32) -> Vec<u8> {
    let mut body = Writer::default();
    let mut signature = String::new();
    for argument in call.arguments {
        body.argument(argument);
        signature += argument.signature();
    }
    let body = Zeroizing::new(body.0);
    let mut message = Writer::default();
    // Little-endian, no flags, protocol 1.
    message.0.extend([b'l', METHOD_CALL, 0, 1]);
    message.u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    message.u32(serial);
    message.array(8, |w| {
        let texts = [
            (1, "o", call.path),
            (2, "s", call.interface),
            (3, "s", call.method),
            (6, "s", call.destination),
        ];
        for (code, kind, text) in texts {
            w.pad(8);
            w.0.push(code);
            w.signature(kind);
            w.text(text);
        }
        if !signature.is_empty() {
            w.pad(8);
            w.0.push(8);
            w.signature("g");
            w.signature(&signature);
        }
    });
    message.pad(8);
    message.0.extend(body.as_slice());
    message.0
}

/// How long the message is that these bytes begin; `None` while they do not tell.
pub(super) fn message_length(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head) = bytes.get(..HEAD_BYTES) else {
        return Ok(None);
    };
    let is_big_endian = byte_order(head)?;
    let length = || {
        let mut reader = Reader::new(head, is_big_endian);
        reader.number(4)?;
        let body = usize::try_from(reader.number(4)?).ok()?;
        reader.number(4)?;
        let fields = usize::try_from(reader.number(4)?).ok()?;
        let head = HEAD_BYTES.checked_add(fields)?.checked_next_multiple_of(8)?;
        head.checked_add(body).filter(|length| *length <= MESSAGE_BYTES)
    };
    length().map(Some).ok_or(Failure::Malformed)
}

/// Whether it is big-endian.
fn byte_order(message: &[u8]) -> Result<bool, Failure> {
    match message.first() {
        Some(b'l') => Ok(false),
        Some(b'B') => Ok(true),
        _ => Err(Failure::Malformed),
    }
}

/// What a call was answered.
pub(super) type Answer = Result<Vec<Value>, Failure>;

/// What this message says to the call of this number; `None` where it says nothing to it.
pub(super) fn answer(message: &[u8], serial: u32) -> Result<Option<Answer>, Failure> {
    let read = || {
        let is_big_endian = byte_order(message).ok()?;
        let mut reader = Reader::new(message, is_big_endian);
        let head = reader.value(b"(yyyyuua(yv))", 8)?;
        let [_, kind, _, _, body_bytes, _, fields] = head.list() else { return None };
        let field = |code: u64| {
            let is_it = |pair: &&Value| pair.list().first().and_then(Value::number) == Some(code);
            fields.list().iter().find(is_it).and_then(|pair| pair.list().get(1)).cloned()
        };
        let body_bytes = usize::try_from(body_bytes.number()?).ok()?;
        let body = message.get(message.len().checked_sub(body_bytes)?..)?;
        Some((kind.number()?, field(5), field(4), field(8), Reader::new(body, is_big_endian)))
    };
    let (kind, reply_to, error, signature, body) = read().ok_or(Failure::Malformed)?;
    if reply_to.and_then(|value| value.number()) != Some(serial.into()) {
        return Ok(None);
    }
    let text = |value: Option<Value>| value.and_then(|value| value.text().map(str::to_owned));
    match kind {
        METHOD_RETURN => {
            let signature = text(signature).unwrap_or_default();
            body.all(&signature).map(|values| Some(Ok(values))).ok_or(Failure::Malformed)
        }
        ERROR => Ok(Some(Err(Failure::Refused(text(error).unwrap_or_default())))),
        _ => Ok(None),
    }
}
