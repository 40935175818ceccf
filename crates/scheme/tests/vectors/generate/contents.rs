//! The innermost content, the payloads of control messages, and the chains.

use super::last_changed;
use crate::crypto::{drawn, sha256};
use crate::format::{Vector, bytes, unhex, word};
use crate::wire::{array, bstr, int, tstr, uint};

pub fn vectors() -> Vec<Vector> {
    [good(), fields(), shapes(), closes(), withdrawals(), chains()].concat()
}

const SHAPE: &str = "wrong-shape";

pub fn trade_id() -> [u8; 16] {
    drawn("trade id")
}

pub const OPEN: u64 = 1;
pub const DATA: u64 = 2;
pub const CLOSE: u64 = 3;
pub const WITHDRAW: u64 = 4;
pub const RECEIPT: u64 = 5;
pub const REQUEST: u64 = 6;
pub const REPLY: u64 = 7;

pub const SERVICE: &str = "com.example.till";

/// A message in pieces.
#[derive(Clone)]
pub struct Content {
    pub trade: [u8; 16],
    pub index: u64,
    pub service: String,
    pub kind: u64,
    pub content_type: String,
    pub payload: Vec<u8>,
}

impl Content {
    pub fn new(index: u64, kind: u64, payload: &[u8]) -> Content {
        let is_for_application = [DATA, REQUEST, REPLY].contains(&kind);
        Content {
            trade: trade_id(),
            index,
            service: SERVICE.into(),
            kind,
            content_type: if is_for_application { "text/plain".into() } else { String::new() },
            payload: payload.to_vec(),
        }
    }

    pub fn items(&self) -> Vec<Vec<u8>> {
        vec![
            bstr(self.trade),
            uint(self.index),
            tstr(&self.service),
            uint(self.kind),
            tstr(&self.content_type),
            bstr(&self.payload),
        ]
    }

    pub fn bytes(&self) -> Vec<u8> {
        array(&self.items())
    }

    pub fn inner_hash(&self, direction: u64) -> [u8; 32] {
        sha256(array(&[
            bstr(self.trade),
            uint(direction),
            uint(self.index),
            uint(self.kind),
            tstr(&self.content_type),
            bstr(sha256(&self.payload)),
        ]))
    }
}

fn vector(content: Vec<u8>) -> Vector {
    let fields = vec![bytes("content", content), word("direction", 0)];
    Vector::good("content", "", "content", fields)
}

fn good() -> Vec<Vector> {
    let accepted = |name: &str, direction: u64, content: Content| {
        let mut vector = vector(content.bytes());
        vector.name = name.into();
        vector.fields[1] = word("direction", direction);
        vector.fields.extend([
            bytes("out-trade", content.trade),
            word("out-index", content.index),
            word("out-service", &content.service),
            word("out-type", content.kind),
            word("out-content-type", &content.content_type),
            bytes("out-payload", &content.payload),
            bytes("out-inner-hash", content.inner_hash(direction)),
        ]);
        vector
    };
    let data = Content::new(2, DATA, b"two coffees");
    let last = Content { index: u32::MAX.into(), ..data.clone() };
    let bare = Content { content_type: String::new(), payload: vec![], ..data.clone() };
    let largest = Content { payload: vec![0; 252 * 1024], ..data.clone() };
    let longest = Content {
        service: ["a".repeat(63), "b".repeat(63)].join("."),
        content_type: "t".repeat(127),
        ..data.clone()
    };
    vec![
        accepted("open", 0, Content::new(1, OPEN, &[])),
        accepted("data-up", 0, data.clone()),
        accepted("data-down", 1, data),
        accepted("request", 1, Content::new(1, REQUEST, b"price?")),
        accepted("reply", 0, Content::new(1, REPLY, b"2.40")),
        accepted("receipt", 1, Content::new(9, RECEIPT, b"signed")),
        accepted("last", 0, last),
        accepted("bare", 0, bare),
        accepted("largest", 0, largest),
        accepted("longest", 0, longest),
    ]
}

/// Fields that are of the right type and out of their bounds.
fn fields() -> Vec<Vector> {
    let refused = |expect: &str, rule: &str, fault: &str, change: &dyn Fn(&mut Content)| {
        let mut content = Content::new(2, DATA, b"two coffees");
        change(&mut content);
        vector(content.bytes()).refused(expect, rule, fault)
    };
    let service = |rule: &str, fault: &str, name: String| {
        refused("bad-service", &format!("service-{rule}"), fault, &|c| c.service = name.clone())
    };
    let content_type = |rule: &str, fault: &str, text: String| {
        let change = |c: &mut Content| c.content_type = text.clone();
        refused("bad-content-type", &format!("content-type-{rule}"), fault, &change)
    };
    let control = |kind: u64, name: &str| {
        let rule = format!("content-type-{name}");
        let fault = format!("a content type on a {name}");
        refused("bad-content-type", &rule, &fault, &|c| (c.kind, c.payload) = (kind, vec![]))
    };
    let long = ["a".repeat(63), "b".repeat(64)].join(".");
    let whole = [63, 63, 1].map(|n| "a".repeat(n)).join(".");
    vec![
        refused("bad-index", "index-0", "an index of 0", &|c| c.index = 0),
        refused("bad-message-type", "type-0", "a type that there is not", &|c| c.kind = 0),
        refused("bad-message-type", "type-8", "a type that there is not", &|c| c.kind = 8),
        refused("unexpected-payload", "open-payload", "an opening with a payload", &|c| {
            (c.kind, c.content_type) = (OPEN, String::new());
        }),
        refused("payload-too-large", "payload", "a payload of 252 KiB and a byte", &|c| {
            c.payload = vec![0; 252 * 1024 + 1];
        }),
        refused("too-large", "size", "over 252 KiB and 512 bytes", &|c| {
            c.payload = vec![0; 252 * 1024 + 512];
        }),
        service("empty", "no name", String::new()),
        service("one-part", "a name of one part", "till".into()),
        service("dot", "a dot at the end", "com.example.".into()),
        service("dots", "an empty part", "com..till".into()),
        service("capital", "a capital letter", "com.example.Till".into()),
        service("underscore", "an underscore", "com.example.my_till".into()),
        service("hyphen", "a part that ends with a hyphen", "com.example-.till".into()),
        service("unicode", "a letter beyond ASCII", "com.exämple.till".into()),
        service("part-64", "a part of 64 letters", long),
        service("whole-129", "a name of 129 letters", whole),
        content_type("128", "a content type of 128 bytes", "t".repeat(128)),
        content_type("control", "a line feed in a content type", "text/plain\n".into()),
        content_type("unicode", "a letter beyond ASCII in a content type", "tëxt".into()),
        control(OPEN, "open"),
        control(CLOSE, "close"),
        control(WITHDRAW, "withdraw"),
        control(RECEIPT, "receipt"),
    ]
}

fn shapes() -> Vec<Vector> {
    let items = Content::new(2, DATA, b"two coffees").items();
    let refused = |expect: &str, rule: &str, fault: &str, at: usize, item: Vec<u8>| {
        let mut items = items.clone();
        items[at] = item;
        vector(array(&items)).refused(expect, rule, fault)
    };
    vec![
        refused(SHAPE, "trade-15", "a trade id of 15 bytes", 0, bstr([0; 15])),
        refused(SHAPE, "index-large", "an index of 2^32", 1, uint(1 << 32)),
        refused(SHAPE, "index-negative", "an index of -1", 1, int(-1)),
        refused(SHAPE, "service-bytes", "a service that is a byte string", 2, bstr("a.b")),
        refused(SHAPE, "type-256", "a type that does not fit into a byte", 3, uint(256)),
        refused(SHAPE, "type-text", "a type that is a text", 3, tstr("data")),
        refused(SHAPE, "payload-text", "a payload that is a text", 5, tstr("two coffees")),
        vector(array(&items[..5])).refused(SHAPE, "short", "no payload"),
        vector(array(&[&items[..], &[uint(0)]].concat())).refused(SHAPE, "more", "seven items"),
        vector([array(&items), vec![0]].concat()).refused("not-cbor", "trailing", "a byte behind"),
        vector(vec![]).refused("not-cbor", "empty", "no content"),
    ]
}

pub fn chain(count: u64, value: [u8; 32]) -> Vec<u8> {
    array(&[uint(count), bstr(value)])
}

fn closes() -> Vec<Vector> {
    let vector = |payload: Vec<u8>| {
        Vector::good("control", "close", "close", vec![bytes("payload", payload)])
    };
    let (sent, received) = (chain(3, [1; 32]), chain(2, [2; 32]));
    let mut good = vector(array(&[&sent, &received]));
    good.fields.extend([
        word("out-sent-count", 3),
        bytes("out-sent", [1; 32]),
        word("out-received-count", 2),
        bytes("out-received", [2; 32]),
    ]);
    vec![
        good,
        vector(array(&[&sent])).refused(SHAPE, "short", "one direction"),
        vector(array(&[&sent, &received, &received])).refused(SHAPE, "more", "three directions"),
        vector(array(&[&chain(1 << 32, [1; 32]), &received])).refused(
            SHAPE,
            "count",
            "2^32 messages",
        ),
        vector(array(&[array(&[uint(3), bstr([1; 31])]), received])).refused(
            SHAPE,
            "hash-31",
            "a chain of 31 bytes",
        ),
        vector(vec![]).refused("not-cbor", "empty", "no payload"),
    ]
}

/// One withdrawn message.
pub fn withdrawn(index: u64, hash: [u8; 32]) -> Vec<u8> {
    array(&[uint(index), bstr(hash)])
}

fn withdrawals() -> Vec<Vector> {
    let of = |index: u64, payload: Vec<u8>| {
        let content = Content::new(index, WITHDRAW, &payload).bytes();
        Vector::good("control", "withdraw", "withdraw", vec![bytes("content", content)])
    };
    let list = |indices: &[u64]| {
        array(&indices.iter().map(|i| withdrawn(*i, [7; 32])).collect::<Vec<_>>())
    };
    let mut good = of(9, list(&[2, 3, 8]));
    good.fields.push(bytes("out-withdrawn", list(&[2, 3, 8])));
    let bad = "bad-withdrawal";
    let most: Vec<u64> = (1..=1024).collect();
    let mut all = of(2000, list(&most));
    all.name = "withdraw-most".into();
    all.fields.push(bytes("out-withdrawn", list(&most)));
    let many: Vec<u64> = (1..=1025).collect();
    let data = Content::new(9, DATA, &list(&[2])).bytes();
    let mut other = of(9, vec![]);
    other.fields = vec![bytes("content", data)];
    vec![
        good,
        all,
        of(9, list(&[])).refused(bad, "none", "nothing withdrawn"),
        of(9, list(&[3, 2])).refused(bad, "order", "not in the order of the indices"),
        of(9, list(&[2, 2])).refused(bad, "twice", "one message twice"),
        of(9, list(&[9])).refused(bad, "itself", "the withdrawal itself"),
        of(9, list(&[8, 10])).refused(bad, "later", "a message behind the withdrawal"),
        of(2000, list(&many)).refused(bad, "1025", "1,025 messages"),
        of(9, list(&[0])).refused("bad-index", "index-0", "an index of 0"),
        of(9, array(&[array(&[uint(2)])])).refused(SHAPE, "short", "no hash"),
        of(9, uint(2)).refused(SHAPE, "number", "a number in place of the list"),
        other.refused("wrong-kind", "data", "the payload of a data message"),
    ]
}

fn chains() -> Vec<Vector> {
    let start = |direction: u64| {
        sha256([&b"twinseal/trade/v1"[..], &[direction as u8], &trade_id()].concat())
    };
    let vector = |name: &str, direction: u64, contents: &[Content]| {
        let fold = |value: [u8; 32], content: &Content| {
            sha256([value, content.inner_hash(direction)].concat())
        };
        let hashes: Vec<u8> = contents.iter().flat_map(|c| c.inner_hash(direction)).collect();
        let fields = vec![
            bytes("trade", trade_id()),
            word("direction", direction),
            bytes("inner-hashes", hashes),
            word("out-count", contents.len()),
            bytes("out-chain", contents.iter().fold(start(direction), fold)),
        ];
        Vector::good("chain", name, "chain", fields)
    };
    let some = [Content::new(1, OPEN, &[]), Content::new(2, DATA, b"two coffees")];
    let full = vec![
        word("from-count", u32::MAX),
        bytes("from-chain", last_changed(&unhex("00 00*31"))),
        bytes("inner-hash", [7; 32]),
    ];
    vec![
        vector("up-start", 0, &[]),
        vector("down-start", 1, &[]),
        vector("up", 0, &some),
        vector("down", 1, &some),
        Vector::good("chain", "", "chain-step", full).refused(
            "trade-full",
            "full",
            "2^32 messages",
        ),
    ]
}
