//! `twinseal key`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use twinseal_client::{Agent1Proxy, ErrorKind, KEY_INTERFACE, KeyProxy, Options, ROOT_PATH};
use zbus::fdo::ObjectManagerProxy;
use zbus::{Connection, OwnedVariant, Variant};

use crate::answer::{Answer, harmless, hex, table, utc};
use crate::arguments::{Certificate, Key, NewKey, Output};
use crate::device::bus;
use crate::failure::Failure;
use crate::files;
use crate::own;

pub(crate) async fn run(key: Key) -> Result<Answer, Failure> {
    let bus = bus().await?;
    match key {
        Key::Create { label, algorithm, uses, new } => {
            let mut options = options_of(&new)?;
            if !uses.is_empty() {
                options.insert("uses", Variant::from(uses));
            }
            let agent = Agent1Proxy::new(&bus).await?;
            Ok(made(agent.create_key(&label, &algorithm, options).await?.as_str()))
        }
        Key::Import { label, file, password_file, new } => {
            let mut options = options_of(&new)?;
            if let Some(file) = password_file {
                options.insert("password", Variant::from(password(&file)?));
            }
            let agent = Agent1Proxy::new(&bus).await?;
            let path = agent.import_key(&label, &files::read(&file)?, options).await?;
            Ok(made(path.as_str()))
        }
        Key::List => list(&bus).await,
        Key::Show { key, public_key, certificate } => {
            show(&bus, &key, public_key, certificate).await
        }
        Key::Change { key, label, id, certificate } => {
            change(&bus, &key, label, id, certificate).await
        }
        Key::Delete { key } => {
            proxy(&bus, &key).await?.delete(Options::new()).await?;
            Ok(Answer::new(json!({ "deleted": true }), "The key is gone"))
        }
        other => use_key(&bus, other).await,
    }
}

/// What gives bytes.
async fn use_key(bus: &Connection, key: Key) -> Result<Answer, Failure> {
    match key {
        Key::Sign { key, digest, scheme, output } => {
            let key = proxy(bus, &key).await?;
            let signed = key.sign(&files::read(&digest)?, &scheme, Options::new()).await?;
            given("signature", signed, output)
        }
        Key::Decrypt { key, ciphertext, scheme, output } => {
            let key = proxy(bus, &key).await?;
            let opened = key.decrypt(&files::read(&ciphertext)?, &scheme, Options::new()).await?;
            given("plaintext", opened, output)
        }
        Key::Agree { key, peer, output } => {
            let peer = der(&files::read(&peer)?);
            let secret = proxy(bus, &key).await?.agree(&peer, Options::new()).await?;
            given("secret", secret, output)
        }
        Key::Attest { key, nonce, output } => {
            let nonce = unhex(&nonce)?;
            let attestation = proxy(bus, &key).await?.attest(&nonce, Options::new()).await?;
            given("attestation", attestation, output)
        }
        Key::Export { key, output } => {
            let file = proxy(bus, &key).await?.export(Options::new()).await?;
            given("file", file, output)
        }
        _ => Err(Failure::new(ErrorKind::Internal, "no such command: see `twinseal key --help`")),
    }
}

fn made(path: &str) -> Answer {
    let id = path.rsplit('/').next().unwrap_or_default();
    Answer::new(json!({ "key": id }), id)
}

fn given(name: &str, bytes: Vec<u8>, output: Output) -> Result<Answer, Failure> {
    match output.output {
        Some(file) => {
            files::write(&file, &bytes)?;
            let text = format!("The {name} is in {}", file.display());
            Ok(Answer::new(json!({ format!("{name}_file"): file }), text))
        }
        None => Ok(Answer { json: json!({ name: STANDARD.encode(&bytes) }), text: bytes }),
    }
}

async fn list(bus: &Connection) -> Result<Answer, Failure> {
    let manager = ObjectManagerProxy::builder(bus)
        .destination(twinseal_client::BUS_NAME)
        .path(ROOT_PATH)
        .build()
        .await?;
    let objects = manager.get_managed_objects().await.map_err(zbus::Error::from)?;
    let mut rows: Vec<[String; 4]> = Vec::new();
    for (path, interfaces) in &objects {
        let Some(key) = interfaces.get(KEY_INTERFACE) else { continue };
        let id = path.as_str().rsplit('/').next().unwrap_or_default();
        let shown = |name: &str| key.get(name).map(word).unwrap_or_default();
        rows.push([id.to_owned(), shown("Algorithm"), shown("Owner"), shown("Label")]);
    }
    rows.sort();
    let json = rows.iter().map(|[id, algorithm, owner, label]| {
        let owner = owner.parse::<u32>().ok();
        json!({ "key": id, "algorithm": algorithm, "owner": owner, "label": label })
    });
    let json: Vec<Value> = json.collect();
    let text: Vec<String> = rows.iter().map(|row| harmless(&row.join("  "))).collect();
    let text = if text.is_empty() { "No keys".to_owned() } else { text.join("\n") };
    Ok(Answer::new(json!({ "keys": json }), text))
}

async fn show(
    bus: &Connection,
    key: &str,
    public_key: Option<PathBuf>,
    certificate: Option<PathBuf>,
) -> Result<Answer, Failure> {
    let proxy = proxy(bus, key).await?;
    let (spki, stored) = (proxy.public_key().await?, proxy.certificate().await?);
    if let Some(file) = public_key {
        files::write(&file, pem("PUBLIC KEY", &spki).as_bytes())?;
    }
    if let Some(file) = certificate {
        files::write(&file, pem("CERTIFICATE", &stored).as_bytes())?;
    }
    let (label, algorithm) = (proxy.label().await?, proxy.algorithm().await?);
    let (uses, created) = (proxy.uses().await?, proxy.created().await?);
    // Only of a key that is shared.
    let (id, owner, group) = (proxy.id().await?, proxy.owner().await?, proxy.group().await.ok());
    let json = json!({
        "key": key, "label": label, "algorithm": algorithm, "uses": uses, "id": hex(&id),
        "public_key": STANDARD.encode(&spki), "certificate": STANDARD.encode(&stored),
        "created": created, "owner": owner, "group": group,
    });
    let text = table([
        ("key", key.to_owned()),
        ("label", label),
        ("algorithm", algorithm),
        ("uses", uses.join(", ")),
        ("id", hex(&id)),
        ("certificate", if stored.is_empty() { "none" } else { "yes" }.to_owned()),
        ("created", utc(created)),
        ("owner", owner.to_string()),
        ("group", group.map_or("none".to_owned(), |group| group.to_string())),
    ]);
    Ok(Answer::new(json, text))
}

async fn change(
    bus: &Connection,
    key: &str,
    label: Option<String>,
    id: Option<String>,
    certificate: Certificate,
) -> Result<Answer, Failure> {
    let mut options = Options::new();
    options.extend(label.map(|label| ("label", Variant::from(label))));
    options.extend(id.map(|id| unhex(&id)).transpose()?.map(|id| ("id", Variant::from(id))));
    if let Some(file) = certificate.certificate {
        options.insert("certificate", Variant::from(der(&files::read(&file)?)));
    } else if certificate.no_certificate {
        options.insert("certificate", Variant::from(Vec::<u8>::new()));
    }
    proxy(bus, key).await?.change(options).await?;
    Ok(Answer::new(json!({ "changed": true }), "Changed"))
}

fn options_of(new: &NewKey) -> Result<Options<'static>, Failure> {
    let mut options = Options::new();
    if let Some(id) = &new.id {
        options.insert("id", Variant::from(unhex(id)?));
    }
    if let Some(group) = new.group {
        options.insert("group", Variant::from(group));
    }
    Ok(options)
}

/// A file's first line, whoever has written the file.
fn password(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = files::read(file)?;
    Ok(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

/// A key that this user may use, by its id or by its path.
async fn proxy<'a>(bus: &Connection, key: &str) -> Result<KeyProxy<'a>, Failure> {
    let path = own::path("key", key)?;
    Ok(KeyProxy::builder(bus).path(path).build().await?)
}

fn word(value: &OwnedVariant) -> String {
    match (<&str>::try_from(value), u32::try_from(value)) {
        (Ok(text), _) => text.to_owned(),
        (_, Ok(number)) => number.to_string(),
        _ => value.to_string(),
    }
}

/// What a PEM file holds; else what was given, which the agent judges.
fn der(bytes: &[u8]) -> Vec<u8> {
    let body = |text: &str| -> Option<Vec<u8>> {
        let (_, rest) = text.split_once("-----BEGIN ")?;
        let (_, rest) = rest.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
    };
    std::str::from_utf8(bytes).ok().and_then(body).unwrap_or_else(|| bytes.to_vec())
}

fn pem(title: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {title}-----\n");
    let encoded = STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text + "-----END " + title + "-----\n"
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| {
        let text = "these are no hexadecimal digits in pairs: correct the command line";
        Failure::new(ErrorKind::InvalidArgument, text)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pem_and_der_are_told_apart() {
        let bytes = [0x30; 100];
        assert_eq!(der(pem("CERTIFICATE", &bytes).as_bytes()), bytes);
        assert_eq!(der(&bytes), bytes);
        assert_eq!(der(&[0xff, 0]), [0xff, 0]);
    }

    #[test]
    fn digits_are_read_in_pairs() {
        assert_eq!(unhex("00fFa1").unwrap(), [0, 0xff, 0xa1]);
        assert!(unhex("0").is_err() && unhex("0g").is_err() && unhex("+1").is_err());
    }
}
