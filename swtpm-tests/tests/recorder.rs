//! The recorder passes everything on, keeps it, and can be cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use twinseal_swtpm_tests::{Recorder, Tape};

#[test]
fn it_keeps_both_directions_apart_for_each_connection() {
    let recorder = Recorder::start(shouter());
    assert_eq!(ask(&recorder, b"first").unwrap(), b"FIRST");
    let big = vec![b'x'; 1 << 20];
    assert_eq!(ask(&recorder, &big).unwrap(), vec![b'X'; 1 << 20]);
    let tapes = recorder.tapes();
    let first = Tape { up: b"first".to_vec(), down: b"FIRST".to_vec() };
    assert_eq!((tapes.len(), &tapes[0]), (2, &first));
    assert_eq!(tapes[1].up, big);
    assert!(recorder.heard(b"irst") && recorder.heard(b"FIRST"));
    assert!(!recorder.heard(b"second"));
}

#[test]
fn a_cut_ends_connections_and_mending_allows_new_ones() {
    let recorder = Recorder::start(shouter());
    let mut open = TcpStream::connect(recorder.address()).unwrap();
    open.write_all(b"a").unwrap();
    let mut answer = [0];
    open.read_exact(&mut answer).unwrap();
    recorder.cut();
    assert_ne!(open.read(&mut answer).unwrap_or(0), 1);
    assert_ne!(ask(&recorder, b"b").unwrap_or_default(), b"B");
    recorder.mend();
    assert_eq!(ask(&recorder, b"c").unwrap(), b"C");
    assert!(!recorder.heard(b"B"));
}

#[test]
fn a_server_may_be_down_and_may_move() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let recorder = Recorder::start(gone);
    assert_ne!(ask(&recorder, b"a").unwrap_or_default(), b"A");
    recorder.set_upstream(shouter());
    assert_eq!(ask(&recorder, b"b").unwrap(), b"B");
}

#[test]
fn its_port_is_free_when_it_is_gone() {
    let recorder = Recorder::start(shouter());
    let address = recorder.address();
    drop(recorder);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < deadline, "it still listens");
        thread::yield_now();
    }
}

/// A server that answers in capital letters.
fn shouter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count].to_ascii_uppercase()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn ask(recorder: &Recorder, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(recorder.address())?;
    let mut writer = stream.try_clone()?;
    let question = question.to_vec();
    let writing = thread::spawn(move || {
        writer.write_all(&question)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    writing.join().unwrap()?;
    Ok(answer)
}
