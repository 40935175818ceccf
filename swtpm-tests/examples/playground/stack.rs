//! What runs, and what to tell a shell about it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::Value;
use twinseal_swtpm_tests::till::{SERVICE, text, until};
use twinseal_swtpm_tests::{
    Device, EkAuthority, Server, Swtpm, Token, TokenKind, User, enrol, program,
};

/// An enrolled device and its server.
pub struct Stack {
    // Dropped in this order.
    _device: Device,
    _server: Server,
}

impl Stack {
    /// Starts everything for this person and writes `env` into the folder.
    pub fn start(folder: &Path, person: User, has_token: bool) -> Stack {
        let server = Server::run_by(person, &["--accept-tokens"]);
        let root = folder.join("ek-root.pem");
        fs::write(&root, EkAuthority::shared().root_pem()).expect("a new file");
        server.trust(&root);
        let device = enrolled(&server, person, has_token);
        let exports = exports(&server, &device, person, has_token);
        write_for(person, &folder.join("env"), &exports);
        Stack { _device: device, _server: server }
    }
}

/// A device on which the person is operator and application at once.
fn enrolled(server: &Server, person: User, has_token: bool) -> Device {
    let gid = person.gid();
    let builder = Device::builder()
        .may_enrol(&[User::Operator, person])
        .service(SERVICE, &[person])
        .setting(&format!("operator_group = \"{gid}\"\nkey_group = \"{gid}\""));
    let mut device = match has_token {
        true => builder.chip(Token::of(TokenKind::SoftHsm)).start(),
        false => builder.chip(Swtpm::start()).share_chip().start(),
    };
    device.start_courier(&[]);
    let link = server.link(&device_url(server));
    let info = [("holder", "playground")];
    enrol(&device, &link, &info).unwrap_or_else(|why| panic!("{why}"));
    until("the device is active", || (device.state() == "Active").then_some(()));
    device
}

fn exports(server: &Server, device: &Device, person: User, has_token: bool) -> String {
    let scopes = ["devices:read", "trades:read", "trades:write"];
    let create = ["api-key", "create", "--name", "playground", "--service", "*"];
    let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
    let api_key = server.run(&create.into_iter().chain(scopes).collect::<Vec<_>>());
    let devices = server.run(&["device", "list"]);
    let programs = program("twinseal");
    let programs = programs.parent().expect("a folder");
    let show = |path: &Path| path.display().to_string();
    let mut exports = vec![
        ("DBUS_SYSTEM_BUS_ADDRESS", device.bus().address()),
        ("TWINSEAL_SERVER_URL", format!("http://{}", server.backend_address())),
        ("TWINSEAL_API_KEY", text(&api_key["key"])),
        ("TWINSEAL_DEVICE_URL", device_url(server)),
        ("TWINSEAL_DEVICE", text(&devices["devices"][0]["device"])),
        ("TWINSEAL_SERVICE", SERVICE.to_owned()),
        ("TWINSEAL_PKCS11_MODULE", show(&programs.join("libtwinseal_pkcs11.so"))),
        ("TWINSEAL_SERVER_DATA", show(&server.data_dir())),
        ("TWINSEAL_AGENT_STATE", show(&device.state_dir())),
        ("TWINSEAL_KEY", key(device, person)),
    ];
    if !has_token {
        exports.push(("TPM2TOOLS_TCTI", "tabrmd:bus_type=system".to_owned()));
        exports.push(("TPM2OPENSSL_TCTI", "tabrmd:bus_type=system".to_owned()));
    }
    let lines = exports.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    lines.chain([format!("export PATH={}:\"$PATH\"\n", quoted(&show(programs)))]).collect()
}

fn key(device: &Device, person: User) -> String {
    let made = device.run(person, "twinseal", &["--json", "key", "create", "playground"]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let key: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    text(&key["key"])
}

/// Where couriers and enrolment links lead.
fn device_url(server: &Server) -> String {
    format!("http://{}", server.device_address())
}

/// As a POSIX shell reads it back.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// The file holds the API key, so nobody else may read it. It is there at once or not at all.
fn write_for(person: User, file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, "").expect("a new file");
    fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("a file of ours");
    fs::write(&new, text).expect("a file of ours");
    chown(&new, Some(person.uid()), Some(person.gid())).expect("root gives a file away");
    fs::rename(&new, file).expect("a file of ours");
}
