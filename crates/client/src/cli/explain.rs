//! `twinseal explain`: a sealed message, layer by layer.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use twinseal_client::{ErrorKind, Options};
use twinseal_scheme::explain::{Part, Steps, explain as take_apart};
use twinseal_scheme::message::Opened;
use twinseal_scheme::trade::Content;

use crate::answer::{Answer, hex, shown};
use crate::device::bus;
use crate::failure::Failure;
use crate::files;
use crate::trades::proxy;

/// Bytes of a part that a person is shown; `--json` has all of them.
const SHOWN: usize = 48;

pub(crate) async fn explain(file: &Path, trade: Option<&str>) -> Result<Answer, Failure> {
    let envelope = files::read(file)?;
    let opened = match trade {
        Some(trade) => Some(open(&envelope, trade).await?),
        None => None,
    };
    let parts = take_apart(&envelope, opened.as_ref()).map_err(|reason| {
        let text = format!("not a sealed message: {reason}: check that the file is an envelope");
        Failure::new(ErrorKind::Rejected, text)
    })?;
    let closed = closed(&parts);
    let json: Vec<Value> = parts.iter().map(part_json).collect();
    let mut text =
        format!("A sealed message of {} bytes, from the outside inwards\n", envelope.len());
    for (number, part) in parts.iter().enumerate() {
        write_part(&mut text, number + 1, part);
    }
    let payload = opened.and_then(|opened| Content::decode(&opened.content).ok());
    let payload = payload.map(|content| content.payload);
    if let Some(payload) = &payload {
        let _ = writeln!(text, "\nThe payload: {}", shown(payload));
    }
    let _ = writeln!(text, "\n{closed}");
    let payload = payload.map(|payload| hex(&payload));
    let json = json!({
        "bytes": envelope.len(), "parts": json, "payload": payload, "closed": closed,
    });
    Ok(Answer::new(json, text))
}

/// What the agent finds inside.
async fn open(envelope: &[u8], trade: &str) -> Result<Opened, Failure> {
    let bus = bus().await?;
    let trade = proxy(&bus, trade).await?;
    let (inner, signed, content) = trade.inspect(envelope, Options::new()).await?;
    let server_signed = (!signed.is_empty()).then_some(signed);
    Ok(Opened { content, inner, server_signed })
}

/// What cannot be shown, and why.
fn closed(parts: &[Part]) -> &'static str {
    match parts.last() {
        Some(part) if part.structure.starts_with("COSE_Encrypt") => {
            "What lies inside the last layer cannot be opened without the keys: those of the very \
             device, in its chip, or the server's. With --trade, this device's agent opens it"
        }
        _ => "Nothing is closed",
    }
}

fn write_part(text: &mut String, number: usize, part: &Part) {
    let _ = writeln!(
        text,
        "\n{number}. {}: {}, {} bytes",
        part.title,
        part.structure,
        part.bytes.len()
    );
    if let Some(range) = &part.range {
        let _ = writeln!(text, "   at {} to {} of the envelope", range.start, range.end);
    }
    let _ = writeln!(text, "   {}", part.what);
    if let Some(steps) = part.steps {
        let _ = writeln!(
            text,
            "   made in {}, taken off in {}",
            named(steps.sealing),
            named(steps.opening)
        );
    }
    for (name, value) in &part.fields {
        let _ = writeln!(text, "     {name}: {}", cut(value));
    }
    let _ = writeln!(text, "     bytes: {}", cut(&hex(&part.bytes)));
}

fn part_json(part: &Part) -> Value {
    let fields: serde_json::Map<String, Value> =
        part.fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let place = part.range.as_ref().map(|range| json!({ "from": range.start, "to": range.end }));
    json!({
        "title": part.title,
        "structure": part.structure,
        "what": part.what,
        "patent": part.steps.map(steps_json),
        "place": place,
        "fields": fields,
        "bytes": hex(&part.bytes),
    })
}

fn steps_json(steps: Steps) -> Value {
    let list = |steps: [(u8, u16); 2]| {
        steps.map(|(figure, step)| json!({ "figure": figure, "step": step }))
    };
    json!({ "sealing": list(steps.sealing), "opening": list(steps.opening) })
}

/// As in `Fig. 9 step 313 (Fig. 11 step 615)`.
fn named([(figure, step), (whole_figure, whole_step)]: [(u8, u16); 2]) -> String {
    format!("Fig. {figure} step {step} (Fig. {whole_figure} step {whole_step})")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(2 * SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
