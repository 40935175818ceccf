//! Peers that only want to use the server up. Whoever is honest is served meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::message::Outer;
use twinseal_server::http::Limits;

use crate::device::{Device, opened};
use crate::outside::forged;
use crate::rig::{Place, Server, address, client};

/// As long as nothing but a hang takes here.
const LONG: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// Whether the peer has hung up: nothing more comes.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 1024];
    loop {
        match timeout(Duration::from_millis(1), stream.read(&mut rest)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

/// Sends `begun`, then a byte from time to time, until the server hangs up. Gives its reply.
async fn drip(url: &str, begun: &str) -> (Duration, String) {
    let mut stream = TcpStream::connect(address(url)).await.unwrap();
    let start = Instant::now();
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let mut part = [0; 1024];
    loop {
        match timeout(Duration::from_millis(50), stream.read(&mut part)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(len)) => reply.extend_from_slice(&part[..len]),
            Err(_) if begun.is_empty() || begun.ends_with("\r\n\r\n") && reply.len() > 12 => {}
            Err(_) => drop(stream.write_all(b"x").await),
        }
        assert!(start.elapsed() < LONG, "it waits for ever: {begun:?}");
    }
    (start.elapsed(), String::from_utf8_lossy(&reply).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_cut_off_and_holds_nobody_up() {
    let place = Place::new();
    let second = Duration::from_secs(1);
    let limits = Limits {
        head_timeout: 2 * second,
        body_timeout: 2 * second,
        connection_life: 6 * second,
        drain: second,
        ..Limits::default()
    };
    let server = place.serve_within(limits).await;
    let mut device = Device::ready_at(&place, &server.device, [7; 32]).await;
    let post = "POST /device/v1/message HTTP/1.1\r\nhost: x\r\ncontent-type: application/cose\r\n";
    let body = format!("{post}content-length: 1000\r\n\r\n");
    let chunks = format!("{post}transfer-encoding: chunked\r\n\r\n");
    let whole = format!("{post}content-length: 1\r\n\r\n\0");
    let url = server.device.clone();
    let slow = tokio::spawn(async move {
        tokio::join!(
            drip(&url, "POST /device/v1/mess"),
            drip(&url, &body),
            drip(&url, &chunks),
            drip(&url, ""),
            drip(&url, &whole),
        )
    });
    // The honest one works all the time that the slow ones take.
    let (mut trade, open) = opened(1, Outer::Serial);
    assert_eq!(
        device.tell(&device.seal_as(Outer::Serial, 1, &open.encode())).await,
        Answer::Accepted
    );
    let mut told = 1;
    while !slow.is_finished() || told < 5 {
        told += 1;
        let content = trade.data("", b"honest".to_vec()).unwrap();
        let envelope = device.seal_as(Outer::Serial, told, &content.encode());
        assert_eq!(timeout(LONG, device.tell(&envelope)).await.unwrap(), Answer::Accepted);
    }
    device.follow_seq(told);
    let (head, body, chunks, silent, kept) = slow.await.unwrap();
    let least = Duration::from_millis(1900);
    assert!(head.0 >= least && !head.1.contains("200"), "{head:?}");
    assert!(body.0 >= least && body.1.contains("400 Bad Request"), "{body:?}");
    // A chunk's size that is not one is refused at once.
    assert!(chunks.1.contains("400 Bad Request"), "{chunks:?}");
    assert!(silent.0 >= least && silent.1.is_empty(), "{silent:?}");
    // A connection that has been answered, and is then kept without a use.
    assert!(kept.0 >= least && kept.1.contains("400 Bad Request"), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_connection_for_ever() {
    let place = Place::new();
    let life = Duration::from_secs(2);
    let limits = Limits { connection_life: life, ..Limits::default() };
    let server = place.serve_within(limits).await;
    let mut stream = TcpStream::connect(address(&server.backend)).await.unwrap();
    let start = Instant::now();
    let mut reply = [0; 4096];
    while stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
        assert!(start.elapsed() < LONG);
        match stream.read(&mut reply).await {
            Ok(0) | Err(_) => break,
            Ok(len) => assert!(String::from_utf8_lossy(&reply[..len]).contains("200 OK")),
        }
    }
    assert!(start.elapsed() >= life);
}

/// Three thousand, which is three times what there is room for; ten thousand in a whole run, as
/// far as the limit of open files allows them.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let wanted = if std::env::var_os("TWINSEAL_TEST_ALL").is_some() { 10_000 } else { 3000 };
    let most = limit.maximum.map_or(wanted, |max| max.saturating_sub(300).min(wanted)) as usize;
    assert!(most >= 3000, "the limit of open files allows no more than {most} connections");
    let place = Place::new();
    let server = place.serve();
    let mut device = Device::ready(&place, &server, [7; 32]).await;
    let mut held = Vec::with_capacity(most);
    for number in 0..most {
        let connecting = TcpStream::connect(address(&server.device));
        let mut stream = timeout(LONG, connecting).await.unwrap().unwrap();
        // Some have begun to speak.
        if number % 2 == 0 {
            let _ = stream.write_all(b"POST /device/v1/mess").await;
        }
        held.push(stream);
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(open < 1024 + 100, "the server holds {open} files");
    // A new connection, and one that was made before all of those, and has lost its place.
    let begun = Instant::now();
    let health = client().post(format!("{}/device/v1/challenge", server.device)).send();
    assert_eq!(timeout(LONG, health).await.unwrap().unwrap().status().as_u16(), 400);
    let (_, content) = opened(1, Outer::Serial);
    let envelope = device.seal(Outer::Serial, &content);
    assert_eq!(timeout(LONG, device.tell(&envelope)).await.unwrap(), Answer::Accepted);
    println!("among {most} idle connections: served after {:?}", begun.elapsed());
    // Room was made by ending those that had waited longest, not by waiting for their time.
    assert!(is_closed(&mut held[0]).await);
    assert!(held.len() >= most);
}

/// Who is worked for keeps his place: long polls outlast a crowd of idle newcomers.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_newcomers_ends_no_request_in_work() {
    let place = Place::new();
    let limits = Limits { connections_max: 8, ..Limits::default() };
    let server = place.serve_within(limits).await;
    let device = Arc::new(Device::ready_at(&place, &server.device, [7; 32]).await);
    let fetch = device.fetching(5000, &[]);
    let mut polls = JoinSet::new();
    for _ in 0..5 {
        let (device, fetch) = (device.clone(), fetch.clone());
        polls.spawn(async move { device.post("fetch", &fetch).await.1 });
    }
    let nothing = |answer: Vec<u8>| assert_eq!(device.read(&fetch, &answer), Answer::Nothing);
    // One more than may wait: when it is answered, the other four are in work.
    nothing(polls.join_next().await.unwrap().unwrap());
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(address(&server.device)).await.unwrap());
    }
    // All but the last of it have made room.
    for newcomer in &mut crowd[..96] {
        let ended = async { while !is_closed(newcomer).await {} };
        timeout(LONG, ended).await.unwrap();
    }
    while let Some(answer) = polls.join_next().await {
        nothing(answer.unwrap());
    }
}

/// A server's memory, in bytes, at its highest.
fn memory_peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Sends a head and ten mebibytes; gives the first line of the reply, if it came through.
async fn send_much(url: String, head: String) -> String {
    let mut stream = TcpStream::connect(address(&url)).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let body = vec![0xd2; 10 * MIB];
    let write = async {
        let _ = writing.write_all(head.as_bytes()).await;
        let _ = writing.write_all(&body).await;
    };
    let read = async {
        let mut reply = vec![0; 512];
        let len = reading.read(&mut reply).await.unwrap_or(0);
        String::from_utf8_lossy(&reply[..len]).lines().next().unwrap_or_default().to_owned()
    };
    timeout(LONG, async { tokio::join!(write, read).1 }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_ten_mebibytes_are_refused_and_not_kept() {
    let place = Place::new();
    let server = place.serve();
    let key = place.api_key();
    let mut device = Device::ready(&place, &server, [7; 32]).await;
    let before = memory_peak(&server);
    let length = format!("content-length: {}\r\n\r\n", 10 * MIB);
    let head =
        |path: &str, rest: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{rest}{length}");
    let inbox = "/api/v1/inbox/acknowledge";
    let cose = head("/device/v1/message", "content-type: application/cose\r\n");
    let with_key = head(inbox, &format!("authorization: Bearer {key}\r\n"));
    let mut sending = JoinSet::new();
    for _ in 0..16 {
        sending.spawn(send_much(server.device.clone(), cose.clone()));
        sending.spawn(send_much(server.backend.clone(), with_key.clone()));
        sending.spawn(send_much(server.backend.clone(), head(inbox, "")));
    }
    let (_, content) = opened(1, Outer::Serial);
    let envelope = device.seal(Outer::Serial, &content);
    assert_eq!(timeout(LONG, device.tell(&envelope)).await.unwrap(), Answer::Accepted);
    let mut replies = sending.join_all().await;
    replies.sort();
    replies.dedup();
    let refusals = ["", "HTTP/1.1 400 Bad Request", "HTTP/1.1 401 Unauthorized"];
    assert!(replies.iter().all(|reply| refusals.contains(&reply.as_str())), "{replies:?}");
    assert!(replies.len() > 1, "none came through: {replies:?}");
    let grown = memory_peak(&server) - before;
    println!("480 MiB were sent, and the server's memory grew by {} KiB at most", grown / 1024);
    assert!(grown < 64 * MIB, "{grown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_envelopes_changes_nothing_and_holds_nobody_up() {
    let place = Place::new();
    let server = place.serve();
    let mut device = Device::ready(&place, &server, [7; 32]).await;
    let (mut trade, open) = opened(1, Outer::Serial);
    let envelope = device.seal(Outer::Serial, &open);
    assert_eq!(device.tell(&envelope).await, Answer::Accepted);
    let known = device.bond.device_id;
    let epoch = device.keys.as_ref().unwrap().epoch;
    let recorded = place.json(&["audit"])["audit"].as_array().unwrap().len();
    let forgeries: Vec<Vec<u8>> = (0..8)
        .map(|number| {
            let device = if number % 2 == 0 { known } else { crate::outside::unknown() };
            let outer = if number < 4 { Outer::Serial } else { Outer::Key };
            forged(device, epoch, 2 + number, outer)
        })
        .collect();
    let flooding: Vec<_> = (0..8)
        .map(|_| {
            let (url, forgeries) = (server.device.clone(), forgeries.clone());
            tokio::spawn(async move { flood(url, forgeries).await })
        })
        .collect();
    for _ in 0..10 {
        let content = trade.data("", b"honest".to_vec()).unwrap();
        let envelope = device.seal(Outer::Serial, &content);
        assert_eq!(timeout(LONG, device.tell(&envelope)).await.unwrap(), Answer::Accepted);
    }
    assert!(flooding.iter().all(|task| !task.is_finished()), "the flood was over before");
    for task in flooding {
        task.abort();
    }
    let records = place.json(&["audit"]);
    let records = records["audit"].as_array().unwrap();
    assert_eq!(records.len(), recorded + 10, "{records:?}");
    let shown = place.json(&["device", "show", &known.to_string()]);
    assert_eq!((&shown["state"], &shown["alarm"]), (&"active".into(), &serde_json::Value::Null));
}

/// Without end; every one of them is refused with the same word.
async fn flood(url: String, forgeries: Vec<Vec<u8>>) {
    let client = client();
    loop {
        for forgery in &forgeries {
            let request = client.post(format!("{url}/device/v1/message"));
            let request = request.header("content-type", "application/cose");
            let response = request.body(forgery.clone()).send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "rejected");
        }
    }
}
