//! What one peer cannot use up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinseal_scheme::answer::Answer;

use crate::device::Device;
use crate::rig::{Place, client};

#[tokio::test]
async fn too_much_is_malformed_and_the_largest_is_read() {
    let place = Place::new();
    let server = place.serve();
    let post = async |len: usize| {
        let request = client().post(format!("{}/device/v1/message", server.device));
        let request = request.header("content-type", "application/cose").body(vec![0xff; len]);
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    let malformed = (StatusCode::BAD_REQUEST, "malformed".to_owned());
    assert_eq!(post(256 * 1024).await, malformed);
    assert!(place.log().contains("reason=\"not-cbor\""), "{}", place.log());
    assert!(!place.log().contains("reason=\"too-large\""));
    assert_eq!(post(300 * 1024).await, malformed);
    assert!(place.log().contains("reason=\"too-large\""));
    let other = client().post(format!("{}/device/v1/message", server.device)).body("x");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let nowhere = client().post(format!("{}/device/v1/nothing", server.device));
    assert_eq!(nowhere.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off() {
    let place = Place::new();
    let server = place.serve();
    let address = server.device.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nx: {}", "y".repeat(20_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
}

#[tokio::test]
async fn a_long_poll_waits_as_long_as_asked_and_ends_with_the_server() {
    let place = Place::new();
    let mut server = place.serve();
    let device = Device::ready(&place, &server, [7; 32]).await;
    let begun = Instant::now();
    assert_eq!(device.fetch(300, &[]).await, Answer::Nothing);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    // One more than may wait: when it is answered, the others do.
    let fetch = device.fetching(20_000, &[]);
    let device = Arc::new(device);
    let mut polls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (device, fetch) = (device.clone(), fetch.clone());
        polls.spawn(async move { device.post("fetch", &fetch).await });
    }
    let nothing = |(status, answer): (StatusCode, Vec<u8>)| {
        assert_eq!((status, device.read(&fetch, &answer)), (StatusCode::OK, Answer::Nothing));
    };
    nothing(polls.join_next().await.unwrap().unwrap());
    let told = tokio::process::Command::new("kill").arg(server.pid().to_string()).status().await;
    assert!(told.unwrap().success());
    while let Some(answer) = polls.join_next().await {
        nothing(answer.unwrap());
    }
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited to the end");
}

#[tokio::test]
async fn copies_of_a_fetch_do_not_use_up_the_long_polls() {
    let place = Place::new();
    let server = place.serve();
    let device = Device::ready(&place, &server, [7; 32]).await;
    let fetch = device.fetching(20_000, &[]);
    let post = || device.post("fetch", &fetch);
    // Four wait; whichever come after them are answered at once.
    let (status, answer) = tokio::select! {
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        reply = post() => reply,
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("all of them wait"),
    };
    assert_eq!((status, device.read(&fetch, &answer)), (StatusCode::OK, Answer::Nothing));
}

#[tokio::test]
async fn https_on_both_sides() {
    let place = Place::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (chain, private) = (place.secrets().join("tls.pem"), place.secrets().join("tls.key"));
    std::fs::write(&chain, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let config = place.secrets().join("config.toml");
    let text = format!(
        "tls_certificates = {chain:?}\ntls_key = {private:?}\n\
         backend_tls_certificates = {chain:?}\nbackend_tls_key = {private:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = place.serve_with(&["--config", config.to_str().unwrap()]);
    client();
    let root = reqwest::Certificate::from_pem(certificate.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    assert!(server.backend.starts_with("https://"));
    let url = format!("https://localhost:{}/healthz", port(&server.backend));
    assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "ok");
    let url = format!("https://localhost:{}/device/v1/challenge", port(&server.device));
    let asked = client.post(url).header("content-type", "application/cose").body("x");
    assert_eq!(asked.send().await.unwrap().text().await.unwrap(), "malformed");
}
