//! OpenSSL, by the engine of libengine-pkcs11-openssl.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::thread;

use crate::stage::{Running, Stage, private, said};

/// What the client prints of a page that the server gives it, both with keys of the agent.
fn mutual(server: (&str, &str), client: (&str, &str), version: &str) -> String {
    let stage = Stage::new();
    stage.authority();
    let config = stage.openssl_config();
    let server_certificate = stage.certified(server.0, server.1, "01");
    let client_certificate = stage.certified(client.0, client.1, "02");
    let ca = stage.path("ca.pem");
    let openssl = |what: &str, label: &str, certificate: &str| {
        let mut command = stage.command("openssl");
        command
            .env("OPENSSL_CONF", &config)
            .args([what, "-engine", "pkcs11", "-keyform", "engine", "-key", &private(label)])
            .args(["-cert", certificate, "-CAfile", &ca, "-verify_return_error", version]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // It chooses the port, and says which.
    let mut serving = openssl("s_server", server.1, &server_certificate);
    let serving = serving.args(["-Verify", "1", "-accept", "127.0.0.1:0", "-www"]).spawn();
    let mut serving = Running(serving.unwrap());
    let mut lines = BufReader::new(serving.0.stdout.take().unwrap()).lines();
    let accepting = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
    let Some(address) = accepting else {
        let mut serving = serving;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut serving.0.stderr.take().unwrap(), &mut text).unwrap();
        panic!("s_server: {text}");
    };
    // What it prints from now on fills no pipe.
    thread::spawn(move || lines.for_each(drop));
    let errors = BufReader::new(serving.0.stderr.take().unwrap());
    thread::spawn(move || errors.lines().for_each(drop));

    let mut asking = openssl("s_client", client.1, &client_certificate);
    let asking = asking.args(["-connect", &address, "-ign_eof"]).spawn();
    let mut asking = asking.unwrap();
    asking.stdin.take().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    said(&asking.wait_with_output().unwrap())
}

/// The client has verified the server, and the server's page shows the client's certificate.
#[track_caller]
fn assert_both_are_known(page: &str) {
    for words in ["HTTP/1.0 200 ok", "depth=0 CN = server", "Subject: CN=client"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn openssl_speaks_tls_with_keys_of_the_agent_at_both_ends() {
    let p256 = "EC:prime256v1";
    let page = mutual((p256, "server"), (p256, "client"), "-tls1_3");
    assert_both_are_known(&page);
}

#[test]
fn openssl_speaks_tls_with_rsa_keys() {
    let rsa = "rsa:2048";
    for version in ["-tls1_2", "-tls1_3"] {
        let page = mutual((rsa, "server"), (rsa, "client"), version);
        assert_both_are_known(&page);
    }
}
