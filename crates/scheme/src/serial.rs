//! The hardware serial S: 32 bytes, computed from the endorsement key.
/// A hardware serial. It is public to its owner and never on the wire in clear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HardwareSerial([u8; 32]);
impl HardwareSerial {
    /// A serial that was computed and kept.
    pub fn from_bytes(b: [u8; 32]) -> Self {
        Self(b)
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
