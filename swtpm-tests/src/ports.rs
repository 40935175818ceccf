//! Free loopback ports, two in a row: the software TPM's protocol wants its control channel on
//! the port after the command channel.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Two TCP ports, `first` and the next, which no other fixture takes while this value lives.
///
/// The claim is a UDP socket on the same number: every fixture on the machine asks for that
/// first, so the ports stay ours while the daemon behind them is down.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub(crate) first: u16,
    _claim: UdpSocket,
}

impl PortPair {
    /// Claims a pair below the range that the kernel gives to outgoing connections.
    pub(crate) fn claim() -> Self {
        let mut random = RandomState::new().build_hasher();
        for attempt in 0..10_000_u32 {
            random.write_u32(attempt);
            let first = 10_000 + 2 * u16::try_from(random.finish() % 11_000).unwrap_or(0);
            if let Some(claim) = free(first) {
                return Self { first, _claim: claim };
            }
        }
        panic!("no two free loopback ports in a row between 10000 and 32000");
    }
}

fn free(first: u16) -> Option<UdpSocket> {
    let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
    for port in [first, first + 1] {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    }
    Some(claim)
}
