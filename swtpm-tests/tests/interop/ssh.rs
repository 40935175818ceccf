//! OpenSSH: `ssh-keygen -D`, `ssh -I` and `ssh-add -s`, each with an sshd that speaks on its
//! standard input and output and so needs no port.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::stage::{APP, Running, Stage, said, text, wait_for};

/// A file of its own for the sshd, which lets in whoever has a key that the module shows.
fn sshd(stage: &Stage) -> String {
    let host_key = stage.path("host_key");
    stage.ok("rm", &["-f", &host_key]);
    stage.ok("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &host_key]);
    let host = String::from_utf8(stage.read("host_key.pub")).unwrap();
    stage.file("known_hosts", format!("device {host}"));
    let keys = stage.run("ssh-keygen", &["-D", &stage.module]);
    assert!(keys.status.success(), "{}", said(&keys));
    let authorized = stage.file("authorized_keys", keys.stdout);
    stage.file(
        "sshd_config",
        format!(
            "HostKey {host_key}\nAuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n"
        ),
    )
}

/// Says hello to itself by ssh.
fn greet(stage: &Stage, config: &str, how: &[&str], environment: &[(&str, &str)]) -> String {
    let known = format!("UserKnownHostsFile={}", stage.path("known_hosts"));
    let proxy = format!("ProxyCommand={} -i -e -f {config}", stage.service("sshd"));
    let output = stage
        .command("ssh")
        .envs(environment.iter().copied())
        .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", &known, "-o", &proxy])
        .args(how)
        .args([&format!("{}@device", APP.name()), "echo hello from $SSH_CONNECTION"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn ssh_lets_in_who_has_a_key_of_the_agent() {
    let stage = Stage::new();
    for (kind, id) in [("EC:prime256v1", "01"), ("rsa:2048", "02")] {
        stage.key(kind, "login", id, &["sign"]);
        let config = sshd(&stage);
        let greeted = greet(&stage, &config, &["-I", &stage.module], &[]);
        assert!(greeted.contains("hello from"), "{greeted}");
        stage.tool(&["--delete-object", "--type", "privkey", "--id", id]);
        let none = stage.run("ssh-keygen", &["-D", &stage.module]);
        assert!(none.stdout.is_empty(), "{}", said(&none));
    }
}

#[test]
fn ssh_agent_keeps_the_module_while_the_agent_restarts() {
    let mut stage = Stage::new();
    stage.key("EC:prime256v1", "login", "01", &["sign"]);
    let config = sshd(&stage);
    let socket = stage.path("ssh-agent");
    let allowed = format!("{}/*", text(stage.device.bus().folder()));
    let mut agent = stage.command("ssh-agent");
    let agent = agent.args(["-D", "-a", &socket, "-P", &allowed]).stdout(Stdio::null());
    let _agent = Running(agent.spawn().unwrap());
    wait_for(&socket);
    // ssh-add wants a PIN, of which the module knows nothing.
    let ask = stage.file("askpass", "#!/bin/sh\necho any\n");
    std::fs::set_permissions(&ask, Permissions::from_mode(0o755)).unwrap();
    let output = stage
        .command("ssh-add")
        .envs([("SSH_AUTH_SOCK", socket.as_str()), ("SSH_ASKPASS", &ask)])
        .env("SSH_ASKPASS_REQUIRE", "force")
        .args(["-s", &stage.module])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let by_agent = [("SSH_AUTH_SOCK", socket.as_str())];
    assert!(greet(&stage, &config, &[], &by_agent).contains("hello from"));
    stage.device.restart_agent();
    assert!(greet(&stage, &config, &[], &by_agent).contains("hello from"));
}
