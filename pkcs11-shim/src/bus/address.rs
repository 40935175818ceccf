//! Where the system bus listens (D-Bus Specification, "Server Addresses").

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

const DEFAULT: &str = "unix:path=/run/dbus/system_bus_socket";

/// The addresses to try, in their order.
#[derive(Debug)]
pub(super) struct Address(Vec<u8>);

impl Address {
    /// That of `DBUS_SYSTEM_BUS_ADDRESS`, or the usual one where it is not set, or where the
    /// process has more rights than whoever started it and set its environment.
    pub(super) fn of_system_bus() -> Self {
        let variable = match has_foreign_rights() {
            true => None,
            false => std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS"),
        };
        match variable.filter(|text| !text.is_empty()) {
            Some(text) => Self(text.into_vec()),
            None => Self::new(DEFAULT),
        }
    }

    pub(super) fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The sockets named; what is not a Unix socket is left out.
    pub(super) fn sockets(&self) -> Vec<SocketAddrUnix> {
        let entries = self.0.split(|byte| *byte == b';');
        entries.filter_map(|entry| socket(entry)?.ok()).collect()
    }
}

fn has_foreign_rights() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

fn socket(entry: &[u8]) -> Option<Result<SocketAddrUnix, Errno>> {
    let pairs = entry.strip_prefix(b"unix:")?;
    pairs.split(|byte| *byte == b',').find_map(|pair| {
        if let Some(path) = pair.strip_prefix(b"path=") {
            let path = unescaped(path)?;
            return Some(SocketAddrUnix::new(std::ffi::OsStr::from_bytes(&path)));
        }
        let name = unescaped(pair.strip_prefix(b"abstract=")?)?;
        Some(SocketAddrUnix::new_abstract_name(&name))
    })
}

/// Without its `%xx`.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        plain.push(match byte {
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            _ => byte,
        });
    }
    Some(plain)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(text: &str) -> Vec<SocketAddrUnix> {
        Address::new(text).sockets()
    }

    #[test]
    fn addresses_are_read() {
        let plain = SocketAddrUnix::new("/run/a b").unwrap();
        assert_eq!(sockets("unix:path=/run/a%20b,guid=00"), std::slice::from_ref(&plain));
        assert_eq!(
            sockets("tcp:host=a;unix:guid=00,path=/run/a%20b"),
            std::slice::from_ref(&plain)
        );
        let named = SocketAddrUnix::new_abstract_name(b"x").unwrap();
        assert_eq!(sockets("unix:abstract=x;unix:path=/run/a b"), [named, plain]);
        for nothing in ["", "unix:", "unix:path=%2", "unix:path=%zz", "unix:dir=/tmp"] {
            assert_eq!(sockets(nothing), [], "{nothing}");
        }
    }
}
