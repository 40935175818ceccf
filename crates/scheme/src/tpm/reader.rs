//! A cursor over the bytes of a TPM structure (Part 2, section 4: big-endian, packed).

use crate::Reason;

/// Reads fields from the front of a slice; whatever is missing is [`Reason::TpmShort`].
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Reason::TpmShort)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Reason> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Reason> {
        self.array().map(u64::from_be_bytes)
    }

    /// A TPM2B: a `u16` length and as many bytes, at most `max_len` of them.
    pub(super) fn sized(&mut self, max_len: usize) -> Result<&'a [u8], Reason> {
        let len = usize::from(self.u16()?);
        if len > max_len {
            return Err(Reason::TpmSize);
        }
        self.take(len)
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Reason> {
        match self.rest {
            [] => Ok(()),
            _ => Err(Reason::TpmTrailing),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Reason::TpmShort)?;
        self.rest = rest;
        Ok(*head)
    }
}
