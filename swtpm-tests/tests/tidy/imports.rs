//! Who may know whom: the table of `ARCHITECTURE.md`, in manifests, in source, and in what the
//! programs are really built from.

use std::collections::BTreeSet;
use std::process::Command;

use crate::tree::{File, assert_tidy, root};

/// A crate of ours and what it may not know.
struct Room {
    folder: &'static str,
    package: &'static str,
    /// Our crates that it may import; all others it may not.
    imports: &'static [&'static str],
    /// Packages that may not be in it, not even by way of another.
    never: &'static [&'static str],
}

const ROOMS: [Room; 8] = [
    Room {
        folder: "crates/scheme/",
        package: "twinseal-scheme",
        imports: &[],
        never: &["tokio", "zbus", "tss-esapi", "cryptoki", "rusqlite", "sqlx", "hyper", "tracing"],
    },
    Room {
        folder: "crates/hardware/",
        package: "twinseal-hardware",
        imports: &["twinseal-scheme"],
        never: &["zbus", "hyper", "rustls", "sqlx", "rusqlite"],
    },
    Room {
        folder: "crates/client/",
        package: "twinseal-client",
        imports: &["twinseal-scheme"],
        never: &["tss-esapi", "cryptoki", "hyper", "rustls", "sqlx", "rusqlite"],
    },
    Room {
        folder: "crates/courier/",
        package: "twinseal-courier",
        imports: &["twinseal-client"],
        never: &["tss-esapi", "cryptoki", "sqlx", "rusqlite"],
    },
    Room {
        folder: "agent/",
        package: "twinseal-agent",
        imports: &["twinseal-scheme", "twinseal-hardware", "twinseal-client"],
        never: &["hyper", "axum", "reqwest", "rustls", "sqlx"],
    },
    Room {
        folder: "server/",
        package: "twinseal-server",
        imports: &["twinseal-scheme"],
        never: &["zbus", "tss-esapi", "cryptoki", "rusqlite", "reqwest", "openssl-sys"],
    },
    Room {
        folder: "pkcs11-shim/",
        package: "twinseal-pkcs11",
        imports: &[],
        never: &["tokio", "zbus", "tss-esapi", "aws-lc-rs", "serde", "tracing", "rusqlite"],
    },
    Room {
        folder: "swtpm-tests/",
        package: "twinseal-swtpm-tests",
        imports: &[],
        never: &["tss-esapi", "cryptoki"],
    },
];

/// A name that product code may use only in some places.
struct Confined {
    name: &'static str,
    to: &'static [&'static str],
    because: &'static str,
}

const CONFINED: [Confined; 8] = [
    Confined {
        name: "tss_esapi",
        to: &["crates/hardware/src/tpm/", "crates/hardware/src/tpm.rs"],
        because: "one folder speaks to TPMs",
    },
    Confined {
        name: "cryptoki",
        to: &["crates/hardware/src/token/", "crates/hardware/src/token.rs", "pkcs11-shim/"],
        because: "one folder speaks to tokens",
    },
    Confined {
        name: "zbus",
        to: &["agent/", "crates/client/", "crates/courier/"],
        because: "scheme, hardware and server know no D-Bus",
    },
    Confined {
        name: "sqlx",
        to: &["server/src/store/", "server/src/store.rs"],
        because: "SQL stands behind the store",
    },
    Confined {
        name: "rusqlite",
        to: &["agent/src/store/", "agent/src/store.rs"],
        because: "SQL stands behind the store",
    },
    Confined {
        name: "RsaPrivateKey",
        to: &[],
        because: "of the crate rsa only the public half is used (RUSTSEC-2023-0071)",
    },
    Confined {
        name: "DecryptingKey",
        to: &[],
        because: "of the crate rsa only the public half is used (RUSTSEC-2023-0071)",
    },
    Confined {
        name: "reqwest",
        to: &["crates/courier/"],
        because: "the courier alone opens connections",
    },
];

/// Crates that would be a second way to do what aws-lc-rs does.
const SECOND_WAYS: [&str; 9] = [
    "p256",
    "p384",
    "elliptic-curve",
    "ecdsa",
    "ring",
    "openssl",
    "ml-kem",
    "ed25519-dalek",
    "native-tls",
];

fn confined_name(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") || file.is_test() {
        return Vec::new();
    }
    let outside = |confined: &&Confined| !confined.to.iter().any(|to| file.path.starts_with(to));
    let rules: Vec<&Confined> = CONFINED.iter().filter(outside).collect();
    let mut findings = Vec::new();
    for (number, line) in file.product_code() {
        for rule in rules.iter().filter(|rule| has_word(line, rule.name)) {
            findings.push(format!("{}:{number}: {}: {}", file.path, rule.name, rule.because));
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// What a manifest says: lints inherited, versions in one place, and only the imports agreed.
fn manifest(file: &File) -> Vec<String> {
    // Fuzzing has lints of its own, and what is built of kryoptic is another workspace.
    let is_apart = ["/fuzz/", "/kryoptic/"].iter().any(|folder| file.path.contains(folder));
    if !file.path.ends_with("/Cargo.toml") || is_apart {
        return Vec::new();
    }
    let Ok(manifest) = file.text.parse::<toml::Table>() else {
        return vec![format!("{}: not TOML", file.path)];
    };
    let mut findings = Vec::new();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    // The shim speaks C and says which of the lints it cannot have.
    if lints != Some(&toml::Value::Boolean(true)) && !file.path.starts_with("pkcs11-shim/") {
        findings.push(format!("{}: does not inherit the workspace's lints", file.path));
    }
    let table = |name: &str| manifest.get(name).and_then(toml::Value::as_table);
    let all = ["dependencies", "dev-dependencies", "build-dependencies"];
    for (name, value) in all.iter().filter_map(|name| table(name)).flatten() {
        if value.get("workspace").is_none() {
            findings.push(format!("{}: {name} has its version in the root manifest", file.path));
        }
    }
    let room = ROOMS.iter().find(|room| file.path.starts_with(room.folder));
    for (name, _) in table("dependencies").into_iter().flatten() {
        let ours = name.starts_with("twinseal-");
        if ours && room.is_some_and(|room| !room.imports.contains(&name.as_str())) {
            findings.push(format!("{}: may not import {name}", file.path));
        }
        if SECOND_WAYS.contains(&name.as_str()) {
            findings.push(format!("{}: {name}: aws-lc-rs does this", file.path));
        }
    }
    findings
}

/// What is in a program by any way, given all packages in it.
fn stowaways(room: &Room, packages: &BTreeSet<String>) -> Vec<String> {
    let aboard = |name: &&&str| packages.contains(**name);
    room.never.iter().filter(aboard).map(|name| format!("{}: {name}", room.package)).collect()
}

fn packages_in(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("names in UTF-8");
    lines.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn names_stay_where_they_belong() {
    assert_tidy(confined_name);
}

#[test]
fn a_name_out_of_place_is_found() {
    let text = "use tss_esapi::Context;\nfn a() { sqlx::query(\"\") }\n";
    assert_eq!(confined_name(&File::new("agent/src/a.rs", text)).len(), 2);
    assert_eq!(confined_name(&File::new("server/src/store/a.rs", text)).len(), 1);
    assert_eq!(confined_name(&File::new("crates/hardware/src/tpm/a.rs", text)).len(), 1);
    let comment = "// tss_esapi\n#[cfg(test)]\nmod tests { use rsa::RsaPrivateKey; }\n";
    assert!(confined_name(&File::new("crates/scheme/src/a.rs", comment)).is_empty());
    let rsa = "use rsa::RsaPrivateKey;\n";
    assert_eq!(confined_name(&File::new("crates/scheme/src/a.rs", rsa)).len(), 1);
    assert!(confined_name(&File::new("crates/scheme/tests/a.rs", rsa)).is_empty());
}

#[test]
fn manifests_keep_to_the_table() {
    assert_tidy(manifest);
    for room in ROOMS {
        assert!(root().join(room.folder).join("Cargo.toml").exists(), "{}", room.folder);
    }
}

#[test]
fn a_manifest_that_breaks_a_rule_is_found() {
    let of = |folder: &str, text: &str| manifest(&File::new(&format!("{folder}Cargo.toml"), text));
    let lints = "[lints]\nworkspace = true\n[dependencies]\n";
    let good = format!("{lints}twinseal-scheme.workspace = true\n");
    assert!(of("server/", &good).is_empty());
    assert_eq!(of("crates/courier/", &good).len(), 1);
    assert_eq!(of("server/", &format!("{lints}twinseal-hardware.workspace = true\n")).len(), 1);
    assert_eq!(of("server/", &format!("{lints}p256.workspace = true\n")).len(), 1);
    assert_eq!(of("server/", &format!("{lints}axum = \"0.8\"\n")).len(), 1);
    assert_eq!(of("server/", "[dependencies]\n").len(), 1);
}

#[test]
fn programs_hold_nothing_that_they_may_not() {
    for room in ROOMS {
        let packages = packages_in(room.package);
        assert!(packages.contains(room.package), "{packages:?}");
        let findings = stowaways(&room, &packages);
        assert!(findings.is_empty(), "{findings:?}");
    }
}

#[test]
fn a_stowaway_is_found() {
    let packages = ["hyper", "serde"].map(str::to_owned).into();
    let agent = ROOMS.iter().find(|room| room.package == "twinseal-agent").unwrap();
    assert_eq!(stowaways(agent, &packages), ["twinseal-agent: hyper"]);
}
