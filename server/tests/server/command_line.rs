//! What people type.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::rig::Place;

#[test]
fn init_keeps_keys_and_data_apart_and_private() {
    let place = Place::new();
    let files: Vec<_> = fs::read_dir(place.data()).unwrap().map(|f| f.unwrap()).collect();
    assert_eq!(files.len(), 1, "the data folder holds the database only: {files:?}");
    for folder in [place.data(), place.secrets()] {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for file in fs::read_dir(&folder).unwrap().map(|file| file.unwrap()) {
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
        }
    }
    assert_eq!(place.failure(&["init"]), "exists");
    let inside = place.data().join("inner").join("secrets");
    let other = place.data().join("inner");
    let (inside, other) = (inside.to_str().unwrap(), other.to_str().unwrap());
    assert_eq!(place.failure(&["init", "--data", other, "--secrets", inside]), "secrets-in-data");
}

#[test]
fn a_server_needs_the_keys_it_was_made_with() {
    let (place, other) = (Place::new(), Place::new());
    let secrets = other.secrets();
    let args = ["code", "list", "--secrets", secrets.to_str().unwrap()];
    assert_eq!(place.failure(&args), "other-keys");
    place.json(&["code", "list"]);
    assert_eq!(place.failure(&["code", "list", "--data", "/nowhere"]), "no-server");
}

#[test]
fn a_code_is_printed_once_listed_without_itself_and_revoked() {
    let place = Place::new();
    let made =
        place.json(&["code", "create", "--note", "till 7", "--url", "https://a.example:8443"]);
    let link = made["link"].as_str().unwrap();
    assert!(link.starts_with("https://a.example:8443/#server="), "{link}");
    let code = link.split("code=").nth(1).unwrap();
    assert!(link.parse::<twinseal_scheme::link::Link>().is_ok());

    let listed = place.json(&["code", "list"]);
    assert_eq!(listed["codes"][0]["state"], "good");
    assert!(!listed.to_string().contains(code));
    let id = made["id"].as_str().unwrap();
    place.json(&["code", "revoke", id]);
    assert_eq!(place.json(&["code", "list"])["codes"][0]["state"], "revoked");
    assert_eq!(place.failure(&["code", "revoke", id]), "not-found");
    assert_eq!(place.failure(&["code", "create", "--url", "https://a/b"]), "invalid");
}

#[test]
fn api_keys_are_for_services_that_can_be() {
    let place = Place::new();
    let create = ["api-key", "create", "--name", "a", "--scope", "trades:read", "--service"];
    assert_eq!(place.failure(&[&create[..], &["till"]].concat()), "invalid");
    let made = place.json(&[&create[..], &["com.example.*"]].concat());
    let listed = place.json(&["api-key", "list"]);
    assert_eq!(listed["api_keys"][0]["services"][0], "com.example.*");
    assert!(!listed.to_string().contains(made["key"].as_str().unwrap()));
}

#[test]
fn it_ends_when_it_is_told_to() {
    let place = Place::new();
    let mut server = place.serve();
    let status = Command::new("kill").arg(server.pid().to_string()).status().unwrap();
    assert!(status.success());
    assert!(server.wait().success());
    assert!(place.log().contains("stopped"));
}
