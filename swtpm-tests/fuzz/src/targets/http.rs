//! Bodies and paths of HTTP requests to both listeners of a server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use twinseal_server::app::api_keys::{self, Scope};
use twinseal_server::app::{App, Folders, Policy, init};
use twinseal_server::http::{Access, Endpoint, Limits, Listeners, ROUTES};
use twinseal_server::store::Caller;

use crate::vectors::File;
use crate::{Target, vectors};

/// The first byte chooses route and content type, the rest is the body.
pub const BODIES: Target = Target {
    name: "http-bodies",
    run: bodies,
    seeds: || {
        let mut seeds = Vec::new();
        let transcript = File::read("enrolment.txt");
        for (kind, name) in ["q", "m1", "m3", "m5"].iter().enumerate() {
            seeds.push([&[0, kind as u8][..], &transcript.bytes(name).expect(name)].concat());
        }
        let good = vectors::all("open-up", "envelope").into_iter().next_back().expect("one");
        seeds.push([&[0, 4][..], &good].concat());
        seeds.push([&[0, 5][..], &vectors::all("fetch", "fetch")[0]].concat());
        for route in 6..(KINDS.len() + ROUTES.len()) as u8 {
            seeds.push([&[0, route][..], BODY].concat());
            seeds.push([&[1, route][..], b"{\"positions\":[1,2]}"].concat());
        }
        seeds
    },
    mutations: 800,
};

const KINDS: [&str; 6] = ["challenge", "claim", "activate", "confirm", "message", "fetch"];
const BODY: &[u8] = br#"{"service":"com.example.till","payload":"aGVsbG8=","content_type":"text/plain","outer":"serial"}"#;

struct Server {
    device: SocketAddr,
    backend: SocketAddr,
    api_key: String,
    _runtime: Runtime,
    _folder: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let (device, backend, api_key) = runtime.block_on(async {
        let folders = Folders::new(folder.path().join("data"), None);
        let caller = Caller::Cli("fuzz".to_owned());
        init(&folders, "https://trade.example.com", &caller).await.expect("a new server");
        let app = App::open(&folders, Limits::default(), Policy::default()).await;
        let app = Arc::new(app.expect("the new server"));
        let services = ["*".to_owned()];
        let key = api_keys::create(&app.store, &caller, "fuzz", &Scope::ALL, &services).await;
        let listen = "127.0.0.1:0".parse().expect("an address");
        let endpoint = Endpoint { listen, tls: None };
        let listeners = Listeners::bind(&endpoint, &endpoint).await.expect("ports");
        let (device, backend) = (listeners.device().1, listeners.backend().1);
        let handle = tokio::runtime::Handle::current();
        let serving = move || handle.block_on(listeners.serve(app, std::future::pending()));
        std::thread::spawn(serving);
        let (_, key) = key.expect("a key");
        (device, backend, key.to_string())
    });
    Server { device, backend, api_key, _runtime: runtime, _folder: folder }
});

fn bodies(input: &[u8]) -> bool {
    let [how, route, body @ ..] = input else { return false };
    let server = &*SERVER;
    let route = usize::from(*route) % (KINDS.len() + ROUTES.len());
    let content_type = ["application/json", "application/octet-stream", "text/plain; a=b"];
    let content_type = content_type[usize::from(*how) % 3];
    let status = match KINDS.get(route) {
        Some(kind) => {
            let path = format!("/device/v1/{kind}");
            post(server.device, "POST", &path, "application/cose", "", body)
        }
        None => {
            let route = &ROUTES[route - KINDS.len()];
            let id = if *how < 128 { "00".repeat(16) } else { path_part(body) };
            let path = route.path.replace("{device}", &id).replace("{trade}", &id);
            let path = path.replace("{index}", "1");
            let key = match route.access {
                Access::Open => String::new(),
                Access::Key(_) => format!("authorization: Bearer {}\r\n", server.api_key),
            };
            let query = if *how < 192 { String::new() } else { format!("?{}", path_part(body)) };
            post(server.backend, route.method, &(path + &query), content_type, &key, body)
        }
    };
    assert!((200..500).contains(&status), "{status} for route {route}");
    status < 300
}

/// The beginning of the body in characters that a path may have; a wait would only wait.
fn path_part(body: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b'&' | b'_' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    };
    body.iter().take(64).map(encode).collect::<String>().replace("wait", "late")
}

/// The status of one request on a connection of its own.
fn post(
    to: SocketAddr,
    method: &str,
    path: &str,
    content_type: &str,
    more: &str,
    body: &[u8],
) -> u16 {
    let mut stream = TcpStream::connect(to).expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A server that refuses early may not read it all.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| {
        panic!("no HTTP answer to {method} {path}: {answer:?}");
    })
}
