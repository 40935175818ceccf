//! Trades (claims 3, 12, 13; scheme, section 8): the rules that the agent and the server share.
//!
//! A [`Trade`] is the durable state of one trade on one side. It is changed only by its
//! transitions, which decide and never store: the caller keeps the trade, and one row for
//! every message, in one transaction.
//!
//! The rows of the other side's messages are kept by index, as [`Row`]s. A message that
//! comes before its turn is kept too, and the trade passes it when its turn comes.

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$row:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$row])* $variant = $number,)* }

        impl $name {
            /// Its number in CBOR.
            pub fn number(self) -> u8 {
                self as u8
            }

            /// The variant of a number, if there is one.
            pub fn of_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

mod chain;
mod content;
mod control;
mod receipt;
mod rules;
mod state;
mod storage;

pub use chain::Chain;
pub use content::{
    CONTENT_TYPE_LEN_MAX, Content, Index, MessageType, PAYLOAD_LEN_MAX, SERVICE_LEN_MAX, Service,
};
pub use control::{Close, WITHDRAWN_MAX, Withdraw, Withdrawn};
pub use receipt::{RECEIPT_LEN_MAX, Receipt, ReceiptFacts};
pub use state::{Due, Kind, Received, Row, Stage, Trade};
