//! Who is calling.

/// Who is calling, as the bus recorded it, never as the caller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group ids, the primary one among them.
    pub gids: Vec<u32>,
    /// The connection's unique name on the bus.
    pub connection: String,
}
