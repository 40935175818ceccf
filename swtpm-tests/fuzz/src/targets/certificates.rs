//! EK certificates, as chips hand them out and as anybody may make them up.

use std::sync::LazyLock;

use twinseal_scheme::ek::{Assurance, Authorities, EkPolicy, Verdict, judge};
use twinseal_scheme::tpm::EndorsementKey;

use crate::vectors::File;
use crate::{Target, vectors};

/// A chain, judged for the chip of the test vectors. The input is certificates, each behind its
/// length (u16).
pub const EK_CERTIFICATES: Target = Target {
    name: "ek-certificates",
    run: certificates,
    seeds: || {
        let lists = vectors::all("ek-certificate", "certificates");
        lists.iter().map(|list| joined(&items(list))).collect()
    },
    mutations: 3000,
};

struct World {
    authorities: Authorities,
    ek: EndorsementKey,
    /// Certificates of the chip that the root has signed.
    signed: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let good = File::read("ek-certificate/good.txt");
    let mut authorities = Authorities::new();
    for root in items(&good.bytes("roots").expect("roots")) {
        authorities.add_root(&root).expect("a root");
    }
    let ek = EndorsementKey::parse(&good.bytes("ek-public").expect("ek-public")).expect("an EK");
    let mut world = World { authorities, ek, signed: Vec::new() };
    for seed in (EK_CERTIFICATES.seeds)() {
        if verdict(&world, &parts(&seed)).outcome == Ok(Assurance::TpmEk) {
            world.signed.push(signed_part(parts(&seed)[0]).expect("a certificate").to_vec());
        }
    }
    world
});

fn certificates(bytes: &[u8]) -> bool {
    let (world, certificates) = (&*WORLD, parts(bytes));
    let verdict = verdict(world, &certificates);
    let text = verdict.to_string();
    assert!(text.len() <= 4096 && text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)));
    if verdict.outcome == Ok(Assurance::TpmEk) {
        let found = signed_part(certificates[0]);
        assert!(world.signed.iter().any(|signed| Some(&signed[..]) == found), "a forgery");
    }
    verdict.outcome.is_ok()
}

fn verdict(world: &World, certificates: &[&[u8]]) -> Verdict {
    let policy = EkPolicy {
        authorities: &world.authorities,
        now_s: 1_760_000_000,
        accept_expired: false,
        denied: &[],
        accept_simulator: false,
        listed: false,
    };
    judge(&world.ek, certificates, &policy)
}

/// TBSCertificate of a certificate, perhaps in a wrapper.
fn signed_part(stored: &[u8]) -> Option<&[u8]> {
    let certificate = &stored[stored.iter().position(|byte| *byte == 0x30)?..];
    let tbs = &certificate[header_len(certificate)?..];
    let header = header_len(tbs)?;
    let len = tbs[1..header].iter().skip(usize::from(header > 2));
    let len = len.fold(0, |len, byte| len << 8 | usize::from(*byte));
    tbs.get(..header + len)
}

/// Length of a header of DER.
fn header_len(der: &[u8]) -> Option<usize> {
    let more = der.get(1)?.checked_sub(0x80).unwrap_or_default();
    der.get(..2 + usize::from(more)).map(<[u8]>::len)
}

fn joined(certificates: &[Vec<u8>]) -> Vec<u8> {
    let each = |c: &Vec<u8>| [&(c.len() as u16).to_be_bytes()[..], c].concat();
    certificates.iter().flat_map(each).collect()
}

/// The last one is whatever is left.
fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (part, rest) = rest.split_at(len);
        parts.push(part);
        bytes = rest;
    }
    parts
}

/// A CBOR array of byte strings.
fn items(list: &[u8]) -> Vec<Vec<u8>> {
    let len = usize::from(list[0] & 0x1f);
    let value = twinseal_scheme::cbor::Items::decode(list, 1 << 20, len);
    let mut items = value.expect("an array");
    (0..len).map(|_| items.bytes(1 << 16).expect("a byte string")).collect()
}
