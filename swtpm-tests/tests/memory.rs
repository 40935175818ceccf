//! What root finds in the memory of agent and server when their work is done, and who else may
//! look there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinseal_scheme::id::DeviceId;
use twinseal_server::at_rest::AtRest;
use twinseal_server::keys::ServerSecrets;
use twinseal_server::store::Store;
use twinseal_swtpm_tests::{Api, Daemon, Device, User, World, bytes, enrol};

const SERVICE: &str = "com.example.till";
const APP: User = User::App(2001);
/// Bytes that are read at a time.
const PART: usize = 1 << 20;

/// Something to look for.
struct Secret {
    name: &'static str,
    bytes: Vec<u8>,
}

fn secret(name: &'static str, bytes: impl AsRef<[u8]>) -> Secret {
    let bytes = bytes.as_ref().to_vec();
    // Shorter ones are met by chance.
    assert!(bytes.len() >= 12, "{name}");
    Secret { name, bytes }
}

/// Which of these a process holds in memory that it can write.
fn found(pid: u32, secrets: &[Secret]) -> BTreeSet<&'static str> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let longest = secrets.iter().map(|secret| secret.bytes.len()).max().unwrap();
    let (mut found, mut seen) = (BTreeSet::new(), 0);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        let (mut at, end) = (number(from), number(to));
        while at < end {
            let mut part = vec![0; PART.min((end - at) as usize)];
            // What was unmapped meanwhile is gone.
            let Ok(len) = memory.read_at(&mut part, at) else { break };
            seen += len;
            look(&part[..len], secrets, &mut found);
            // The next part begins with the end of this one.
            let step = if len == PART { len - longest } else { len.max(1) };
            at += step as u64;
        }
    }
    assert!(seen > 4 * PART, "{pid}: only {seen} bytes");
    found
}

fn look(part: &[u8], secrets: &[Secret], found: &mut BTreeSet<&'static str>) {
    let mut begins = [false; 256];
    for secret in secrets {
        begins[usize::from(secret.bytes[0])] = true;
    }
    for at in 0..part.len() {
        if begins[usize::from(part[at])] {
            let here = secrets.iter().filter(|secret| part[at..].starts_with(&secret.bytes));
            found.extend(here.map(|secret| secret.name));
        }
    }
}

fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A trade with a message each way, closed with its receipt.
fn finished_trade(device: &Device, api: &Api, id: &str, up: &str, down: &str) {
    let opened = device.call(APP, "", "OpenTrade", &[SERVICE, "@a{sv} {}"]).unwrap();
    let path = opened.split('\'').nth(1).unwrap().to_owned();
    let send = [bytes(up.as_bytes()), "@a{sv} {}".to_owned()];
    device.call(APP, &path, "Trade.Send", &[&send[0], &send[1]]).unwrap();
    let trade = device.property(APP, &path, ".Trade", "Id").unwrap();
    let route = format!("/api/v1/devices/{id}/trades/{trade}");
    let payload = wait_for("message up", || {
        let got = api.get(&format!("{route}/messages?wait_ms=5000"));
        let got: Value = if got.status == 200 { got.ok() } else { return None };
        got["messages"][0]["payload"].as_str().map(str::to_owned)
    });
    assert!(!payload.is_empty());
    api.send("POST", &format!("{route}/messages"), down.as_bytes(), "text/plain").ok();
    let receive = ["uint64 0", "uint32 20000", "@a{sv} {}"];
    let received = device.call(APP, &path, "Trade.Receive", &receive).unwrap();
    assert!(received.len() > down.len(), "{received}");
    device.call(APP, &path, "Trade.Receive", &["uint64 2", "uint32 0", "@a{sv} {}"]).unwrap();
    device.call(APP, &path, "Trade.Close", &["@a{sv} {}"]).unwrap();
    wait_for("end of the trade", || (api.get(&route).ok()["stage"] == "ended").then_some(()));
    let inbox = api.get("/api/v1/inbox").ok();
    let positions: Vec<&Value> =
        inbox["messages"].as_array().unwrap().iter().map(|message| &message["position"]).collect();
    api.post("/api/v1/inbox/acknowledge", &json!({ "positions": positions })).ok();
}

/// The chain key that the next epoch is to come from, as the server keeps it.
async fn chain_key(world: &World, id: &str) -> Vec<u8> {
    let secrets = ServerSecrets::load(&world.server().secrets_dir()).unwrap();
    let at_rest = AtRest::new(secrets.at_rest_key());
    let store = Store::open(&world.server().data_dir(), at_rest).await.unwrap();
    let device: DeviceId = id.parse().unwrap();
    let chain = store.read().await.unwrap().chain(&device, 1).await.unwrap().unwrap();
    let key = chain.key().expose().to_vec();
    store.close().await;
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_holds_no_secret_of_finished_work() {
    let world = World::start();
    let holder = "holder of the device, 4711";
    let device = world.device(Device::builder().service(SERVICE, &[APP]));
    let link = world.link(&device);
    enrol(&device, &link, &[("holder", holder)]).unwrap();
    wait_for("enrolment", || (device.state() == "Active").then_some(()));
    let code = link.split("code=").nth(1).unwrap().to_owned();
    let scopes = ["devices:read", "trades:read", "trades:write"];
    let made = {
        let mut arguments = vec!["api-key", "create", "--name", "till", "--service", "*"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        world.server().run(&arguments)
    };
    let api_key = made["key"].as_str().unwrap();
    let api = Api::new(world.server().backend_address(), api_key);
    let devices = api.get("/api/v1/devices").ok();
    let id = devices["devices"][0]["device"].as_str().unwrap().to_owned();
    let (up, down) = ("a payload that went up, 8127", "a payload that came down, 3366");
    finished_trade(&device, &api, &id, up, down);

    let mut gone = vec![
        secret("user information", holder),
        secret("enrolment code", &code),
        secret("API key", api_key),
        secret("payload up", up),
        secret("payload down", down),
    ];
    let none = BTreeSet::new();
    let state_key = fs::read(device.bus().folder().join("agent/state.key")).unwrap();
    let secrets = ServerSecrets::load(&world.server().secrets_dir()).unwrap();
    // That the search finds what is there: keys that are in use.
    let in_agent = found(device.agent_pid(), &[secret("state key", state_key)]);
    assert_eq!(in_agent, BTreeSet::from(["state key"]));
    let at_rest = secret("at-rest key", secrets.at_rest_key().expose());
    assert_eq!(found(world.server().pid(), &[at_rest]), BTreeSet::from(["at-rest key"]));
    assert_eq!(found(device.agent_pid(), &gone), none, "left in the agent's memory");
    // Of the agent's own, a copy may stay on a stack until another call overwrites it.
    gone.push(secret("chain key", chain_key(&world, &id).await));
    assert_eq!(found(world.server().pid(), &gone), none, "left in the server's memory");
}

/// Neither a core dump nor another process of the same user gets at it.
#[test]
fn agent_courier_and_server_are_not_dumpable() {
    let world = World::start();
    let device = world.enrolled(Device::builder(), &[]);
    let folder = device.bus().folder().join("server");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(APP.uid()), Some(APP.uid())).unwrap();
    let data = folder.join("data").display().to_string();
    assert!(device.run(APP, "twinseal-server", &["init", "--data", &data]).status.success());
    let mut serve = device.command(APP, "twinseal-server");
    serve.args(["serve", "--data", &data, "--json"]);
    serve.args(["--listen", "127.0.0.1:0", "--backend-listen", "127.0.0.1:0"]);
    let log = device.bus().folder().join("other-server.log");
    let mut server = Daemon::spawn("twinseal-server", &serve, log);
    let said = |server: &Daemon| server.log().contains("listening").then_some(());
    wait_for("server", || said(&server));
    let mut sleep = device.bus().command(APP, "sleep");
    let ordinary = Daemon::spawn("sleep", sleep.arg("60"), device.bus().folder().join("sleep.log"));
    wait_for("sleep", || (owner(ordinary.pid()) == APP.uid()).then_some(()));

    let processes = [
        ("agent", device.agent_pid()),
        ("courier", device.courier_pid()),
        ("server", server.pid()),
    ];
    for (name, pid) in processes {
        // The kernel gives what a process without dumps shows of itself to root.
        assert_eq!((name, owner(pid)), (name, 0));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let soft_and_hard: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!((name, soft_and_hard), (name, vec!["0", "0"]), "{core}");
    }
    server.kill();
}

/// Whom the kernel lets look into a process's memory.
fn owner(pid: u32) -> u32 {
    fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid()
}
