//! `twinseal receipt`: offline.

use std::path::Path;

use serde_json::{Value, json};
use twinseal_client::ErrorKind;
use twinseal_scheme::Reason;
use twinseal_scheme::id::ServerId;
use twinseal_scheme::receipt::SignedReceipt;

use crate::answer::{Answer, hex, table, utc};
use crate::arguments::Receipt;
use crate::failure::Failure;
use crate::files;

pub(crate) fn run(command: Receipt) -> Result<Answer, Failure> {
    match command {
        Receipt::Show { file } => show(&file),
        Receipt::Verify { file, server_id } => verify(&file, &server_id),
    }
}

/// Everything in it fits together, but it could be of anybody who calls himself a server.
fn show(file: &Path) -> Result<Answer, Failure> {
    let bytes = files::read(file)?;
    let server_id = SignedReceipt::claimed_server(&bytes).map_err(not_genuine)?;
    let receipt = SignedReceipt::verify(&bytes, &server_id).map_err(not_genuine)?;
    let mut json = describe(&receipt);
    json["verified"] = json!(false);
    let text = format!(
        "{}\nThe signatures fit. Whether this is your server: twinseal receipt verify --server-id",
        text(&receipt)
    );
    Ok(Answer::new(json, text))
}

fn verify(file: &Path, server_id: &str) -> Result<Answer, Failure> {
    let server_id: ServerId = server_id.parse().map_err(|_| {
        let text = "a server's id is 64 hexadecimal digits: copy all of it";
        Failure::new(ErrorKind::InvalidArgument, text)
    })?;
    let receipt = SignedReceipt::verify(&files::read(file)?, &server_id).map_err(not_genuine)?;
    if !receipt.is_countersigned() {
        let text = "the device has not signed this receipt: ask for the one with both signatures";
        return Err(Failure::new(ErrorKind::Incomplete, text));
    }
    let mut json = describe(&receipt);
    json["verified"] = json!(true);
    let text =
        format!("{}\nGenuine: signed by this server and by this device's chip", text(&receipt));
    Ok(Answer::new(json, text))
}

fn not_genuine(reason: Reason) -> Failure {
    let text = format!("not a genuine receipt: {reason}: ask for it again where it comes from");
    Failure::new(ErrorKind::Rejected, text)
}

fn describe(signed: &SignedReceipt) -> Value {
    let (receipt, facts, device) = (&signed.receipt, &signed.receipt.facts, &signed.device);
    json!({
        "trade": receipt.trade.to_string(),
        "service": receipt.service.as_str(),
        "server_id": facts.server_id.to_string(),
        "device_id": facts.device_id.to_string(),
        "generation": facts.generation,
        "serial": facts.serial.to_text(),
        "assurance": device.assurance,
        "ek_verdict": device.verdict,
        "opened": facts.opened_s,
        "closed": facts.closed_s,
        "up": { "count": receipt.up.count, "chain": hex(&receipt.up.value) },
        "down": { "count": receipt.down.count, "chain": hex(&receipt.down.value) },
        "countersigned": signed.is_countersigned(),
    })
}

fn text(signed: &SignedReceipt) -> String {
    let (receipt, facts, device) = (&signed.receipt, &signed.receipt.facts, &signed.device);
    let signatures = match signed.is_countersigned() {
        true => "the server's and the device's",
        false => "the server's only",
    };
    table([
        ("Trade", receipt.trade.to_string()),
        ("Service", receipt.service.as_str().to_owned()),
        ("Opened", utc(facts.opened_s)),
        ("Closed", utc(facts.closed_s)),
        ("Server", facts.server_id.to_string()),
        ("Device", format!("{}, generation {}", facts.device_id, facts.generation)),
        ("Serial", facts.serial.to_text()),
        ("Assurance", device.assurance.clone()),
        ("From the device", format!("{} messages, {}", receipt.up.count, hex(&receipt.up.value))),
        (
            "From the server",
            format!("{} messages, {}", receipt.down.count, hex(&receipt.down.value)),
        ),
        ("Signatures", signatures.to_owned()),
    ])
}
