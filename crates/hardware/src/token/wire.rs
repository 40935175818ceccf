//! What goes between the agent and the process of its token's module: CBOR (RFC 8949), each
//! message behind its length (u32, big-endian).

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::{Change, Error};
use crate::token::failure::TokenFault;

/// The longest message, bytes. The longest that is sent is of random bytes, some 4 KiB.
const LEN_MAX: usize = 16 * 1024;

/// Bytes that are wiped on drop.
pub(crate) struct SecretBytes(pub(crate) Zeroizing<Vec<u8>>);

/// Why the module's process has not done what it was asked: of all [`Error`]s those that a token
/// can give.
#[derive(Serialize, Deserialize)]
pub(super) enum Refusal {
    Fault(TokenFault),
    Cleared,
    Replaced,
}

/// Writes one message.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    // Growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + LEN_MAX));
    bytes.extend([0; 4]);
    ciborium::into_writer(message, &mut *bytes).map_err(io::Error::other)?;
    let (length, body) = bytes.split_first_chunk_mut::<4>().ok_or(io::ErrorKind::InvalidData)?;
    if body.len() > LEN_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    *length = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
    to.write_all(&bytes)
}

/// Reads one message, and nothing behind it.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > LEN_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let message = ciborium::from_reader(&mut rest).map_err(|_| io::ErrorKind::InvalidData)?;
    match rest {
        [] => Ok(message),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::Token(fault) => Refusal::Fault(fault),
            Error::Changed(Change::Cleared) => Refusal::Cleared,
            Error::Changed(Change::Replaced) => Refusal::Replaced,
            other => Refusal::Fault(TokenFault::Failed(other.to_string())),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Fault(fault) => fault.into(),
            Refusal::Cleared => Error::Changed(Change::Cleared),
            Refusal::Replaced => Error::Changed(Change::Replaced),
        }
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_comes_as_it_went() {
        let mut line = Vec::new();
        send(&mut line, &SecretBytes(Zeroizing::new(vec![7; 4096]))).unwrap();
        send(&mut line, &Err::<(), _>(Refusal::Fault(TokenFault::incapable("it")))).unwrap();
        let mut rest = line.as_slice();
        assert_eq!(*receive::<SecretBytes>(&mut rest).unwrap().0, vec![7; 4096]);
        let refusal = receive::<Result<(), Refusal>>(&mut rest).unwrap().unwrap_err();
        assert_eq!(Error::from(refusal), TokenFault::incapable("it").into());
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_longer_shorter_or_something_else_is_refused() {
        let too_long = SecretBytes(Zeroizing::new(vec![0; LEN_MAX]));
        let error = send(&mut Vec::new(), &too_long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let refused = |bytes: &[u8]| receive::<u8>(&mut &bytes[..]).unwrap_err().kind();
        assert_eq!(receive::<u8>(&mut &[0, 0, 0, 1, 7][..]).unwrap(), 7);
        assert_eq!(refused(&[0, 0, 0x40, 1, 7]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[0, 0, 0, 2, 7, 7]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[0, 0, 0, 1, 0x40]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[0, 0, 0, 2, 7]), io::ErrorKind::UnexpectedEof);
    }
}
