//! The rules of trades, one by one (docs/scheme.md section 8).

use std::collections::BTreeMap;

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction::{self, Down, Up};
use twinseal_scheme::id::{DeviceId, InnerHash, KeyId, ServerId, TradeId};
use twinseal_scheme::message::Outer;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::trade::{
    Close, Content, Due, Index, Kind, MessageType, Receipt, ReceiptFacts, Received, Row, Service,
    Stage, Trade, Withdraw, Withdrawn,
};

const ID: TradeId = TradeId([1; 16]);
const ORDER: Outer = Outer::Serial;

/// One side with the rows that its caller would keep.
#[derive(Clone)]
struct Side {
    me: Direction,
    trade: Trade,
    rows: BTreeMap<Index, Row>,
}

impl Side {
    fn take(&mut self, content: &Content) -> Result<Received, Reason> {
        let known = self.rows.get(&content.index).map(|row| match row {
            Row::Message(content) => content.inner_hash(self.me.back()),
            Row::Withdrawn(hash) => *hash,
        });
        let received = self.trade.receive(content, ORDER, known)?;
        if received == Received::New {
            self.rows.insert(content.index, Row::Message(content.clone()));
            for w in Withdraw::of(content).iter().flat_map(Withdraw::messages) {
                self.rows.entry(w.index).or_insert(Row::Withdrawn(w.hash));
            }
            while let Some(row) = self.trade.next_index().and_then(|i| self.rows.get(&i)) {
                self.trade.pass(row)?;
            }
        }
        Ok(received)
    }

    fn loose(&self, content: &Content) -> Withdrawn {
        Withdrawn { index: content.index, hash: content.inner_hash(self.me) }
    }
}

fn service() -> Service {
    Service::new("com.example.till").unwrap()
}

/// Both sides of a trade or exchange that the device has begun and the server has heard of.
fn begun(kind: Kind) -> (Side, Side) {
    let (trade, content) = match kind {
        Kind::Trade => Trade::open(ID, service(), Up, ORDER).unwrap(),
        Kind::Exchange => {
            Trade::request(ID, service(), Up, ORDER, "text/plain", b"?".to_vec()).unwrap()
        }
    };
    let device = Side { me: Up, trade, rows: BTreeMap::new() };
    let heard = Trade::heard(&content, Down, ORDER);
    let mut server = Side { me: Down, trade: heard, rows: BTreeMap::new() };
    assert_eq!(server.take(&content), Ok(Received::New));
    (device, server)
}

fn closed() -> (Side, Side) {
    let (mut device, mut server) = begun(Kind::Trade);
    for close in device.trade.close(&[]).unwrap() {
        server.take(&close).unwrap();
    }
    for close in server.trade.close(&[]).unwrap() {
        device.take(&close).unwrap();
    }
    (device, server)
}

fn facts() -> ReceiptFacts {
    ReceiptFacts {
        server_id: ServerId([1; 32]),
        device_id: DeviceId([2; 16]),
        serial: HardwareSerial::from_bytes([3; 32]),
        generation: 1,
        signing_key: KeyId([4; 32]),
        decryption_key: KeyId([5; 32]),
        opened_s: 10,
        closed_s: 20,
        device_statement: b"device".to_vec(),
        server_keys: b"server".to_vec(),
    }
}

/// The receipts go down and up, and both sides have ended alike.
fn ends(mut device: Side, mut server: Side) {
    assert_eq!((device.trade.stage(), server.trade.stage()), (Stage::Closed, Stage::Closed));
    assert_eq!((device.trade.due(), server.trade.due()), (None, Some(Due::Receipt)));
    let receipt = Receipt::of(&server.trade, facts()).unwrap();
    assert_eq!(receipt.agrees_with(&device.trade), Ok(()));
    device.take(&server.trade.receipt(receipt.encode()).unwrap()).unwrap();
    assert_eq!(device.trade.due(), Some(Due::Countersignature));
    server.take(&device.trade.receipt(b"both signatures".to_vec()).unwrap()).unwrap();
    for side in [&device, &server] {
        assert_eq!((side.trade.stage(), side.trade.due()), (Stage::Ended, None));
        assert_eq!(Trade::decode(&side.trade.encode()).as_ref(), Ok(&side.trade));
    }
    assert_eq!(device.trade.sent(), server.trade.received());
    assert_eq!(device.trade.received(), server.trade.sent());
}

#[test]
fn a_trade_is_closed_by_either_side_or_by_both_at_once() {
    let (device, server) = closed();
    ends(device, server);

    let (mut device, mut server) = begun(Kind::Trade);
    let up = device.trade.data("text/plain", b"up".to_vec()).unwrap();
    let down = server.trade.close(&[]).unwrap();
    assert_eq!(device.take(&down[0]), Ok(Received::New));
    assert_eq!(device.trade.due(), Some(Due::Close), "the other side has closed");
    let close = device.trade.close(&[]).unwrap();
    server.take(&up).unwrap();
    server.take(&close[0]).unwrap();
    ends(device, server);

    let (mut device, mut server) = begun(Kind::Trade);
    let (up, down) = (device.trade.close(&[]).unwrap(), server.trade.close(&[]).unwrap());
    device.take(&down[0]).unwrap();
    server.take(&up[0]).unwrap();
    ends(device, server);
}

#[test]
fn an_exchange_ends_by_itself() {
    let (mut device, mut server) = begun(Kind::Exchange);
    assert_eq!((device.trade.stage(), server.trade.stage()), (Stage::Open, Stage::Open));
    assert_eq!((device.trade.due(), server.trade.due()), (None, None));
    assert_eq!(device.trade.reply("", vec![]), Err(Reason::ReplyNotDue));
    assert_eq!(server.trade.close(&[]), Err(Reason::WrongKind));
    let reply = server.trade.reply("text/plain", b"!".to_vec()).unwrap();
    assert_eq!(server.trade.reply("", vec![]), Err(Reason::ReplyNotDue));
    device.take(&reply).unwrap();
    ends(device, server);
}

#[test]
fn what_comes_early_waits_for_its_turn() {
    let (mut device, server) = begun(Kind::Trade);
    let contents: Vec<_> =
        (0..3).map(|n| device.trade.data("text/plain", vec![n]).unwrap()).collect();
    let close = device.trade.close(&[]).unwrap();
    let mut late = server.clone();
    for content in contents.iter().chain(&close).rev() {
        assert_eq!(late.take(content), Ok(Received::New));
        assert_eq!(late.take(content), Ok(Received::Again));
    }
    assert_eq!(late.trade.received(), device.trade.sent());
    assert_eq!(late.trade.due(), Some(Due::Close));

    // Before the opening message, even.
    let heard = Trade::heard(&contents[0], Down, ORDER);
    let mut early = Side { me: Down, trade: heard, rows: BTreeMap::new() };
    assert_eq!(early.take(&contents[0]), Ok(Received::New));
    assert_eq!(early.trade.stage(), Stage::Offered);
    assert_eq!(early.trade.data("", vec![]), Err(Reason::NotOpened));
    let Some(Row::Message(open)) = server.rows.get(&Index::FIRST) else { panic!("no opening") };
    early.take(open).unwrap();
    assert_eq!((early.trade.stage(), early.trade.received().count), (Stage::Open, 2));
}

#[test]
fn a_withdrawal_stands_in_for_what_never_comes() {
    let (mut device, mut server) = begun(Kind::Trade);
    let lost = device.trade.data("text/plain", b"lost".to_vec()).unwrap();
    let late = device.trade.data("text/plain", b"late".to_vec()).unwrap();
    let here = device.trade.data("text/plain", b"here".to_vec()).unwrap();
    server.take(&here).unwrap();
    let loose = [&lost, &late, &here].map(|c| device.loose(c));
    let contents = device.trade.close(&loose).unwrap();
    let types: Vec<_> = contents.iter().map(|c| c.message_type).collect();
    assert_eq!(types, [MessageType::Withdraw, MessageType::Close]);
    for content in &contents {
        server.take(content).unwrap();
    }
    assert_eq!(server.trade.received(), device.trade.sent());
    assert_eq!(server.take(&late), Ok(Received::Again), "withdrawn, so not delivered");
    assert!(matches!(server.rows.get(&here.index), Some(Row::Message(_))), "it was there");
    for close in server.trade.close(&[]).unwrap() {
        device.take(&close).unwrap();
    }
    ends(device, server);
}

#[test]
fn what_the_other_side_has_is_not_withdrawn() {
    let (mut device, mut server) = begun(Kind::Trade);
    let own = device.trade.data("text/plain", b"own".to_vec()).unwrap();
    server.take(&own).unwrap();
    for close in server.trade.close(&[]).unwrap() {
        device.take(&close).unwrap();
    }
    let loose = [device.loose(&own)];
    assert_eq!(device.trade.close(&loose).unwrap().len(), 1, "the close alone");
}

#[test]
fn the_same_index_with_other_content_is_an_alarm() {
    let (mut device, mut server) = begun(Kind::Trade);
    let mut rolled_back = device.clone();
    let content = device.trade.data("text/plain", b"one".to_vec()).unwrap();
    let other = rolled_back.trade.data("text/plain", b"another".to_vec()).unwrap();
    assert_eq!(server.take(&content), Ok(Received::New));
    assert_eq!(server.take(&content), Ok(Received::Again));
    assert_eq!(server.take(&other), Err(Reason::DiskRollback));
}

/// Content that only a faulty peer sends, judged by the server of `side`.
fn refusal(side: &Side, change: impl Fn(&mut Content)) -> Result<Received, Reason> {
    let mut content = Content {
        trade: ID,
        index: side.trade.next_index().unwrap(),
        service: service(),
        message_type: MessageType::Data,
        content_type: String::new(),
        payload: vec![],
    };
    change(&mut content);
    side.clone().take(&content)
}

#[test]
fn a_message_stands_only_where_it_may() {
    use MessageType::{Close, Data, Open, Receipt, Reply, Request, Withdraw};
    let typed = |side: &Side, t| refusal(side, |c| c.message_type = t);
    let (_, open) = begun(Kind::Trade);
    assert_eq!(typed(&open, Data), Ok(Received::New));
    assert_eq!(refusal(&open, |c| c.trade = TradeId([2; 16])), Err(Reason::WrongTrade));
    let other = Service::new("com.example.other").unwrap();
    assert_eq!(refusal(&open, |c| c.service = other.clone()), Err(Reason::WrongService));
    assert_eq!(typed(&open, Open), Err(Reason::OpenedTwice));
    assert_eq!(typed(&open, Request), Err(Reason::OpenedTwice));
    assert_eq!(typed(&open, Reply), Err(Reason::WrongKind));
    assert_eq!(typed(&open, Receipt), Err(Reason::ReceiptNotDue));
    assert_eq!(typed(&open, Close), Err(Reason::NotCbor));
    assert_eq!(typed(&open, Withdraw), Err(Reason::NotCbor));

    let (_, exchange) = begun(Kind::Exchange);
    assert_eq!(typed(&exchange, Data), Err(Reason::WrongKind));
    assert_eq!(typed(&exchange, Reply), Err(Reason::ReplyNotDue));
    let (_, closed) = closed();
    assert_eq!(typed(&closed, Data), Err(Reason::AfterClose));

    let data = refusal(&open, |_| ());
    let nothing = Trade::heard(&content_of(&open), Down, ORDER);
    let nothing = Side { me: Down, trade: nothing, rows: BTreeMap::new() };
    assert_eq!((data, typed(&nothing, Data)), (Ok(Received::New), Err(Reason::NotOpened)));
    let key = open.trade.receive(&content_of(&open), Outer::Key, None);
    assert_eq!(key, Err(Reason::WrongOrder));
    let mut trade = open.trade.clone();
    assert_eq!(trade.pass(&Row::Message(content_of(&open))), Err(Reason::OutOfTurn));
}

fn content_of(side: &Side) -> Content {
    match side.rows.get(&Index::FIRST) {
        Some(Row::Message(content)) => content.clone(),
        other => panic!("no opening but {other:?}"),
    }
}

#[test]
fn an_application_sends_only_while_both_sides_are_open() {
    let (mut device, mut server) = begun(Kind::Trade);
    assert_eq!(device.trade.receipt(vec![]), Err(Reason::ReceiptNotDue));
    assert_eq!(device.trade.reply("", vec![]), Err(Reason::WrongKind));
    let close = device.trade.close(&[]).unwrap();
    assert_eq!(device.trade.data("", vec![]), Err(Reason::AfterClose));
    assert_eq!(device.trade.close(&[]), Err(Reason::AfterClose));
    server.take(&close[0]).unwrap();
    assert_eq!(server.trade.data("", vec![]), Err(Reason::PeerClosed));
    server.trade.refuse();
    assert_eq!(server.trade.stage(), Stage::Refused);
    assert_eq!(server.trade.close(&[]), Err(Reason::TradeEnded));
    assert_eq!(refusal(&server, |_| ()), Err(Reason::TradeEnded));
}

#[test]
fn a_close_with_other_chains_is_refused() {
    let (device, server) = begun(Kind::Trade);
    let true_close = Close { sent: device.trade.sent(), received: device.trade.received() };
    let close = |change: &dyn Fn(&mut Close)| {
        let mut close = true_close;
        change(&mut close);
        refusal(&server, |c| {
            c.message_type = MessageType::Close;
            c.payload = close.encode();
        })
    };
    assert_eq!(close(&|_| ()), Ok(Received::New));
    assert_eq!(close(&|c| c.sent.count += 1), Err(Reason::ChainMismatch));
    assert_eq!(close(&|c| c.sent.value[0] ^= 1), Err(Reason::ChainMismatch));
    assert_eq!(close(&|c| c.received.count += 1), Err(Reason::ChainMismatch));
    assert_eq!(close(&|c| c.received.value[0] ^= 1), Err(Reason::ChainMismatch));
}

#[test]
fn a_withdrawal_names_what_is_before_it_in_order() {
    let (_, server) = begun(Kind::Trade);
    let at = |n: u32| Withdrawn { index: Index::new(n).unwrap(), hash: InnerHash([9; 32]) };
    assert_eq!(Withdraw::new(&[]), Err(Reason::BadWithdrawal));
    assert_eq!(Withdraw::new(&[at(2), at(2)]), Err(Reason::BadWithdrawal));
    assert_eq!(Withdraw::new(&[at(3), at(2)]), Err(Reason::BadWithdrawal));
    let withdraw = |index: u32| {
        refusal(&server, |c| {
            c.message_type = MessageType::Withdraw;
            c.index = Index::new(4).unwrap();
            c.payload = Withdraw::new(&[at(index)]).unwrap().encode();
        })
    };
    assert_eq!(withdraw(3), Ok(Received::New));
    assert_eq!(withdraw(4), Err(Reason::BadWithdrawal));
}

#[test]
fn a_receipt_agrees_or_is_refused() {
    let (device, server) = closed();
    let receipt = Receipt::of(&server.trade, facts()).unwrap();
    assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt.clone()));
    let judged = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        receipt.agrees_with(&device.trade)
    };
    assert_eq!(judged(&|_| ()), Ok(()));
    assert_eq!(judged(&|r| r.trade = TradeId([2; 16])), Err(Reason::ReceiptOfAnother));
    let other = Service::new("com.example.other").unwrap();
    assert_eq!(judged(&|r| r.service = other.clone()), Err(Reason::ReceiptOfAnother));
    assert_eq!(judged(&|r| r.up.count += 1), Err(Reason::ReceiptMismatch));
    assert_eq!(judged(&|r| r.down.value[0] ^= 1), Err(Reason::ReceiptMismatch));

    let (open, _) = begun(Kind::Trade);
    assert_eq!(receipt.agrees_with(&open.trade), Err(Reason::ReceiptNotDue));
    assert_eq!(Receipt::of(&open.trade, facts()), Err(Reason::ReceiptNotDue));
    let backwards = ReceiptFacts { opened_s: 21, ..facts() };
    assert_eq!(Receipt::of(&server.trade, backwards), Err(Reason::ReceiptTimes));
}

#[test]
fn a_receipt_may_be_issued_again_until_it_is_complete() {
    let (mut device, mut server) = closed();
    let first = server.trade.receipt(b"first".to_vec()).unwrap();
    let second = server.trade.receipt(b"second".to_vec()).unwrap();
    device.take(&first).unwrap();
    let signed = device.trade.receipt(b"first, signed".to_vec()).unwrap();
    assert_eq!(device.trade.receipt(vec![]), Err(Reason::TradeEnded));
    device.take(&second).unwrap();
    assert_eq!((device.trade.stage(), device.trade.due()), (Stage::Ended, None));
    server.take(&signed).unwrap();
    assert_eq!(server.trade.receipt(vec![]), Err(Reason::TradeEnded));
}
