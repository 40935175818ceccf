//! The agent's state after something else than the agent has written it.

use std::path::Path;
use std::sync::LazyLock;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rusqlite::{Connection, ToSql, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use twinseal_agent::{Agent, Caller, Config, TradeId};
use twinseal_hardware::DeviceKeys;

use super::sealed::PARTIES;
use crate::vectors::File;
use crate::{Target, vectors};

/// The device's keys as they stand in the state, below its encryption.
pub const STORED_KEYS: Target = Target {
    name: "stored-keys",
    run: stored_keys,
    seeds: || vec![device_keys()],
    mutations: 20_000,
};

/// A state that is damaged somewhere, opened and used by the agent. The first byte says how:
/// even ones put bytes anywhere into the file, as a disk does (offset of three bytes, value);
/// odd ones put another value into a cell, as somebody with the state key could.
pub const STATE_FILE: Target = Target {
    name: "state-file",
    run: state_file,
    seeds: || {
        let cell = |table: u8, column: u8, value: &[u8]| [&[1, table, column][..], value].concat();
        let mut seeds = vec![vec![0], vec![0, 0, 0, 20, 0xff], vec![0, 0, 16, 0, 0]];
        seeds.extend((0..9).flat_map(|table| {
            [b"\0".as_slice(), b"\x01\x7f", b"\x02x", b"\x03\xff\xff", b"\x04abc"]
                .iter()
                .enumerate()
                .map(move |(column, value)| cell(table, column as u8 * 3, value))
                .collect::<Vec<_>>()
        }));
        seeds
    },
    mutations: 40,
};

fn stored_keys(bytes: &[u8]) -> bool {
    let Ok(keys) = DeviceKeys::from_bytes(bytes) else { return false };
    assert_eq!(&keys.to_bytes()[..], bytes, "another encoding of the same keys");
    true
}

/// Keys in the form in which the agent stores them: fields behind their lengths.
fn device_keys() -> Vec<u8> {
    let chip = File::read("chip.txt");
    let public = |name: &str| chip.bytes(&format!("{name}-public")).expect("a public area");
    let [serial, signing, decryption] = ["serial-key", "signing", "decryption"].map(public);
    let fields: [&[u8]; 17] = [
        b"twinseal device keys 1",
        &[0],
        b"ek",
        b"srk",
        &[1; 32],
        b"ak",
        &[2; 32],
        &serial,
        b"parent",
        &signing,
        b"private",
        &[3; 32],
        b"parent",
        &decryption,
        b"private",
        &[4; 32],
        &[1, 0, 0, 1],
    ];
    let field = |f: &&[u8]| [&(f.len() as u16).to_be_bytes()[..], f].concat();
    [fields.iter().flat_map(field).collect::<Vec<u8>>(), field(&&[5; 32][..])].concat()
}

const SCHEMA: &str = include_str!("../../../../agent/src/store/schema.sql");
const KEY: [u8; 32] = [9; 32];
const UID: u32 = 1000;

/// A device that is enrolled, with a trade, messages both ways and things to acknowledge.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("state.sqlite");
    let sql = Connection::open(&file).expect("a database");
    sql.execute_batch(SCHEMA).expect("the agent's schema");
    fill(&sql).expect("rows of the agent's schema");
    sql.pragma_update(None, "user_version", 1).expect("a version");
    drop(sql);
    std::fs::read(file).expect("the database")
});

fn fill(sql: &Connection) -> rusqlite::Result<()> {
    let (p, b) = (&*PARTIES, &PARTIES.bond);
    let info = seal("user information", b"holder = \"till 7\"\n");
    let keys = seal("device keys", &device_keys());
    sql.execute("INSERT INTO key_check VALUES (1, ?1)", [seal("key check", b"")])?;
    let point = p.device_decryption.public().point().as_slice();
    let statement = File::read("parties.txt").bytes("server-statement");
    sql.execute(
        "INSERT INTO device VALUES (1, ?1, ?2, ?3, 2, 1, -7, ?4, -25, ?5, ?6, 41, ?7, ?8,
            'https://trade.example.com', 'tpm-ek', ?9, 0, 44, 3, 1760000000)",
        params![
            b.server_id.0,
            b.device_id.0,
            b.serial.as_bytes(),
            b.signing.spki(),
            b.decryption.spki(),
            point,
            keys,
            info,
            statement
        ],
    )?;
    let link = format!("https://h/#server={}&least=1&code=X", b.server_id);
    sql.execute(
        "INSERT INTO enrolment VALUES (1, ?1, ?2, ?3, ?4, x'00000001ff', ?5, x'01', x'02', x'03',
            NULL, NULL, NULL, 41)",
        params![
            UID,
            seal("enrolment link", link.as_bytes()),
            seal("user information of an enrolment", b"holder = \"till 7\"\n"),
            seal("keys of an enrolment", &device_keys()),
            [7u8; 32]
        ],
    )?;
    let answer_key = seal("answer key", &[8; 32]);
    sql.execute("INSERT INTO epochs VALUES (2, 3, 1760000000, ?1, 1)", [answer_key])?;
    let (trade, content) = (good("trade", "trade"), good("content", "content"));
    let id = trade[2..18].to_vec();
    let out = seal("message in the outbox", &content);
    for row in [params![1, None::<Vec<u8>>, None::<Vec<u8>>], params![2, Some(&id), Some(&out)]] {
        sql.execute("INSERT INTO outbox VALUES (?1, 2, 3, x'8200', ?2, 1, 1, ?3, 0)", row)?;
    }
    sql.execute(
        "INSERT INTO trades VALUES (?1, ?2, 'com.example.till', ?3, NULL, ?4)",
        params![id, UID, trade, seal("receipt", b"receipt")],
    )?;
    sql.execute(
        "INSERT INTO inbox VALUES (?1, 1, ?2, 2, ?3)",
        params![id, [1u8; 32], seal("message in the inbox", &content)],
    )?;
    sql.execute("INSERT INTO loose VALUES (?1, 2, ?2)", params![id, [2u8; 32]])?;
    sql.execute("INSERT INTO acks VALUES (?1, 1, ?2)", params![id, [3u8; 32]])?;
    Ok(())
}

fn good(operation: &str, field: &str) -> Vec<u8> {
    vectors::all(operation, field).into_iter().next().expect("a vector")
}

/// As the agent seals a value into its place.
fn seal(place: &str, plaintext: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad: place.as_bytes() };
    let sealed = Aes256Gcm::new(&KEY.into()).encrypt(Nonce::from_slice(&[7; 12]), payload);
    [&[7; 12][..], &sealed.expect("a ciphertext")].concat()
}

fn state_file(input: &[u8]) -> bool {
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("a folder");
    let file = state.join("state.sqlite");
    std::fs::write(folder.path().join("key"), KEY).expect("a key");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("key"), private).expect("a mode");
    let (how, damage) = input.split_first().unwrap_or((&0, &[]));
    let mut bytes = GOOD.clone();
    if how % 2 == 0 {
        for patch in damage.chunks_exact(4) {
            let at = u32::from_be_bytes([0, patch[0], patch[1], patch[2]]) as usize % bytes.len();
            bytes[at] = patch[3];
        }
        if how % 4 == 2 {
            bytes.truncate(bytes.len() / 256 * (damage.len() % 256));
        }
    }
    std::fs::write(&file, bytes).expect("a file");
    if how % 2 == 1 {
        let _ = put_into_a_cell(&file, damage);
    }
    let whole = use_it(folder.path());
    assert!(whole || input != [0], "a good state is not read");
    whole
}

/// Table, column, kind of value, value.
fn put_into_a_cell(file: &Path, damage: &[u8]) -> rusqlite::Result<()> {
    const TABLES: [&str; 9] = [
        "device",
        "enrolment",
        "epochs",
        "outbox",
        "trades",
        "inbox",
        "loose",
        "acks",
        "key_check",
    ];
    let [table, column, kind, value @ ..] = damage else { return Ok(()) };
    let sql = Connection::open(file)?;
    let table = TABLES[usize::from(*table) % TABLES.len()];
    let mut columns = sql.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
    let columns: Vec<String> =
        columns.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let column = &columns[usize::from(*column) % columns.len()];
    let mut number = [0; 8];
    number[8 - value.len().min(8)..].copy_from_slice(&value[..value.len().min(8)]);
    // In some places the agent asks for a value that it has sealed itself.
    let place = match (table, column.as_str()) {
        ("device", "keys") => "device keys",
        ("device", _) => "user information",
        ("enrolment", "link") => "enrolment link",
        ("enrolment", "keys") => "keys of an enrolment",
        ("enrolment", _) => "user information of an enrolment",
        ("outbox", _) => "message in the outbox",
        ("inbox", _) => "message in the inbox",
        ("trades", _) => "receipt",
        _ => "answer key",
    };
    let value: Box<dyn ToSql> = match kind % 5 {
        0 => Box::new(None::<u8>),
        1 => Box::new(i64::from_be_bytes(number)),
        2 => Box::new(String::from_utf8_lossy(value).into_owned()),
        3 => Box::new(value.to_vec()),
        _ => Box::new(seal(place, value)),
    };
    sql.pragma_update(None, "foreign_keys", false)?;
    sql.execute(&format!("UPDATE {table} SET {column} = ?1"), [value])?;
    Ok(())
}

/// Starts the agent on it and asks for everything, without a chip. It may refuse to start.
fn use_it(folder: &Path) -> bool {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    let config: Config = toml::from_str(&format!(
        "state_dir = '{0}/state'\nstate_key_file = '{0}/key'\nservices_dir = '{0}/services'\n\
         hardware.tcti = 'device:{0}/no-chip'",
        folder.display()
    ))
    .expect("a configuration");
    RUNTIME.block_on(async {
        let Ok(agent) = Agent::start(config).await else { return false };
        let root = Caller { uid: 0, gids: vec![0], connection: ":1.1".to_owned() };
        let owner = Caller { uid: UID, gids: vec![], connection: ":1.2".to_owned() };
        let status = agent.status();
        assert!(!status.message.is_empty());
        let held = agent.holdings(&owner).await;
        let id = TradeId(good("trade", "trade")[2..18].try_into().expect("16 bytes"));
        let now = std::time::Duration::ZERO;
        let trade = agent.trade(&owner, id).await;
        let _ = agent.receive(&owner, id, 0, now).await;
        let _ = agent.receipt(&owner, id).await;
        let _ = agent.send(&owner, id, vec![1], "").await;
        let _ = agent.close(&owner, id, now).await;
        let _ = agent.next(&root, now).await;
        agent.stop().await;
        !status.server_id.is_empty() && held.is_ok_and(|held| held.trades == [id]) && trade.is_ok()
    })
}
