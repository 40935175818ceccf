//! `nginx` with four workers and a reload, and `curl`, each with a key of the agent's.

use std::process::{Command, Stdio};

use crate::stage::{Running, Stage, private, said, wait_for};

/// What curl says to a client of nginx, which listens on a socket of the user's.
fn fetch(stage: &Stage, more: &[&str]) -> String {
    let (ca, socket) = (stage.path("ca.pem"), stage.path("web"));
    let mut asking = stage.command("curl");
    asking.env("OPENSSL_CONF", stage.path("openssl.cnf"));
    asking.args(["--silent", "--show-error", "--cacert", &ca, "--unix-socket", &socket]);
    let output = asking.args(more).arg("https://web/").output().unwrap();
    said(&output)
}

#[test]
fn nginx_serves_with_four_workers_and_after_a_reload() {
    let stage = Stage::new();
    stage.authority();
    let certificate = stage.certified("EC:prime256v1", "web", "01");
    let client = stage.certified("EC:prime256v1", "client", "02");
    let (folder, ca) = (stage.path(""), stage.path("ca.pem"));
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {folder}/{name};")).concat();
    let config = format!(
        "daemon off; worker_processes 4; pid {folder}/nginx.pid; ssl_engine pkcs11;\n\
         error_log {folder}/nginx.log info; env DBUS_SYSTEM_BUS_ADDRESS; env OPENSSL_CONF;\n\
         events {{}}\n\
         http {{ access_log off; {paths} server {{ listen unix:{folder}/web ssl;\n\
         ssl_certificate {certificate}; ssl_client_certificate {ca}; ssl_verify_client on;\n\
         ssl_certificate_key \"engine:pkcs11:{}\";\n\
         location / {{ return 200 \"hello $ssl_client_s_dn\"; }} }} }}\n",
        private("web")
    );
    let config = stage.file("nginx.conf", config);
    let mut nginx = stage.command(&stage.service("nginx"));
    nginx.env("OPENSSL_CONF", stage.path("openssl.cnf")).args(["-c", &config, "-p", &folder]);
    let nginx = nginx.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _nginx = Running(nginx.unwrap());
    wait_for(&stage.path("nginx.pid"));

    let key = private("client");
    let with_key = ["--engine", "pkcs11", "--key-type", "ENG", "--key", &key, "--cert", &client];
    let log = || String::from_utf8_lossy(&stage.read("nginx.log")).into_owned();
    for _ in 0..12 {
        let page = fetch(&stage, &with_key);
        assert_eq!(page, "hello CN=client", "{}", log());
    }
    let pid = String::from_utf8(stage.read("nginx.pid")).unwrap();
    let reload = Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap();
    assert!(reload.success());
    // Old workers and new ones answer alike.
    for _ in 0..24 {
        assert_eq!(fetch(&stage, &with_key), "hello CN=client", "{}", log());
    }
    // Without a key nobody is let in, so the above was the agent's doing.
    assert!(fetch(&stage, &[]).contains("400"), "{}", log());
}
