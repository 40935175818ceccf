//! Calls against a bus that does what a test wants: answers, leaves, or says nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::SocketAddrUnix;

use super::address::Address;
use super::connection::{self, Call, Connection, Failure};
use super::pool::Bus;
use super::wire::{Argument, Value, Writer};

/// What the bus does with the calls of one connection, by their number.
type Behaviour = fn(usize) -> Reaction;

enum Reaction {
    Answer,
    Refuse,
    Leave,
    Silence,
    Junk,
    /// Signals, and an answer to somebody else, before the answer.
    Chatter,
}

/// A bus that a test plays; its socket goes with it.
struct Played(PathBuf);

impl Played {
    fn start(name: &str, behaviour: Behaviour) -> Self {
        let path = std::env::temp_dir().join(format!("twinseal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || serve(&stream, behaviour));
            }
        });
        Self(path)
    }

    fn bus(&self) -> Bus {
        Bus::at(Address::new(&format!("unix:path={}", self.0.display())))
    }

    fn connect(&self) -> Connection {
        Connection::open(&SocketAddrUnix::new(Path::new(&self.0)).unwrap(), soon()).unwrap()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `None` when the other end has gone.
fn serve(stream: &UnixStream, behaviour: Behaviour) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    assert!(line.starts_with("\0AUTH EXTERNAL "), "{line}");
    writer.write_all(b"OK 00\r\n").ok()?;
    line.clear();
    reader.read_line(&mut line).ok()?;
    assert_eq!(line, "BEGIN\r\n");
    // The first call is the greeting.
    let greeting = read_serial(&mut reader)?;
    writer.write_all(&answer(2, greeting, b"")).ok()?;
    for number in 0.. {
        let serial = read_serial(&mut reader)?;
        match behaviour(number) {
            Reaction::Answer => writer.write_all(&answer(2, serial, b"yes")).ok()?,
            Reaction::Refuse => writer.write_all(&answer(3, serial, b"no")).ok()?,
            Reaction::Leave => return None,
            Reaction::Silence => {}
            Reaction::Junk => writer.write_all(&[b'x'; 64]).ok()?,
            Reaction::Chatter => {
                let all = [
                    answer(4, serial, b""),
                    answer(2, serial + 1, b"x"),
                    answer(2, serial, b"yes"),
                ];
                // In pieces that are no messages.
                for piece in all.concat().chunks(7) {
                    writer.write_all(piece).ok()?;
                }
            }
        }
    }
    Some(())
}

fn read_serial(reader: &mut impl Read) -> Option<u32> {
    let mut head = [0; 16];
    reader.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let rest = (16 + number(12) as usize).next_multiple_of(8) - 16 + number(4) as usize;
    reader.read_exact(&mut vec![0; rest]).ok()?;
    Some(number(8))
}

/// A message of this kind, with these bytes as its body's array.
fn answer(kind: u8, reply_to: u32, bytes: &[u8]) -> Vec<u8> {
    let mut body = Writer::default();
    body.argument(&Argument::Bytes(bytes));
    let mut message = Writer::default();
    message.0.extend([b'l', kind, 0, 1]);
    message.u32(u32::try_from(body.0.len()).unwrap());
    message.u32(77);
    message.array(8, |w| {
        w.0.push(5);
        w.signature("u");
        w.u32(reply_to);
        if kind == 3 {
            w.pad(8);
            w.0.push(4);
            w.signature("s");
            w.text("org.example.No");
        }
        w.pad(8);
        w.0.push(8);
        w.signature("g");
        w.signature("ay");
    });
    message.pad(8);
    [message.0, body.0].concat()
}

const CALL: Call<'_> = Call {
    destination: "org.example",
    path: "/",
    interface: "org.example",
    method: "Do",
    arguments: &[Argument::Text("it")],
};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn yes() -> Result<Vec<Value>, Failure> {
    Ok(vec![Value::Bytes(b"yes".to_vec())])
}

#[test]
fn calls_are_answered_whatever_else_comes() {
    let played = Played::start("chatter", |number| match number {
        0 => Reaction::Chatter,
        1 => Reaction::Refuse,
        _ => Reaction::Answer,
    });
    let mut connection = played.connect();
    assert_eq!(connection.call(&CALL, soon()), yes());
    let refused = Failure::Refused("org.example.No".to_owned());
    assert_eq!(connection.call(&CALL, soon()), Err(refused));
    assert_eq!(connection.call(&CALL, soon()), yes());
}

#[test]
fn a_bus_that_says_nothing_is_not_waited_for() {
    let played = Played::start("silence", |_| Reaction::Silence);
    let mut connection = played.connect();
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(connection.call(&CALL, deadline), Err(Failure::Late));
    assert!(Instant::now() >= deadline);
}

#[test]
fn junk_is_no_answer() {
    let played = Played::start("junk", |_| Reaction::Junk);
    assert_eq!(played.connect().call(&CALL, soon()), Err(Failure::Malformed));
}

#[test]
fn a_bus_that_was_there_before_is_found_again() {
    let nowhere = Bus::at(Address::new("unix:path=/nowhere"));
    assert_eq!(nowhere.call(&CALL), Err(Failure::NoBus));
    let played = Played::start("again", |number| match number {
        0 => Reaction::Answer,
        _ => Reaction::Leave,
    });
    let bus = played.bus();
    assert_eq!(bus.call(&CALL), yes());
    // It goes while it works: what became of the call is not known, so it is not made again.
    assert_eq!(bus.call(&CALL), Err(Failure::Lost));
    assert_eq!(bus.call(&CALL), yes());
}

#[test]
fn a_connection_that_ended_at_rest_is_replaced() {
    let played = Played::start("rest", |_| Reaction::Answer);
    let mut connection = played.connect();
    assert!(connection.is_alive());
    let (mine, other) = UnixStream::pair().unwrap();
    mine.set_nonblocking(true).unwrap();
    let mut orphan = Connection::over(mine.into());
    assert!(orphan.is_alive());
    drop(other);
    assert!(!orphan.is_alive());
}

#[test]
fn threads_do_not_wait_for_one_another() {
    let played = Played::start("threads", |_| Reaction::Answer);
    let bus = Arc::new(played.bus());
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let bus = bus.clone();
            thread::spawn(move || (0..50).for_each(|_| assert_eq!(bus.call(&CALL), yes())))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Fifty thousand messages that are nearly right: they are read or refused, and neither
/// takes long nor panics.
#[test]
fn damaged_messages_are_read_or_refused() {
    let whole = answer(2, 9, b"yes");
    assert_eq!(connection::answer(&whole, 9), Ok(Some(yes())));
    let (mut state, mut refused) = (88_172_645_463_325_252_u64, 0);
    let mut draw = || {
        // Xorshift: the same at every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..50_000 {
        let mut damaged = whole.clone();
        for _ in 0..=draw() % 4 {
            let at = usize::try_from(draw()).unwrap() % damaged.len();
            damaged[at] = draw().to_le_bytes()[0];
        }
        damaged.truncate(usize::try_from(draw()).unwrap() % 200);
        let _ = connection::message_length(&damaged);
        refused += usize::from(connection::answer(&damaged, 9).is_err());
    }
    assert!(refused > 25_000, "{refused}");
}
