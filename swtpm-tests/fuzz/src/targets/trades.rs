//! What stands inside messages, and receipts, which anybody may show to anybody.

use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::ServerId;
use twinseal_scheme::receipt::{SignedReceipt, UnsignedReceipt};
use twinseal_scheme::trade::{Close, Content, Receipt, Trade, Withdraw};

use super::sealed::PARTIES;
use crate::{Target, vectors};

/// The content of a message, and closes and withdrawals in it.
pub const CONTENTS: Target = Target {
    name: "contents",
    run: contents,
    seeds: || {
        let fields = [("content", "content"), ("control", "content"), ("control", "payload")];
        fields.iter().flat_map(|(operation, field)| vectors::all(operation, field)).collect()
    },
    mutations: 8000,
};

/// Receipts as they are shown, and with any content under the server's signature.
pub const RECEIPTS: Target = Target {
    name: "receipts",
    run: receipts,
    seeds: || vectors::all("receipt", "receipt"),
    mutations: 1500,
};

/// The state of a trade as agent and server keep it, and a message that comes to it.
pub const STORED: Target = Target {
    name: "stored-trade",
    run: stored,
    seeds: || vectors::all("trade", "trade"),
    mutations: 8000,
};

fn contents(bytes: &[u8]) -> bool {
    let mut taken = false;
    if let Ok(close) = Close::decode(bytes) {
        assert_eq!(close.encode(), bytes);
        taken = true;
    }
    let Ok(content) = Content::decode(bytes) else { return taken };
    assert_eq!(content.encode(), bytes);
    let up = content.inner_hash(Direction::Up);
    assert!(up != content.inner_hash(Direction::Down), "a direction counts");
    if let Ok(withdraw) = Withdraw::of(&content) {
        assert_eq!(withdraw.encode(), content.payload);
        assert!(Withdraw::new(withdraw.messages()).is_ok());
    }
    true
}

fn receipts(bytes: &[u8]) -> bool {
    let p = &*PARTIES;
    let claimed = SignedReceipt::claimed_server(bytes);
    let verified = SignedReceipt::verify(bytes, &p.bond.server_id);
    if let Ok(receipt) = &verified {
        assert_eq!(claimed, Ok(p.bond.server_id));
        assert_eq!(receipt.encode(), bytes, "another encoding of the same receipt");
        let other = SignedReceipt::verify(bytes, &ServerId([0; 32]));
        assert_eq!(other.err(), Some(Reason::UnknownServer));
    }
    let Ok(receipt) = Receipt::decode(bytes) else { return verified.is_ok() };
    assert_eq!(receipt.encode(), bytes);
    let unsigned = UnsignedReceipt::new(&receipt);
    let signature = p.server_signing.sign(&unsigned.to_sign()).expect("a signature");
    if let Ok(signed) = SignedReceipt::verify(&unsigned.finish(signature), &p.bond.server_id) {
        assert_eq!(signed.receipt.encode(), bytes);
    }
    true
}

fn stored(bytes: &[u8]) -> bool {
    let Ok(mut trade) = Trade::decode(bytes) else { return false };
    assert_eq!(trade.encode(), bytes);
    let before = trade.encode();
    // What a state allows is the model's business: here nothing may break, and a refusal may
    // leave nothing behind.
    let refused = [
        trade.clone().data("", vec![1]).is_err(),
        trade.clone().close(&[]).is_err(),
        trade.data("", vec![1, 2, 3]).is_err(),
    ];
    assert!(!refused[2] || trade.encode() == before, "a refusal left something behind");
    let _ = (trade.stage(), trade.due(), trade.next_index());
    let again = Trade::decode(&trade.encode()).expect("its own encoding");
    assert_eq!(again.encode(), trade.encode());
    true
}
