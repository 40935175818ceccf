//! Envelopes from whoever may connect, and what a peer with all keys can put inside.

use std::sync::LazyLock;

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::explain::explain;
use twinseal_scheme::keys::Encapsulation;
use twinseal_scheme::message::{DownOpening, Envelope, Opened, Outer, open_up, seal_down, seal_up};

use super::sealed::PARTIES;
use crate::{Target, vectors};

/// An envelope, taken apart, explained, and opened by both sides.
pub const ENVELOPE: Target = Target {
    name: "envelope",
    run: envelope,
    seeds: || {
        let fields = ["envelope", "open-up", "open-down", "open-up-closed", "epoch-open"];
        fields.iter().flat_map(|operation| vectors::all(operation, "envelope")).collect()
    },
    mutations: 4000,
};

/// Any content, sealed in all four ways and opened again.
pub const MESSAGES: Target = Target {
    name: "messages",
    run: messages,
    seeds: || [vectors::all("content", "content"), vec![vec![], vec![0; 256 * 1024]]].concat(),
    mutations: 60,
};

/// Envelopes that open: nobody who lacks the keys makes another.
static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let good = (ENVELOPE.seeds)();
    good.into_iter().filter(|bytes| open(bytes).is_ok()).collect()
});

fn envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(bytes) else {
        assert!(explain(bytes, None).is_err());
        return false;
    };
    assert_eq!(Envelope::decode(&[bytes, &[0]].concat()), Err(Reason::NotCbor));
    assert!(bytes.ends_with(&envelope.body));
    if let Ok(parts) = explain(bytes, None) {
        for part in parts {
            assert!(part.range.is_none_or(|range| bytes[range] == part.bytes), "{}", part.title);
        }
    }
    if open(bytes).is_ok() {
        assert!(GOOD.iter().any(|good| good == bytes), "an envelope that nobody sealed");
    }
    true
}

fn open(bytes: &[u8]) -> Result<Opened, Reason> {
    let (p, envelope) = (&*PARTIES, Envelope::decode(bytes)?);
    if envelope.route.direction == Direction::Up {
        return open_up(&p.bond, &p.keys, &envelope);
    }
    let opening = DownOpening::begin(&p.bond, &p.keys, &envelope)?;
    let Encapsulation::EcdhEs(ephemeral) = opening.encapsulation() else {
        panic!("the device of the vectors has a P-256 key");
    };
    let z = p.device_decryption.agree(ephemeral)?;
    opening.finish(&z, p.server_signing.public())
}

fn messages(content: &[u8]) -> bool {
    let p = &*PARTIES;
    for outer in [Outer::Serial, Outer::Key] {
        let up = seal_up(&p.bond, &p.keys, outer, 1, content, &mut OsRng).and_then(|up| {
            let signature = p.device_signing.sign_digest(&up.digest())?;
            up.finish(&signature)
        });
        let down = seal_down(&p.bond, &p.keys, outer, 1, content);
        let signature = p.server_signing.sign(down.to_sign()).expect("a signature");
        let (Ok(up), Ok(down)) = (up, down.finish(&signature, &mut OsRng)) else {
            assert!(content.len() > 250 * 1024, "only the size is a reason");
            return false;
        };
        for sealed in [up, down] {
            let opened = open(&sealed).expect("what was sealed opens");
            assert_eq!(opened.content, content);
            assert!(explain(&sealed, Some(&opened)).is_ok());
        }
    }
    true
}
