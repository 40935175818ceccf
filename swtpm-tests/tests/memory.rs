//! What root finds in the memory of agent and server when their work is done, and who else may
//! look there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use twinseal_hardware::{Config, DeviceKeys, Hardware};
use twinseal_scheme::enrol::{Activation, ActivationProof};
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::keys::P256Public;
use twinseal_server::at_rest::AtRest;
use twinseal_server::keys::ServerSecrets;
use twinseal_server::store::Store;
use twinseal_swtpm_tests::forge::direction_keys;
use twinseal_swtpm_tests::{Api, Daemon, Device, StolenState, User, World, bytes, enrol};

const SERVICE: &str = "com.example.till";
const APP: User = User::App(2001);
/// Bytes that are read at a time.
const PART: usize = 1 << 20;

/// Something to look for.
#[derive(Clone)]
struct Wanted {
    name: &'static str,
    bytes: Vec<u8>,
}

fn wanted(name: &'static str, bytes: impl AsRef<[u8]>) -> Wanted {
    let bytes = bytes.as_ref().to_vec();
    // Shorter ones are met by chance.
    assert!(bytes.len() >= 12, "{name}");
    Wanted { name, bytes }
}

/// Which of these a process holds in memory that it can write.
fn found(pid: u32, secrets: &[Wanted]) -> BTreeSet<&'static str> {
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

fn look(part: &[u8], secrets: &[Wanted], found: &mut BTreeSet<&'static str>) {
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

/// Every key that has come and gone with the last enrolment and its epoch: first those that are
/// used once, then the two that the epoch is made of.
async fn keys_of(world: &World, device: &Device) -> (Vec<Wanted>, Vec<Wanted>) {
    let secrets = ServerSecrets::load(&world.server().secrets_dir()).unwrap();
    let stolen = StolenState::of(&device.state_dir());
    let at_rest = AtRest::new(secrets.at_rest_key());
    let store = Store::open(&world.server().data_dir(), at_rest).await.unwrap();
    let id = DeviceId(stolen.column::<Vec<u8>>("device_id").try_into().unwrap());
    let mut tx = store.read().await.unwrap();
    let bond = tx.standing(&id, &secrets.server_id()).await.unwrap().unwrap().bond;
    let chain = tx.chain(&id, bond.generation).await.unwrap().unwrap();
    let epoch = tx.last_epoch(&id, bond.generation).await.unwrap().unwrap();
    drop(tx);
    store.close().await;

    // What the chip has said once it says again.
    let keys = DeviceKeys::from_bytes(&stolen.keys()).unwrap();
    let chip = device.tpm().copy();
    let hardware = Hardware::open(Config::new(chip.tcti().parse().unwrap())).unwrap();
    let lane = hardware.lane(0);
    let point = stolen.column::<Vec<u8>>("encapsulation").try_into().unwrap();
    let z = lane.agree_serial(&keys, point).await.unwrap();
    let first = ChainKey::of_bond(&z, &bond);
    assert_eq!(first.ratchet(chain.epoch()).as_ref(), Ok(&chain), "these are the right ones");
    let calls = device.wire().calls();
    let last = |kind| calls.iter().rfind(|call| call.kind == kind).unwrap();
    let (m0, claim, m3) = (&last("challenge").reply, last("claim"), &last("activate").request);
    let activation =
        Activation::verify(&claim.reply, secrets.signing.public(), &claim.request).unwrap();
    let (blob, sealed) = (activation.credential_blob, activation.encrypted_secret);
    let credential = lane.activate(&keys, blob, sealed).await.unwrap();
    let m0_hash = Sha256::digest(m0).into();
    let (enrol_id, m1, m2) = (activation.enrol_id, &claim.request, &claim.reply);
    let proof = ActivationProof::new(enrol_id, &credential, &m0_hash, m1, m2);
    assert_eq!(&proof.encode(), m3, "and this is the right one");
    hardware.close().await;

    let agreement = epoch.agreement.unwrap();
    let epoch_key = P256Public::from_point(&agreement.epoch_key).unwrap();
    let [up, down] = direction_keys(
        chain.key().expose(),
        secrets.encryption.agree(&epoch_key).unwrap().expose(),
        secrets.kem.decapsulate(&agreement.kem).unwrap().expose(),
        &epoch.opening.hash,
        epoch.opening.epoch,
        epoch.sequence,
    );
    let once = vec![
        wanted("credential", credential.expose()),
        wanted("Z of the serial key", z.expose()),
        wanted("CK_0", first.key().expose()),
        wanted("chain key", chain.key().expose()),
    ];
    (once, vec![wanted("K_up", up), wanted("K_down", down)])
}

fn names(secrets: &[Wanted]) -> BTreeSet<&'static str> {
    secrets.iter().map(|secret| secret.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_holds_no_secret_of_finished_work() {
    let world = World::start();
    let holder = "holder of the device, 4711";
    let device = world.device(Device::builder().service(SERVICE, &[APP]).keys("ecc"));
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
        wanted("user information", holder),
        wanted("enrolment code", &code),
        wanted("API key", api_key),
        wanted("payload up", up),
        wanted("payload down", down),
    ];
    let (once, of_epoch) = keys_of(&world, &device).await;
    gone.extend(once);
    // That the search finds what is there: what this process keeps, and keys that are in use.
    assert_eq!(found(std::process::id(), &gone), names(&gone));
    let (agent, server) = (device.agent_pid(), world.server().pid());
    let state_key = fs::read(device.bus().folder().join("agent/state.key")).unwrap();
    let secrets = ServerSecrets::load(&world.server().secrets_dir()).unwrap();
    let in_use = [&[wanted("state key", state_key)][..], &of_epoch].concat();
    assert_eq!(found(agent, &in_use), names(&in_use));
    let at_rest = wanted("at-rest key", secrets.at_rest_key().expose());
    let in_use = [&[at_rest][..], &of_epoch].concat();
    assert_eq!(found(server, &in_use), names(&in_use));
    let none = BTreeSet::new();
    assert_eq!(found(agent, &gone), none, "left in the agent's memory");
    assert_eq!(found(server, &gone), none, "left in the server's memory");

    // The next enrolment ends the epoch, in the same processes.
    enrol(&device, &world.link(&device), &[("holder", holder)]).unwrap();
    wait_for("next epoch", || (device.state() == "Active").then_some(()));
    finished_trade(&device, &api, &id, up, down);
    let (once, of_next) = keys_of(&world, &device).await;
    assert_eq!(found(agent, &of_next), names(&of_next));
    gone.extend(of_epoch);
    for gone in [gone, once] {
        assert_eq!(found(agent, &gone), none, "left in the agent's memory");
        assert_eq!(found(server, &gone), none, "left in the server's memory");
    }
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
