//! What a TPM says when it certifies an object (TPMS_ATTEST; Part 2, section 10.12).

use super::reader::Reader;
use crate::Reason;

/// A parsed attest of TPM2_Certify. Nothing in it is to be believed before the signature
/// and every field have been compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Qualified Name of the key that signed.
    pub qualified_signer: Vec<u8>,
    /// What the caller of the command asked to be included.
    pub extra_data: Vec<u8>,
    /// The chip's clock and counters.
    pub clock: ClockInfo,
    /// The vendor's firmware version.
    pub firmware_version: u64,
    /// Name of the certified object.
    pub name: Vec<u8>,
    /// Qualified Name of the certified object.
    pub qualified_name: Vec<u8>,
}

impl Attest {
    /// Parses a TPMS_ATTEST of the type TPM_ST_ATTEST_CERTIFY, and of no other: the types
    /// share one layout at the front, so another type must never be read as this one.
    ///
    /// # Errors
    /// [`Reason::AttestMagic`], [`Reason::AttestType`], [`Reason::TpmShort`],
    /// [`Reason::TpmTrailing`], [`Reason::TpmSize`], [`Reason::TpmYesNo`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new(bytes);
        // "\xffTCG": no structure that a TPM signs for others begins like this.
        if reader.u32()? != 0xff54_4347 {
            return Err(Reason::AttestMagic);
        }
        if reader.u16()? != 0x8017 {
            return Err(Reason::AttestType);
        }
        let attest = Attest {
            qualified_signer: reader.sized(NAME_MAX_LEN)?.to_vec(),
            extra_data: reader.sized(NAME_MAX_LEN)?.to_vec(),
            clock: ClockInfo::read(&mut reader)?,
            firmware_version: reader.u64()?,
            name: reader.sized(NAME_MAX_LEN)?.to_vec(),
            qualified_name: reader.sized(NAME_MAX_LEN)?.to_vec(),
        };
        reader.end()?;
        Ok(attest)
    }
}

/// The chip's clock (TPMS_CLOCK_INFO; Part 2, section 10.11.1; Part 1, section 36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the chip has been powered since it was last cleared.
    pub clock_ms: u64,
    /// TPM resets since it was last cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// No greater `clock_ms` was ever reported; false for a while after an unclean stop.
    pub safe: bool,
}

impl ClockInfo {
    /// Later than `other`, in the order (reset_count, restart_count, clock_ms).
    pub fn is_later_than(&self, other: &ClockInfo) -> bool {
        self.order() > other.order()
    }

    fn order(&self) -> (u32, u32, u64) {
        (self.reset_count, self.restart_count, self.clock_ms)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        Ok(ClockInfo {
            clock_ms: reader.u64()?,
            reset_count: reader.u32()?,
            restart_count: reader.u32()?,
            safe: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Reason::TpmYesNo),
            },
        })
    }
}

/// The longest TPMT_HA, with SHA-512: the bound of TPM2B_NAME and of TPM2B_DATA.
const NAME_MAX_LEN: usize = 66;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tpm::testing::AttestFields;

    #[test]
    fn every_field_is_read() {
        let fields = AttestFields::plain();
        let attest = Attest::parse(&fields.bytes()).unwrap();
        assert_eq!(attest.qualified_signer, fields.qualified_signer);
        assert_eq!(attest.extra_data, fields.extra_data);
        assert_eq!(attest.clock, fields.clock);
        assert_eq!(attest.firmware_version, fields.firmware_version);
        assert_eq!(attest.name, fields.name);
        assert_eq!(attest.qualified_name, fields.qualified_name);
    }

    fn refusal(change: impl FnOnce(&mut AttestFields)) -> Option<Reason> {
        let mut fields = AttestFields::plain();
        change(&mut fields);
        Attest::parse(&fields.bytes()).err()
    }

    #[test]
    fn only_a_tpm_and_only_a_certification() {
        assert_eq!(refusal(|fields| fields.magic = 0xff54_4348), Some(Reason::AttestMagic));
        // NV, command audit, session audit, quote, time, creation, NV digest.
        for kind in [0x8014, 0x8015, 0x8016, 0x8018, 0x8019, 0x801a, 0x801c] {
            assert_eq!(refusal(|fields| fields.kind = kind), Some(Reason::AttestType));
        }
    }

    #[test]
    fn exact_fields() {
        assert_eq!(refusal(|fields| fields.safe = 2), Some(Reason::TpmYesNo));
        assert_eq!(refusal(|fields| fields.safe = 0), None);
        assert_eq!(refusal(|fields| fields.name = vec![0; 67]), Some(Reason::TpmSize));
        let bytes = AttestFields::plain().bytes();
        for len in 0..bytes.len() {
            assert_eq!(Attest::parse(&bytes[..len]), Err(Reason::TpmShort), "{len} bytes");
        }
        assert_eq!(Attest::parse(&[&bytes[..], &[0]].concat()), Err(Reason::TpmTrailing));
    }

    #[test]
    fn resets_count_before_restarts_and_those_before_time() {
        let clock = |reset_count, restart_count, clock_ms| ClockInfo {
            clock_ms,
            reset_count,
            restart_count,
            safe: true,
        };
        let ascending = [clock(0, 0, 9), clock(0, 1, 0), clock(1, 0, 0), clock(1, 0, 1)];
        for pair in ascending.windows(2) {
            assert!(pair[1].is_later_than(&pair[0]));
            assert!(!pair[0].is_later_than(&pair[1]));
            assert!(!pair[0].is_later_than(&pair[0]));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0usize..200, to: u8) {
            let _ = Attest::parse(&bytes);
            let mut mutated = AttestFields::plain().bytes();
            if let Some(byte) = mutated.get_mut(at) {
                *byte = to;
            }
            let _ = Attest::parse(&mutated);
        }
    }
}
