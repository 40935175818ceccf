//! `twinseal exchange` and `twinseal trade`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde_json::{Value, json};
use twinseal_client::{Agent1Proxy, Options, ROOT_PATH, Received, TRADE_INTERFACE, TradeProxy};
use zbus::fdo::ObjectManagerProxy;
use zbus::{Connection, OwnedVariant};

use crate::answer::{Answer, harmless, shown};
use crate::arguments::{Order, Payload, Trade, Wait};
use crate::device::bus;
use crate::failure::Failure;
use crate::files;
use crate::own::{self, id_of};

pub(crate) struct Exchange {
    pub(crate) service: String,
    pub(crate) request: PathBuf,
    pub(crate) payload: Payload,
    pub(crate) order: Order,
    pub(crate) wait: Wait,
    pub(crate) output: Option<PathBuf>,
}

pub(crate) async fn exchange(exchange: Exchange) -> Result<Answer, Failure> {
    let request = files::read(&exchange.request)?;
    let bus = bus().await?;
    let agent = Agent1Proxy::new(&bus).await?;
    let options = Options::from([
        ("outer", exchange.order.outer.word().into()),
        ("content_type", exchange.payload.content_type.as_str().into()),
        ("wait_ms", exchange.wait.wait_ms.into()),
    ]);
    let (reply, trade) = agent.exchange(&exchange.service, &request, options).await?;
    let mut json = json!({ "trade": id_of(trade.as_str()) });
    match &exchange.output {
        Some(file) => {
            files::write(file, &reply)?;
            json["reply_file"] = json!(file);
            Ok(Answer::new(json, format!("The reply is in {}", file.display())))
        }
        None => {
            put_payload(&mut json, &reply);
            Ok(Answer { json, text: reply })
        }
    }
}

pub(crate) async fn run(trade: Trade, json: bool) -> Result<Answer, Failure> {
    let bus = bus().await?;
    match trade {
        Trade::Open { service, order } => open(&bus, &service, &order).await,
        Trade::Listen { service, count } => listen(&bus, &service, count, json).await,
        Trade::Send { trade, payload_file, payload } => {
            send(&bus, &trade, &payload_file, &payload).await
        }
        Trade::Receive { trade, after, wait } => receive(&bus, &trade, after, &wait).await,
        Trade::Close { trade, wait, receipt } => close(&bus, &trade, &wait, receipt).await,
        Trade::Receipt { trade, output } => {
            let receipt = proxy(&bus, &trade).await?.receipt(Options::new()).await?;
            written(&output, &receipt)
        }
        Trade::List => list(&bus).await,
    }
}

async fn open(bus: &Connection, service: &str, order: &Order) -> Result<Answer, Failure> {
    let options = Options::from([("outer", order.outer.word().into())]);
    let path = Agent1Proxy::new(bus).await?.open_trade(service, options).await?;
    let id = id_of(path.as_str());
    Ok(Answer::new(json!({ "trade": id }), id))
}

/// Prints each offer as it comes: one line, or one object.
async fn listen(
    bus: &Connection,
    service: &str,
    count: Option<u32>,
    json: bool,
) -> Result<Answer, Failure> {
    let agent = Agent1Proxy::new(bus).await?;
    let mut offers = agent.receive_trade_offered().await?;
    agent.listen(service, Options::new()).await?;
    eprintln!("Listening for {}", harmless(service));
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        let offer =
            offers.next().await.ok_or_else(|| Failure::of_name("Disconnected", "the bus"))?;
        let id = id_of(offer.args()?.trade.as_str()).to_owned();
        let mut out = std::io::stdout().lock();
        let _ = match json {
            true => writeln!(out, "{}", json!({ "trade": id, "service": service })),
            false => writeln!(out, "{id}"),
        };
        seen += 1;
    }
    Ok(Answer::new(json!({ "offered": seen }), ""))
}

async fn send(
    bus: &Connection,
    trade: &str,
    file: &Path,
    payload: &Payload,
) -> Result<Answer, Failure> {
    let options = Options::from([("content_type", payload.content_type.as_str().into())]);
    let index = proxy(bus, trade).await?.send(&files::read(file)?, options).await?;
    Ok(Answer::new(json!({ "index": index }), format!("Message {index} is in the outbox")))
}

async fn receive(
    bus: &Connection,
    trade: &str,
    after: u64,
    wait: &Wait,
) -> Result<Answer, Failure> {
    let trade = proxy(bus, trade).await?;
    let messages = trade.receive(after, wait.wait_ms, Options::new()).await?;
    let json: Vec<Value> = messages.iter().map(message_json).collect();
    let text: Vec<String> = messages.iter().map(message_text).collect();
    let text = if text.is_empty() { "Nothing has arrived".to_owned() } else { text.join("\n") };
    Ok(Answer::new(json!({ "messages": json }), text))
}

async fn close(
    bus: &Connection,
    trade: &str,
    wait: &Wait,
    receipt: Option<PathBuf>,
) -> Result<Answer, Failure> {
    let options = Options::from([("wait_ms", wait.wait_ms.into())]);
    let bytes = proxy(bus, trade).await?.close(options).await?;
    match receipt {
        Some(file) => written(&file, &bytes),
        None => Ok(Answer::new(
            json!({ "receipt_bytes": bytes.len() }),
            "Closed. The receipt: twinseal trade receipt",
        )),
    }
}

fn written(file: &Path, receipt: &[u8]) -> Result<Answer, Failure> {
    files::write(file, receipt)?;
    let text = format!("The receipt is in {}", file.display());
    Ok(Answer::new(json!({ "receipt_file": file, "receipt_bytes": receipt.len() }), text))
}

async fn list(bus: &Connection) -> Result<Answer, Failure> {
    let manager = ObjectManagerProxy::builder(bus)
        .destination(twinseal_client::BUS_NAME)
        .path(ROOT_PATH)
        .build()
        .await?;
    let objects = manager.get_managed_objects().await.map_err(zbus::Error::from)?;
    let trades = objects.values().filter_map(|interfaces| interfaces.get(TRADE_INTERFACE));
    let mut rows: Vec<[String; 6]> = trades
        .map(|trade| {
            let shown = |name: &str| trade.get(name).map(word).unwrap_or_default();
            ["Id", "Service", "State", "Outer", "Sent", "Received"].map(shown)
        })
        .collect();
    rows.sort();
    let json = rows.iter().map(|[id, service, state, outer, sent, received]| {
        let number = |text: &String| text.parse::<u32>().unwrap_or_default();
        json!({
            "trade": id, "service": service, "state": state, "outer": outer,
            "sent": number(sent), "received": number(received),
        })
    });
    let json: Vec<Value> = json.collect();
    let text: Vec<String> = rows.iter().map(|row| harmless(&row.join("  "))).collect();
    let text = if text.is_empty() { "No trades".to_owned() } else { text.join("\n") };
    Ok(Answer::new(json!({ "trades": json }), text))
}

/// A trade of this user, by its id or by its path.
pub(crate) async fn proxy<'a>(bus: &Connection, trade: &str) -> Result<TradeProxy<'a>, Failure> {
    let path = own::path("trade", trade)?;
    Ok(TradeProxy::builder(bus).path(path).build().await?)
}

fn message_json((index, content_type, payload): &Received) -> Value {
    let mut json = json!({ "index": index, "content_type": content_type });
    put_payload(&mut json, payload);
    json
}

/// As text where it is text, and always in base64.
fn put_payload(json: &mut Value, payload: &[u8]) {
    json["payload"] = json!(STANDARD.encode(payload));
    json["text"] = json!(std::str::from_utf8(payload).ok());
}

fn message_text((index, content_type, payload): &Received) -> String {
    let content_type = if content_type.is_empty() { "no type" } else { content_type };
    format!("{index}  {}  {} bytes\n{}", harmless(content_type), payload.len(), shown(payload))
}

fn word(value: &OwnedVariant) -> String {
    <&str>::try_from(value).map_or_else(|_| value.to_string(), str::to_owned)
}
