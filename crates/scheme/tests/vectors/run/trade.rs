//! Contents, trades, receipts.

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{InnerHash, ServerId, TradeId};
use twinseal_scheme::keys::SigningAlgorithm;
use twinseal_scheme::message::Outer;
use twinseal_scheme::receipt::SignedReceipt;
use twinseal_scheme::trade::{Chain, Close, Content, Receipt, Received, Row, Trade, Withdraw};

use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};
use crate::wire::{array, bstr, uint};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "content", input: Some("content"), exact: false, run: content },
    Operation { name: "close", input: Some("payload"), exact: false, run: close },
    Operation { name: "withdraw", input: Some("content"), exact: false, run: withdraw },
    Operation { name: "chain", input: None, exact: false, run: chain },
    Operation { name: "chain-step", input: None, exact: false, run: chain_step },
    Operation { name: "trade-receive", input: Some("content"), exact: false, run: receive },
    Operation { name: "trade-pass", input: None, exact: false, run: pass },
    Operation { name: "trade-send", input: None, exact: false, run: send },
    Operation { name: "trade-receipt", input: Some("receipt"), exact: false, run: agree },
    Operation { name: "receipt", input: Some("receipt"), exact: true, run: receipt },
];

fn direction(i: &Inputs) -> Direction {
    Direction::of_number(i.number("direction")).unwrap()
}

fn content(i: &Inputs) -> Outcome {
    let encoded = i.bytes("content");
    let content = Content::decode(&encoded)?;
    assert!(content.encode() == encoded, "encoded anew");
    let hash = content.inner_hash(direction(i)).0;
    Ok(vec![
        bytes("out-trade", content.trade.0),
        word("out-index", content.index),
        word("out-service", content.service),
        word("out-type", content.message_type.number()),
        word("out-content-type", content.content_type),
        bytes("out-payload", content.payload),
        bytes("out-inner-hash", hash),
    ])
}

fn close(i: &Inputs) -> Outcome {
    let payload = i.bytes("payload");
    let close = Close::decode(&payload)?;
    assert!(close.encode() == payload, "encoded anew");
    Ok(vec![
        word("out-sent-count", close.sent.count),
        bytes("out-sent", close.sent.value),
        word("out-received-count", close.received.count),
        bytes("out-received", close.received.value),
    ])
}

fn withdraw(i: &Inputs) -> Outcome {
    let content = Content::decode(&i.bytes("content"))?;
    let withdraw = Withdraw::of(&content)?;
    assert!(withdraw.encode() == content.payload, "encoded anew");
    let item = |w: &twinseal_scheme::trade::Withdrawn| {
        array(&[uint(w.index.number().into()), bstr(w.hash.0)])
    };
    let items: Vec<_> = withdraw.messages().iter().map(item).collect();
    Ok(vec![bytes("out-withdrawn", array(&items))])
}

fn chain(i: &Inputs) -> Outcome {
    let start = Chain::start(direction(i), TradeId(i.fixed("trade")));
    let hashes = i.bytes("inner-hashes");
    let hashes = hashes.chunks(32).map(|hash| InnerHash(hash.try_into().unwrap()));
    let chain = hashes.into_iter().try_fold(start, Chain::then)?;
    Ok(vec![word("out-count", chain.count), bytes("out-chain", chain.value)])
}

fn chain_step(i: &Inputs) -> Outcome {
    let chain = Chain { count: i.number("from-count"), value: i.fixed("from-chain") };
    let chain = chain.then(InnerHash(i.fixed("inner-hash")))?;
    Ok(vec![word("out-count", chain.count), bytes("out-chain", chain.value)])
}

fn state(i: &Inputs) -> Trade {
    let encoded = i.bytes("trade");
    let trade = Trade::decode(&encoded).unwrap();
    assert!(trade.encode() == encoded, "encoded anew");
    trade
}

fn receive(i: &Inputs) -> Outcome {
    let (trade, content) = (state(i), Content::decode(&i.bytes("content"))?);
    let known = i.has("known").then(|| InnerHash(i.fixed("known")));
    let received = match trade.receive(&content, Outer::of_word(i.word("outer")).unwrap(), known)? {
        Received::New => "new",
        Received::Again => "again",
    };
    Ok(vec![word("out-received", received)])
}

fn pass(i: &Inputs) -> Outcome {
    let mut trade = state(i);
    let row = match i.has("withdrawn") {
        true => Row::Withdrawn(InnerHash(i.fixed("withdrawn"))),
        false => Row::Message(Content::decode(&i.bytes("content"))?),
    };
    trade.pass(&row)?;
    Ok(vec![bytes("out-trade", trade.encode())])
}

fn send(i: &Inputs) -> Outcome {
    let mut trade = state(i);
    let payload = || i.bytes("payload");
    let contents = match i.word("action") {
        "data" => vec![trade.data("text/plain", payload())?],
        "reply" => vec![trade.reply("text/plain", payload())?],
        "receipt" => vec![trade.receipt(payload())?],
        "close" => trade.close(&[])?,
        other => panic!("no action {other}"),
    };
    let contents: Vec<_> = contents.iter().map(Content::encode).collect();
    Ok(vec![bytes("out-contents", array(&contents)), bytes("out-trade", trade.encode())])
}

fn agree(i: &Inputs) -> Outcome {
    Receipt::decode(&i.bytes("receipt"))?.agrees_with(&state(i))?;
    Ok(vec![])
}

fn receipt(i: &Inputs) -> Outcome {
    let encoded = i.bytes("receipt");
    let signed = SignedReceipt::verify(&encoded, &ServerId(i.fixed("server-id")))?;
    assert!(signed.encode() == encoded, "encoded anew");
    anew(&signed, &encoded)?;
    Ok(vec![
        word("out-signatures", if signed.is_countersigned() { 2 } else { 1 }),
        bytes("out-body", signed.receipt.encode()),
        bytes("out-trade", signed.receipt.trade.0),
        word("out-assurance", &signed.device.assurance),
        bytes("out-digest", signed.digest()),
    ])
}

/// The last signature of a receipt that both have signed, added to it once more.
fn anew(signed: &SignedReceipt, encoded: &[u8]) -> Result<(), Reason> {
    if signed.is_countersigned() {
        let len =
            if signed.device.signing.algorithm() == SigningAlgorithm::Es256 { 64 } else { 256 };
        let signature = encoded[encoded.len() - len..].to_vec();
        let again = signed.clone().countersign(signature)?.encode();
        assert!(again == encoded, "countersigned anew");
    }
    Ok(())
}
