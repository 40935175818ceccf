//! One item to a server that answers, and to all sorts of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server;
mod tls;

use std::time::{Duration, Instant};

use server::{Piece, Server, closed_port, reply};
use twinseal_courier::{Carrier, Config, Kind, Outcome};

const COSE: &str = "application/cose";
const TEXT: &str = "text/plain";

fn message() -> Kind {
    Kind::of_word("message").unwrap()
}

async fn carry(origin: &str) -> Outcome {
    let config = Config { timeout_ms: 2_000, connect_timeout_ms: 1_000, ..Config::default() };
    Carrier::new(&config).unwrap().carry(origin, message(), b"sealed".to_vec()).await
}

/// Carries to a server that says `pieces`.
async fn carry_to(pieces: Vec<Piece>) -> Outcome {
    carry(&Server::saying(pieces).origin("http")).await
}

/// Why it was unreachable.
async fn reason(pieces: Vec<Piece>) -> String {
    match carry_to(pieces).await {
        Outcome::Unreachable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_item_of_each_kind_has_its_route_and_comes_back_with_the_answer() {
    let server = Server::saying(reply("200 OK", COSE, b"answer"));
    let carrier = Carrier::new(&Config::default()).unwrap();
    for kind in ["challenge", "claim", "activate", "confirm", "message", "fetch"] {
        let known = Kind::of_word(kind).unwrap();
        // With and without a slash behind, and below a path.
        for origin in ["", "/", "/at/home"] {
            let origin = server.origin("http") + origin;
            let outcome = carrier.carry(&origin, known, kind.into()).await;
            assert_eq!(outcome, Outcome::Answered(b"answer".to_vec()));
        }
        let seen = server.seen();
        let lines = seen.iter().rev().take(3).map(|seen| seen.line.as_str()).collect::<Vec<_>>();
        let route = format!("POST /device/v1/{kind}");
        assert_eq!(lines, [format!("POST /at/home/device/v1/{kind}"), route.clone(), route]);
        let last = seen.last().unwrap();
        assert_eq!(last.body, kind.as_bytes());
        assert!(last.headers.contains(&format!("content-type: {COSE}")), "{:?}", last.headers);
    }
    assert_eq!(Kind::of_word("../admin"), None);
}

#[tokio::test]
async fn the_four_words_are_refusals_and_nothing_else_is() {
    for (status, word) in [
        ("400 Bad Request", "malformed"),
        ("403 Forbidden", "rejected"),
        ("410 Gone", "stale"),
        ("503 Service Unavailable", "busy"),
    ] {
        assert_eq!(carry_to(reply(status, TEXT, word.as_bytes())).await, Outcome::Refused(word));
        // As a proxy would say it.
        let page = reason(reply(status, "text/html", b"<h1>no</h1>")).await;
        assert!(page.contains("status"), "{page}");
    }
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "404 Not Found", "204 No Content"]
    {
        assert!(reason(reply(status, TEXT, b"busy")).await.contains(&status[..3]));
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_twinseal_server_is_not_handed_to_the_agent() {
    // A portal's page.
    assert!(reason(reply("200 OK", "text/html", b"<h1>pay</h1>")).await.contains("200"));
    // No HTTP at all, half a head, nothing.
    for garbage in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 20", b""] {
        reason(vec![Piece::Bytes(garbage.to_vec())]).await;
    }
    // Less than announced.
    let mut short = reply("200 OK", COSE, b"answer");
    let Piece::Bytes(bytes) = &mut short[0] else { panic!("a reply begins with bytes") };
    bytes.truncate(bytes.len() - 1);
    reason(short).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::saying(reply("200 OK", COSE, b"answer"));
    let to = elsewhere.origin("http");
    let moved = format!("HTTP/1.1 307 Moved\r\nlocation: {to}/\r\ncontent-length: 0\r\n\r\n");
    assert!(reason(vec![Piece::Bytes(moved.into_bytes())]).await.contains("307"));
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn an_answer_of_an_envelopes_size_fits_and_a_longer_one_is_cut_off() {
    let large = vec![7; 260 * 1024];
    assert_eq!(carry_to(reply("200 OK", COSE, &large)).await, Outcome::Answered(large.clone()));
    let oversized = reason(reply("200 OK", COSE, &vec![7; 320 * 1024 + 1])).await;
    assert!(oversized.contains("more than 327680 bytes"), "{oversized}");
    // Without end and without a length.
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {COSE}\r\nconnection: close\r\n\r\n");
    let mut endless = vec![Piece::Bytes(head.into_bytes())];
    endless.extend((0..1000).map(|_| Piece::Bytes(vec![7; 64 * 1024])));
    assert!(reason(endless).await.contains("more than"));
}

#[tokio::test]
async fn a_slow_server_is_given_up() {
    let began = Instant::now();
    let silent = reason(vec![Piece::Wait(Duration::from_secs(60))]).await;
    assert!(silent.contains("timed out"), "{silent}");
    // A byte now and then does not help.
    let mut trickle = Vec::new();
    for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/cose\r\n\r\n" {
        trickle.extend([Piece::Bytes(vec![*byte]), Piece::Wait(Duration::from_millis(200))]);
    }
    let trickled = reason(trickle).await;
    assert!(trickled.contains("timed out"), "{trickled}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn nobody_there_and_no_such_url() {
    let refused = carry(&format!("http://127.0.0.1:{}", closed_port())).await;
    assert!(
        matches!(&refused, Outcome::Unreachable(reason) if reason.contains("refused")),
        "{refused:?}"
    );
    for origin in
        ["", "localhost", "ftp://localhost", "file:///etc", "http://", "http://localhost/?x="]
    {
        let outcome = carry(origin).await;
        assert!(matches!(outcome, Outcome::Unreachable(_)), "{origin}: {outcome:?}");
    }
}
