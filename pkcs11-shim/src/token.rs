//! What the library, its slot and its token say of themselves.

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::mechanism::OFFERS;
use crate::module::{Module, SESSIONS, SLOT, is_slot};
use crate::rv::{Result, fail};

/// What the agent gives at once.
const RANDOM_BYTES: usize = 1024;
const MANUFACTURER: &str = "Twinseal";

/// Of `C_GetInfo`, by the interface's version.
pub(crate) fn info(version: CK_VERSION) -> CK_INFO {
    CK_INFO {
        cryptokiVersion: version,
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded("Keys of the Twinseal agent"),
        libraryVersion: own_version(),
    }
}

impl Module {
    /// All slots; of those with a token, none while the agent is not there.
    pub(crate) fn slots(&self, with_token: bool) -> Vec<CK_SLOT_ID> {
        match !with_token || self.agent.is_there().is_ok() {
            true => vec![SLOT],
            false => Vec::new(),
        }
    }

    pub(crate) fn slot_info(&self, slot: CK_SLOT_ID) -> Result<CK_SLOT_INFO> {
        is_slot(slot)?;
        let present = if self.agent.is_there().is_ok() { CKF_TOKEN_PRESENT } else { 0 };
        Ok(CK_SLOT_INFO {
            slotDescription: padded("Twinseal agent"),
            manufacturerID: padded(MANUFACTURER),
            // An agent that starts again is a token that was inserted again.
            flags: CKF_HW_SLOT | CKF_REMOVABLE_DEVICE | present,
            hardwareVersion: CK_VERSION::default(),
            firmwareVersion: own_version(),
        })
    }

    pub(crate) fn token_info(&self, slot: CK_SLOT_ID) -> Result<CK_TOKEN_INFO> {
        is_slot(slot)?;
        let about = self.agent.about()?;
        let tables = self.tables();
        let count = |number: usize| CK_ULONG::try_from(number).unwrap_or(CK_EFFECTIVELY_INFINITE);
        let open = tables.sessions.len();
        let read_write = tables.sessions.values().filter(|session| session.is_read_write).count();
        Ok(CK_TOKEN_INFO {
            label: padded("Twinseal"),
            manufacturerID: padded(&about.manufacturer),
            model: padded(&about.model),
            serialNumber: padded(&about.token_serial),
            // A PIN may be given, and need not be: the bus knows who calls.
            flags: CKF_RNG | CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED,
            ulMaxSessionCount: count(SESSIONS),
            ulSessionCount: count(open),
            ulMaxRwSessionCount: count(SESSIONS),
            ulRwSessionCount: count(read_write),
            ulMaxPinLen: 255,
            ulMinPinLen: 0,
            ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
            hardwareVersion: CK_VERSION::default(),
            firmwareVersion: own_version(),
            utcTime: padded(""),
        })
    }

    /// Random bytes of the chip.
    pub(crate) fn random(
        &self,
        session: CK_SESSION_HANDLE,
        length: usize,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.tables().session(session)?;
        let mut random = Zeroizing::new(Vec::with_capacity(length));
        while random.len() < length {
            let most = (length - random.len()).min(RANDOM_BYTES);
            let drawn = self.agent.random(u32::try_from(most).unwrap_or(1))?;
            if drawn.is_empty() || drawn.len() > most {
                return fail(CKR_DEVICE_ERROR);
            }
            random.extend(drawn.iter());
        }
        Ok(random)
    }

    pub(crate) fn mechanisms(&self, slot: CK_SLOT_ID) -> Result<Vec<CK_MECHANISM_TYPE>> {
        is_slot(slot)?;
        Ok(OFFERS.iter().map(|offer| offer.kind).collect())
    }

    pub(crate) fn mechanism_info(
        &self,
        slot: CK_SLOT_ID,
        kind: CK_MECHANISM_TYPE,
    ) -> Result<CK_MECHANISM_INFO> {
        is_slot(slot)?;
        match OFFERS.iter().find(|offer| offer.kind == kind) {
            Some(offer) => Ok(CK_MECHANISM_INFO {
                ulMinKeySize: offer.bits.0,
                ulMaxKeySize: offer.bits.1,
                flags: offer.flags,
            }),
            None => fail(CKR_MECHANISM_INVALID),
        }
    }
}

/// Text as PKCS #11 has it: filled up with blanks, without an end. What is too long is cut where
/// a character ends.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let end = (0..=N.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    for (place, byte) in field.iter_mut().zip(text.bytes().take(end)) {
        *place = byte;
    }
    field
}

fn own_version() -> CK_VERSION {
    let part = |text: &str| text.parse().unwrap_or(0);
    let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    CK_VERSION { major: part(major), minor: part(minor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fill_their_fields() {
        assert_eq!(&padded::<4>("ab"), b"ab  ");
        assert_eq!(&padded::<4>("abcdef"), b"abcd");
        assert_eq!(&padded::<4>("abc\u{e9}"), b"abc ");
    }
}
