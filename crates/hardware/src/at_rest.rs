//! The form of stored keys: a title, then fields, each behind its length (u16, big-endian).

use zeroize::Zeroizing;

use crate::error::Error;

const BROKEN: Error = Error::Misuse("stored keys that are damaged or of another version");

/// Writes fields into memory that is wiped afterwards and never moves while it is written.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new(title: &[u8]) -> Self {
        // Growing would leave copies behind: more than the largest keys need.
        let mut writer = Self(Zeroizing::new(Vec::with_capacity(8192)));
        writer.field(title);
        writer
    }

    /// Adds a field. Fields of this crate are below 1 KiB; what a u16 cannot count is cut off.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend(bytes.iter().copied().take(usize::from(length)));
    }

    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Reads what a [`Writer`] wrote, and nothing else.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(title: &[u8], bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Self(bytes);
        match reader.field()? == title {
            true => Ok(reader),
            false => Err(BROKEN),
        }
    }

    pub(crate) fn field(&mut self) -> Result<&'a [u8], Error> {
        let (length, rest) = self.0.split_first_chunk::<2>().ok_or(BROKEN)?;
        let (field, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BROKEN)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.field()?.try_into().map_err(|_| BROKEN)
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(BROKEN),
        }
    }
}
