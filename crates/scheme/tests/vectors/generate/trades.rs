//! The rules of trades: a state of one side, and what it makes of the next message.

use super::contents::{
    CLOSE, Content, DATA, OPEN, RECEIPT, REPLY, REQUEST, WITHDRAW, chain, trade_id, withdrawn,
};
use crate::crypto::sha256;
use crate::format::{Field, Vector, bytes, word};
use crate::wire::{NULL, array, bstr, tstr, uint};

pub fn vectors() -> Vec<Vector> {
    [received(), refused(), closes(), passed(), sent(), sending_refused(), receipts()].concat()
}

type Chain = (u64, [u8; 32]);

/// The state of a trade on one side, as `Trade::encode` writes it.
#[derive(Clone)]
pub struct State {
    me: u64,
    opener: u64,
    /// 0 trade, 1 exchange.
    kind: Option<u64>,
    sent: Chain,
    received: Chain,
    close_sent: Option<Chain>,
    close_received: Option<Chain>,
    peer_has: u64,
    receipts: u64,
    is_refused: u64,
}

const UP: u64 = 0;
const DOWN: u64 = 1;

impl State {
    /// A trade that the server has heard nothing of but that it exists; the device opens it.
    fn offered() -> State {
        State {
            me: DOWN,
            opener: UP,
            kind: None,
            sent: (0, start(DOWN)),
            received: (0, start(UP)),
            close_sent: None,
            close_received: None,
            peer_has: 0,
            receipts: 0,
            is_refused: 0,
        }
    }

    /// On the server, opened by the device.
    fn open() -> State {
        State { kind: Some(0), ..State::offered() }.after_received(&Content::new(1, OPEN, &[]))
    }

    /// On the server, the device's request is there.
    fn requested() -> State {
        let request = Content::new(1, REQUEST, b"price?");
        let state = State { kind: Some(1), ..State::offered() }.after_received(&request);
        State { close_received: Some(state.received), ..state }
    }

    /// On the device, which waits for the reply.
    fn waiting() -> State {
        let state = State { me: UP, kind: Some(1), ..State::offered() };
        let state = State { sent: (0, start(UP)), received: (0, start(DOWN)), ..state };
        let state = state.after_sent(&Content::new(1, REQUEST, b"price?"));
        State { close_sent: Some(state.sent), ..state }
    }

    /// On the server, which has closed; the device has not.
    fn closing() -> State {
        let state = State::open().after_sent(&Content::new(1, CLOSE, &State::open().close()));
        State { close_sent: Some(state.sent), ..state }
    }

    /// On the server, both closes are there.
    fn closed() -> State {
        let state = State::closing();
        let close = array(&[link(state.received), link(state.sent)]);
        let state = state.clone().after_received(&Content::new(2, CLOSE, &close));
        State { close_received: Some(state.received), peer_has: 1, ..state }
    }

    /// The payload of a close of this side.
    fn close(&self) -> Vec<u8> {
        array(&[link(self.sent), link(self.received)])
    }

    fn after_received(self, content: &Content) -> State {
        State { received: then(self.received, content.inner_hash(1 - self.me)), ..self }
    }

    fn after_sent(self, content: &Content) -> State {
        State { sent: then(self.sent, content.inner_hash(self.me)), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let or_null = |chain: Option<Chain>| chain.map_or(NULL.to_vec(), link);
        array(&[
            bstr(trade_id()),
            tstr(super::contents::SERVICE),
            uint(self.me),
            uint(self.opener),
            uint(1),
            self.kind.map_or(NULL.to_vec(), uint),
            link(self.sent),
            link(self.received),
            or_null(self.close_sent),
            or_null(self.close_received),
            uint(self.peer_has),
            uint(self.receipts),
            uint(self.is_refused),
        ])
    }
}

fn link((count, value): Chain) -> Vec<u8> {
    chain(count, value)
}

fn start(direction: u64) -> [u8; 32] {
    sha256([&b"twinseal/trade/v1"[..], &[direction as u8], &trade_id()].concat())
}

fn then((count, value): Chain, hash: [u8; 32]) -> Chain {
    (count + 1, sha256([value, hash].concat()))
}

/// The other side's message, to be judged.
fn receive(state: &State, content: &Content) -> Vector {
    let fields = vec![
        bytes("trade", state.bytes()),
        bytes("content", content.bytes()),
        word("outer", "serial"),
    ];
    Vector::good("trade", "", "trade-receive", fields)
}

fn with(mut vector: Vector, name: &str, outputs: &[Field]) -> Vector {
    vector.name = format!("{}-{name}", &vector.operation["trade-".len()..]);
    vector.fields.extend_from_slice(outputs);
    vector
}

fn no(mut vector: Vector, expect: &str, rule: &str, fault: &str) -> Vector {
    vector.name = vector.operation["trade-".len()..].into();
    vector.refused(expect, rule, fault)
}

fn data(index: u64) -> Content {
    Content::new(index, DATA, b"two coffees")
}

fn received() -> Vec<Vector> {
    let new = |name: &str, state: &State, content: &Content| {
        with(receive(state, content), name, &[word("out-received", "new")])
    };
    let known = |name: &str, state: &State, content: &Content| {
        let mut vector = receive(state, content);
        vector.fields.push(bytes("known", content.inner_hash(1 - state.me)));
        with(vector, name, &[word("out-received", "again")])
    };
    let open = Content::new(1, OPEN, &[]);
    let taken_back = array(&[withdrawn(2, data(2).inner_hash(UP))]);
    vec![
        new("open", &State::offered(), &open),
        new("request", &State::offered(), &Content::new(1, REQUEST, b"price?")),
        new("before-open", &State::offered(), &data(2)),
        new("data", &State::open(), &data(2)),
        new("early", &State::open(), &data(7)),
        new("reply", &State::waiting(), &Content::new(1, REPLY, b"2.40")),
        new("withdraw", &State::open(), &Content::new(3, WITHDRAW, &taken_back)),
        new("receipt", &State::closed().mirrored(), &Content::new(2, RECEIPT, b"signed")),
        known("again", &State::open(), &data(2)),
        with(receive(&State::open(), &open), "passed", &[word("out-received", "again")]),
    ]
}

impl State {
    /// The device's view of what the server's state says.
    fn mirrored(self) -> State {
        State {
            me: UP,
            sent: self.received,
            received: self.sent,
            close_sent: self.close_received,
            close_received: self.close_sent,
            ..self
        }
    }
}

fn refused() -> Vec<Vector> {
    let state = State::open();
    let other = |change: fn(&mut Content)| {
        let mut content = data(2);
        change(&mut content);
        receive(&state, &content)
    };
    let mut order = receive(&state, &data(2));
    order.fields[2] = word("outer", "key");
    let mut rolled_back = receive(&state, &data(2));
    rolled_back.fields.push(bytes("known", data(3).inner_hash(UP)));
    let ended = State { receipts: 2, ..State::closed() };
    let turned_down = State { is_refused: 1, ..State::open() };
    let (open, request) = (Content::new(2, OPEN, &[]), Content::new(2, REQUEST, b"price?"));
    let kind = "wrong-kind";
    vec![
        no(other(|c| c.trade = [0; 16]), "wrong-trade", "trade", "a message of another trade"),
        no(
            other(|c| c.service = "com.example.bar".into()),
            "wrong-service",
            "service",
            "a message for another service",
        ),
        no(order, "wrong-order", "order", "a message nested in the other order"),
        no(rolled_back, "disk-rollback", "rollback", "other content under an index that is taken"),
        no(receive(&ended, &data(3)), "trade-ended", "ended", "a message behind the receipt"),
        no(receive(&turned_down, &data(2)), "trade-ended", "turned-down", "after a refusal"),
        no(
            receive(&State::offered(), &data(1)),
            "not-opened",
            "not-opened",
            "a first message that opens nothing",
        ),
        no(receive(&state, &open), "opened-twice", "opened-twice", "a second opening"),
        no(receive(&state, &request), "opened-twice", "requested", "a request in an open trade"),
        no(
            receive(&state, &Content::new(2, REPLY, b"")),
            kind,
            "reply-in-trade",
            "a reply in a trade that is no exchange",
        ),
        no(receive(&State::requested(), &data(2)), kind, "data-in-exchange", "data in an exchange"),
        no(
            receive(&State::requested(), &Content::new(2, REPLY, b"")),
            "reply-not-due",
            "reply-own",
            "a reply to one's own request",
        ),
        no(
            receive(&State::closed(), &data(3)),
            "after-close",
            "after-close",
            "data behind the sender's own close",
        ),
        no(
            receive(&state, &Content::new(2, RECEIPT, b"signed")),
            "receipt-not-due",
            "receipt-early",
            "a receipt of an open trade",
        ),
        no(
            receive(&State::closed(), &Content::new(3, RECEIPT, b"signed")),
            "receipt-not-due",
            "receipt-first",
            "the device's receipt before the server's",
        ),
    ]
}

/// A close that arrives in its turn: what it says must be what this side has.
fn closes() -> Vec<Vector> {
    let state = State::open().after_sent(&Content::new(1, DATA, b"one moment"));
    let close = |sent: Chain, received: Chain| {
        receive(&state, &Content::new(2, CLOSE, &array(&[link(sent), link(received)])))
    };
    let (theirs, mine) = (state.received, state.sent);
    let new = |name: &str, vector: Vector| with(vector, name, &[word("out-received", "new")]);
    let mismatch = "chain-mismatch";
    vec![
        new("close", close(theirs, mine)),
        new("close-behind", close(theirs, (0, start(DOWN)))),
        no(close((theirs.0 + 1, theirs.1), mine), mismatch, "sent-count", "one more than arrived"),
        no(close((theirs.0, [0; 32]), mine), mismatch, "sent-chain", "another chain than arrived"),
        no(
            close(theirs, (mine.0 + 1, mine.1)),
            mismatch,
            "received-count",
            "one more than was sent",
        ),
        no(
            close(theirs, (mine.0, [0; 32])),
            mismatch,
            "received-chain",
            "another chain than was sent",
        ),
    ]
}

/// Rows whose turn has come: the state afterwards.
fn passed() -> Vec<Vector> {
    let pass = |state: &State, content: &Content| {
        let fields = vec![bytes("trade", state.bytes()), bytes("content", content.bytes())];
        Vector::good("trade", "", "trade-pass", fields)
    };
    let after = |name: &str, vector: Vector, state: &State| {
        with(vector, name, &[bytes("out-trade", state.bytes())])
    };
    let open = Content::new(1, OPEN, &[]);
    let reply = Content::new(1, REPLY, b"2.40");
    let replied = State::waiting().after_received(&reply);
    let replied = State { close_received: Some(replied.received), ..replied };
    let receipt = Content::new(2, RECEIPT, b"signed");
    let device = State::closed().mirrored();
    let received = State { receipts: 1, ..device.clone().after_received(&receipt) };
    let hash = data(2).inner_hash(UP);
    let mut withdrawn = pass(&State::open(), &open);
    withdrawn.fields[1] = bytes("withdrawn", hash);
    let gap = State { received: then(State::open().received, hash), ..State::open() };
    vec![
        after("open", pass(&State::offered(), &open), &State::open()),
        after("data", pass(&State::open(), &data(2)), &State::open().after_received(&data(2))),
        after("reply", pass(&State::waiting(), &reply), &replied),
        after("receipt", pass(&device, &receipt), &received),
        after("withdrawn", withdrawn, &gap),
        no(pass(&State::open(), &data(3)), "out-of-turn", "turn", "a message before its turn"),
        no(pass(&State::open(), &data(1)), "out-of-turn", "turn-over", "a message after its turn"),
    ]
}

/// What this side sends: the content, and the state afterwards.
fn send(state: &State, action: &str) -> Vector {
    let fields = vec![bytes("trade", state.bytes()), word("action", action)];
    Vector::good("trade", "", "trade-send", fields)
}

fn with_payload(state: &State, action: &str, payload: &[u8]) -> Vector {
    let mut vector = send(state, action);
    vector.fields.push(bytes("payload", payload));
    vector
}

fn sent() -> Vec<Vector> {
    let out = |name: &str, vector: Vector, contents: &[Content], after: &State| {
        let contents: Vec<_> = contents.iter().map(Content::bytes).collect();
        let outputs = [bytes("out-contents", array(&contents)), bytes("out-trade", after.bytes())];
        with(vector, name, &outputs)
    };
    let message = Content::new(1, DATA, b"one moment");
    let said = State::open().after_sent(&message);
    let reply = Content::new(1, REPLY, b"2.40");
    let replied = State::requested().after_sent(&reply);
    let replied = State { close_sent: Some(replied.sent), ..replied };
    let close = Content::new(1, CLOSE, &State::open().close());
    let receipt = Content::new(2, RECEIPT, b"signed");
    let issued = State { receipts: 1, ..State::closed().after_sent(&receipt) };
    vec![
        out(
            "data",
            with_payload(&State::open(), "data", b"one moment"),
            std::slice::from_ref(&message),
            &said,
        ),
        out("reply", with_payload(&State::requested(), "reply", b"2.40"), &[reply], &replied),
        out("close", send(&State::open(), "close"), &[close], &State::closing()),
        out("receipt", with_payload(&State::closed(), "receipt", b"signed"), &[receipt], &issued),
    ]
}

fn sending_refused() -> Vec<Vector> {
    let data = |state: &State| with_payload(state, "data", b"one moment");
    let closing = State::closed();
    let peer_closed = State { close_sent: None, ..closing.clone() };
    let ended = State { receipts: 2, ..closing.clone() };
    let mut full = State::open();
    full.sent.0 = u64::from(u32::MAX / 2);
    let mut last = State::open();
    last.sent.0 = u32::MAX.into();
    vec![
        no(data(&State::offered()), "not-opened", "offered", "before the opening is there"),
        no(data(&peer_closed), "peer-closed", "peer-closed", "after the other side's close"),
        no(data(&State::closing()), "after-close", "after-close", "after one's own close"),
        no(data(&ended), "trade-ended", "ended", "after the receipt"),
        no(data(&State::waiting()), "wrong-kind", "data-in-exchange", "data in an exchange"),
        no(
            with_payload(&State::waiting(), "reply", b""),
            "reply-not-due",
            "reply-own",
            "a reply to one's own request",
        ),
        no(
            with_payload(&State::open(), "receipt", b""),
            "receipt-not-due",
            "receipt-early",
            "a receipt of an open trade",
        ),
        no(data(&full), "trade-full", "full", "more than half of all indices"),
        no(send(&last, "close"), "trade-full", "last", "no index left"),
    ]
}

/// Receipts against the trade as this side knows it; the body is unsigned.
fn receipts() -> Vec<Vector> {
    let state = State::closed();
    let (up, down) = (state.close_received.unwrap(), state.close_sent.unwrap());
    let body = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut items = super::receipts::items_of(link(up), link(down));
        change(&mut items);
        array(&items)
    };
    let agree = |state: &State, body: Vec<u8>| {
        let fields = vec![bytes("trade", state.bytes()), bytes("receipt", body)];
        Vector::good("trade", "", "trade-receipt", fields)
    };
    let same = body(&|_| ());
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        no(agree(&state, body(&|items| items[at] = item.clone())), expect, rule, fault)
    };
    let another = "receipt-of-another";
    vec![
        with(agree(&state, same.clone()), "server", &[]),
        with(agree(&State::closed().mirrored(), same.clone()), "device", &[]),
        no(agree(&State::closing(), same), "receipt-not-due", "not-closed", "one close is missing"),
        refused(another, "trade", "of another trade", 1, bstr([0; 16])),
        refused(another, "service", "of another service", 2, tstr("com.example.bar")),
        refused("receipt-mismatch", "up", "another chain up", 9, chain(2, [0; 32])),
        refused("receipt-mismatch", "down", "another chain down", 10, chain(1, [0; 32])),
        refused("receipt-mismatch", "count", "another count", 10, chain(2, down.1)),
    ]
}
