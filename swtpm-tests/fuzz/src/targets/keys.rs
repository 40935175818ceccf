//! Keys of applications as others pass them on.

use twinseal_hardware::KeyFile;

use crate::{Target, vectors};

/// TPM 2.0 key files, PEM and DER.
pub const KEY_FILE: Target = Target {
    name: "key-file",
    run: key_file,
    seeds: || vectors::all("tpm-public", "public").iter().flat_map(|area| files(area)).collect(),
    mutations: 10_000,
};

fn key_file(bytes: &[u8]) -> bool {
    let Ok(file) = KeyFile::parse(bytes) else { return false };
    let pem = file.to_pem();
    assert_eq!(KeyFile::parse(pem.as_bytes()), Ok(file));
    assert!(pem.is_ascii());
    true
}

/// A file with this public area, in both forms.
fn files(area: &[u8]) -> [Vec<u8>; 2] {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let element = |tag: u8, contents: &[u8]| {
        let len = (contents.len() as u16).to_be_bytes();
        let len = match len {
            [0, len @ 0..=0x7f] => vec![len],
            [0, len] => vec![0x81, len],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag][..], &len, contents].concat()
    };
    let fields = [
        element(6, &[0x67, 0x81, 5, 10, 1, 3]),
        element(0xa0, &[1, 1, 0xff]),
        element(2, &[0x40, 0, 0, 1]),
        element(4, &sized(area)),
        element(4, &sized(&[7; 126])),
    ];
    let der = element(0x30, &fields.concat());
    let pem = KeyFile::parse(&der).map(|file| file.to_pem().into_bytes());
    [der, pem.unwrap_or_default()]
}
