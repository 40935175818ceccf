//! Answers and fetches: as they come, and with any content behind a seal that opens.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use twinseal_scheme::answer::{Answer, Fetch, FetchRoute};

use super::sealed::{PARTIES, encrypt0, sign1};
use crate::{Target, vectors};

/// An answer or a fetch, and the same bytes as the content of one.
pub const ANSWERS: Target = Target {
    name: "answers",
    run: answers,
    seeds: || {
        let contents = [
            vec![0x82, 0x00, 0x40],
            [&[0x82, 0x01, 0x4b][..], b"epoch-stale"].concat(),
            vec![0x82, 0x02, 0x41, 0x00],
            vec![0x82, 0x03, 0x40],
            [
                vec![0x82, 0x19, 0x01, 0xf4, 0x81, 0x83, 0x50],
                vec![7; 16],
                vec![0x04, 0x58, 0x20],
                vec![9; 32],
            ]
            .concat(),
        ];
        [
            vectors::all("answer-open", "answer"),
            vectors::all("answer-verify", "answer"),
            vectors::all("fetch", "fetch"),
            contents.to_vec(),
        ]
        .concat()
    },
    mutations: 600,
};

/// Of the parties' device, in the vectors' epoch.
static ROUTE: LazyLock<FetchRoute> = LazyLock::new(|| {
    let good = vectors::all("fetch", "fetch").into_iter().find(|f| Fetch::route(f).is_ok());
    Fetch::route(&good.expect("a fetch")).expect("its route").0
});

const REQUEST: &[u8] = b"any request";

fn answers(bytes: &[u8]) -> bool {
    let p = &*PARTIES;
    let (key, hash) = (p.keys.answer_key(), Sha256::digest(REQUEST));
    assert!(Answer::open(&key, REQUEST, bytes).is_err(), "no seed answers this request");
    let server = p.server_signing.public();
    assert!(Answer::verify(server, &p.bond.device_id, REQUEST, bytes).is_err());

    let opened = Answer::open(&key, REQUEST, &encrypt0(&key, &hash, bytes));
    let id = [&[0x83, 0x50][..], &p.bond.device_id.0, &[0x58, 0x20], &hash].concat();
    let payload = [id, bstr(bytes)].concat();
    let signed = sign1(&p.server_signing, "twinseal-server-v1", "answer", &payload);
    let verified = Answer::verify(server, &p.bond.device_id, REQUEST, &signed);
    assert_eq!(opened, verified, "one content is two answers");
    if let Ok(answer) = &opened {
        let again = answer.unsigned(&p.bond.device_id, REQUEST);
        assert!(again.to_sign().ends_with(&payload), "another encoding of the same answer");
    }
    opened.is_ok() | fetch(bytes)
}

fn fetch(bytes: &[u8]) -> bool {
    let p = &*PARTIES;
    let as_it_is =
        Fetch::route(bytes).and_then(|(route, sealed)| Fetch::open(&route, &sealed, &p.keys));
    let route = &*ROUTE;
    // CBOR["twinseal-fetch-v1", 1, device-id, generation, epoch] of small numbers.
    let head = [&[0x85, 0x71][..], b"twinseal-fetch-v1", &[0x01, 0x50], &route.device_id.0];
    let aad = [&head.concat()[..], &[route.generation as u8, route.epoch as u8]].concat();
    let sealed = encrypt0(&p.keys.fetch_key(), &aad, bytes);
    let inside = Fetch::open(route, &sealed, &p.keys);
    if let Ok(fetch) = &inside {
        assert!(fetch.acks.len() <= 64 && fetch.acks.iter().all(|ack| ack.index > 0));
    }
    as_it_is.is_ok() | inside.is_ok()
}

fn bstr(bytes: &[u8]) -> Vec<u8> {
    let head = match bytes.len() {
        len @ 0..=23 => vec![0x40 | len as u8],
        len @ 24..=0xff => vec![0x58, len as u8],
        len @ 0x100..=0xffff => [&[0x59][..], &(len as u16).to_be_bytes()].concat(),
        len => [&[0x5a][..], &(len as u32).to_be_bytes()].concat(),
    };
    [head, bytes.to_vec()].concat()
}
