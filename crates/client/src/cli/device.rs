//! `twinseal status`, `hardware` and `enrol`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use twinseal_client::{Agent1Proxy, ErrorKind, JobProxy, Options};
use twinseal_scheme::serial::HardwareSerial;
use zbus::{Connection, Variant};

use crate::answer::{Answer, table, utc};
use crate::failure::Failure;
use crate::files;

/// D-Bus's own limit is 25 seconds; the agent answers before it.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The system bus, or what DBUS_SYSTEM_BUS_ADDRESS names.
pub(crate) async fn bus() -> Result<Connection, Failure> {
    Ok(zbus::connection::Builder::system().method_timeout(CALL_TIMEOUT).build().await?)
}

pub(crate) async fn status() -> Result<Answer, Failure> {
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let (state, message) = (agent.state().await?, agent.message().await?);
    let (assurance, server_id) = (agent.assurance().await?, agent.server_id().await?);
    let (pending, last_contact) = (agent.pending().await?, agent.last_contact().await?);
    let version = agent.version().await?;
    let heard = if last_contact == 0 { "never".to_owned() } else { utc(last_contact) };
    let text = table([
        ("State", state.clone()),
        ("", message.clone()),
        ("Server", server_id.clone()),
        ("Assurance", assurance.clone()),
        ("Pending", pending.to_string()),
        ("Last contact", heard),
        ("Agent", version.clone()),
    ]);
    let json = json!({
        "state": state, "message": message, "server_id": server_id, "assurance": assurance,
        "pending": pending, "last_contact": last_contact, "version": version,
    });
    Ok(Answer::new(json, text))
}

pub(crate) async fn hardware(ek_cert: Option<&Path>) -> Result<Answer, Failure> {
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let chip = agent.hardware().await?;
    let text_of = |name: &str| chip.get(name).map(|value| plain(value)).unwrap_or(Value::Null);
    let names = ["kind", "manufacturer", "model", "firmware", "ek"];
    let mut json: BTreeMap<&str, Value> =
        names.into_iter().map(|name| (name, text_of(name))).collect();
    for name in ["lockout_failures", "lockout_allowed"] {
        json.insert(name, text_of(name));
    }
    let serial = serial(&agent).await?;
    let check = serial.as_ref().map(HardwareSerial::short_check);
    let shown = match &serial {
        Some(serial) => serial.to_text(),
        None => "for root and the group twinseal only".to_owned(),
    };
    let mut rows: Vec<(&str, String)> =
        names.into_iter().map(|name| (name, words(&text_of(name)))).collect();
    rows.push(("serial", shown));
    rows.extend(check.clone().map(|check| ("short check", check)));
    json.insert("serial", json!(serial.map(|serial| serial.to_text())));
    json.insert("short_check", json!(check));
    if let Some(file) = ek_cert {
        let certificate = agent.ek_certificate().await?;
        if certificate.is_empty() {
            let text = "the chip holds no EK certificate: let the operator list its serial";
            return Err(Failure::new(ErrorKind::NotFound, text));
        }
        files::write(file, &certificate)?;
        rows.push(("EK certificate", format!("written to {}", file.display())));
        json.insert("ek_certificate_file", json!(file));
    }
    Ok(Answer::new(json!(json), table(rows)))
}

/// The serial, where the caller may see it.
pub(crate) async fn serial(agent: &Agent1Proxy<'_>) -> Result<Option<HardwareSerial>, Failure> {
    match agent.hardware_serial().await.map_err(Failure::from) {
        Ok(text) => Ok(HardwareSerial::from_text(&text).ok()),
        Err(failure) if failure.is(ErrorKind::NotAllowed) => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(crate) async fn enrol(link: &str, user_info: &Path, json: bool) -> Result<Answer, Failure> {
    let user_info = read_user_info(user_info)?;
    let user_info: HashMap<&str, Variant<'_>> =
        user_info.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let check = serial(&agent).await?.map(|serial| serial.short_check());
    let job = agent.enrol(link, user_info, Options::new()).await?;
    if let (false, Some(check)) = (json, &check) {
        eprintln!("Short check of this device: {check}");
    }
    wait_for(&bus, job.as_str(), json).await?;
    enrolled(&agent, check).await
}

/// How the device stands when the job of an enrolment has ended.
pub(crate) async fn enrolled(
    agent: &Agent1Proxy<'_>,
    check: Option<String>,
) -> Result<Answer, Failure> {
    let (state, message) = (agent.state().await?, agent.message().await?);
    let text = match &check {
        Some(check) if state == "AwaitingApproval" => {
            format!("{message}\nThe operator must see the same short check: {check}")
        }
        _ => message.clone(),
    };
    let answer = json!({ "state": state, "message": message, "short_check": check });
    Ok(Answer::new(answer, text))
}

/// Until the job has ended; tells how far it is.
pub(crate) async fn wait_for(bus: &Connection, path: &str, quiet: bool) -> Result<(), Failure> {
    let job = JobProxy::builder(bus).path(path).build().await?;
    let mut told = None;
    loop {
        let (step, steps) = job.progress().await?;
        if !quiet && told != Some(step) {
            eprintln!("Step {step} of {steps}");
            told = Some(step);
        }
        match job.state().await?.as_str() {
            "Running" => tokio::time::sleep(LOOK_EVERY).await,
            "Completed" => return Ok(()),
            _ => {
                let (name, text) = job.error().await?;
                return Err(Failure::of_name(&name, &text));
            }
        }
    }
}

fn read_user_info(file: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let bytes = files::read(file)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::file(file, format!("not a JSON object of texts ({error})")))
}

fn plain(value: &Variant<'_>) -> Value {
    match value {
        Variant::Str(text) => json!(text.as_str()),
        Variant::U32(number) => json!(number),
        Variant::U64(number) => json!(number),
        other => json!(other.to_string()),
    }
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
