//! What people hand over: links, and whom a device belongs to.

use std::collections::BTreeMap;

use twinseal_scheme::enrol::UserInfo;
use twinseal_scheme::link::Link;
use twinseal_scheme::serial::HardwareSerial;

use crate::{Target, vectors};

/// Names and values, split at zero bytes.
pub const USER_INFO: Target = Target {
    name: "user-info",
    run: user_info,
    seeds: || vec![b"holder\0till 7\0shop\0Main St".to_vec(), b"\xc3\xa9\0\0".to_vec(), vec![]],
    mutations: 20_000,
};

/// An enrolment link; also a hardware serial, which people type too.
pub const LINK: Target = Target {
    name: "link",
    run: link,
    seeds: || {
        let serial = HardwareSerial::from_bytes([7; 32]).to_text().into_bytes();
        let id = "ab".repeat(32);
        let long = format!("http://h{}#server={id}&least=1", ".h".repeat(470));
        let short = format!("http://h#server={id}&least=18446744073709551615&code=X");
        [vectors::all("link", "link"), vec![serial, long.into_bytes(), short.into_bytes()]].concat()
    },
    mutations: 20_000,
};

fn user_info(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut parts = text.split('\0').map(str::to_owned);
    let mut entries = BTreeMap::new();
    while let Some(name) = parts.next() {
        entries.insert(name, parts.next().unwrap_or_default());
    }
    let Ok(info) = UserInfo::new(entries.clone()) else { return false };
    assert_eq!(info.entries(), &entries);
    assert!(entries.len() <= 32);
    assert!(entries.iter().all(|(n, v)| !n.is_empty() && n.len() <= 64 && v.len() <= 1024));
    let printed = format!("UserInfo({} entries)", entries.len());
    assert_eq!(format!("{info:?}"), printed, "user information is never printed");
    true
}

fn link(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(serial) = HardwareSerial::from_text(text) {
        assert_eq!(HardwareSerial::from_text(&serial.to_text()), Ok(serial));
        return true;
    }
    let Ok(link) = text.parse::<Link>() else { return false };
    let written = link.to_string();
    assert_eq!(written.parse(), Ok(link.clone()), "{written}");
    assert!(written.len() <= 1024 && written.chars().all(|c| c.is_ascii_graphic()));
    let printed = format!("Link({}, {})", link.url, link.server_id);
    assert_eq!(format!("{link:?}"), printed, "a code is never printed");
    true
}
