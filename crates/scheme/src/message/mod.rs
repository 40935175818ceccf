//! Twin-sealed messages: an envelope, its two layers, and the four ways to lay them
//! (docs/scheme.md sections 4 to 6; claims 4 to 11, Fig. 9 to 12 of the patent).

pub(crate) mod aad;
mod down;
mod envelope;
mod key_layer;
pub(crate) mod serial_layer;
mod up;

pub use down::{DownOpening, UnsignedDown, seal_down};
pub use envelope::{Envelope, Outer, Route};
pub(crate) use key_layer::KeyLayer;
pub use up::{UnsignedUp, open_up, open_up_closed, seal_up};
pub(crate) use up::{open_opening, verify_opening};

/// A message that was opened, every layer of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the sender sealed.
    pub content: Vec<u8>,
    /// The inner layer's COSE object, as it came out of the outer one.
    pub inner: Vec<u8>,
    /// Of a message down, the server's COSE_Sign1 over the content, which stands innermost.
    pub server_signed: Option<Vec<u8>>,
}
