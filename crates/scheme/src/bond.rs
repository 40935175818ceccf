//! What a device and a server have agreed on at enrolment.

use crate::id::{DeviceId, ServerId};
use crate::keys::{DecryptionPublic, SigningPublic};
use crate::serial::HardwareSerial;

/// The standing of one device with one server. Both sides keep it, and every layer of every
/// message is bound to all of it (docs/scheme.md section 6).
#[derive(Clone)]
pub struct Bond {
    /// The server's identity.
    pub server_id: ServerId,
    /// The device's name on the wire.
    pub device_id: DeviceId,
    /// The hardware serial; never on the wire in clear.
    pub serial: HardwareSerial,
    /// Counts enrolments of this device, from 1.
    pub generation: u32,
    /// Counts rotations of its signing and decryption keys within a generation, from 1.
    pub keyset: u32,
    /// Verifies what the device sends: Key31, Key41 of the patent.
    pub signing: SigningPublic,
    /// Encrypts what the device receives.
    pub decryption: DecryptionPublic,
}

impl std::fmt::Debug for Bond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Bond({}, generation {}, keyset {})",
            self.device_id, self.generation, self.keyset
        )
    }
}
