//! A server is there, keeps its data over a crash, and two of them are strangers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use twinseal_swtpm_tests::{Api, Server};

#[test]
fn it_serves_and_keeps_what_it_was_told_over_a_crash() {
    let mut server = Server::start();
    let link = server.link("http://example.test:1");
    assert!(link.starts_with("http://example.test:1/#"), "{link}");
    let api = server.api(&["trades:read"]);
    assert_eq!(api.get("/healthz").status, 200);
    server.kill();
    assert!(std::net::TcpStream::connect(server.backend_address()).is_err());
    server.restart();
    let api = Api::new(server.backend_address(), "not a key");
    assert_eq!(api.get("/healthz").body, b"ok");
    assert_eq!(server.run(&["code", "list"])["codes"].as_array().unwrap().len(), 1);
}

#[test]
fn servers_are_strangers() {
    let (one, other) = (Server::start(), Server::start());
    assert_ne!(one.device_address(), other.device_address());
    one.link("http://127.0.0.1:1");
    assert_eq!(other.run(&["code", "list"])["codes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_command_that_fails_says_why() {
    let output = Server::start().try_run(&["code", "revoke", "nonsense"]);
    assert!(!output.status.success() && !output.stderr.is_empty(), "{output:?}");
}
