//! Chain keys, epoch-opens, and judgements.

use twinseal_scheme::epoch::judge::{
    Arrival, CounterRecord, CounterState, Opening, OpeningArrival, arrival, counter, opening,
    opening_arrival, sealing,
};
use twinseal_scheme::epoch::{ChainKey, EpochKeys, VerifiedEpochOpen};
use twinseal_scheme::message::{Envelope, Outer, seal_up};
use twinseal_scheme::tpm::ClockInfo;

use super::state::{self, Replay, bond, kem, private, secret, signature};
use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "chain-key-first", input: None, exact: false, run: chain_key_first },
    Operation { name: "chain-key-walk", input: None, exact: false, run: chain_key_walk },
    Operation { name: "epoch-open", input: Some("envelope"), exact: true, run: epoch_open },
    Operation {
        name: "judge-opening-arrival",
        input: None,
        exact: false,
        run: judge_opening_arrival,
    },
    Operation { name: "judge-opening", input: None, exact: false, run: judge_opening },
    Operation { name: "judge-arrival", input: None, exact: false, run: judge_arrival },
    Operation { name: "judge-sealing", input: None, exact: false, run: judge_sealing },
    Operation { name: "judge-counter", input: None, exact: false, run: judge_counter },
];

/// On the device from what the chip says, on the server from the private half of the offer.
fn chain_key_first(i: &Inputs) -> Outcome {
    let z = private(i, "device-serial-private").agree(&state::public(i, "offer"))?;
    let again = private(i, "offer-private").agree(&state::public(i, "device-serial"))?;
    assert!(z == again && z == secret(i, "z"));
    let chain = ChainKey::of_bond(&z, &bond(i));
    assert_eq!(chain.epoch(), 0);
    Ok(vec![bytes("out-chain-key", chain.key().expose())])
}

fn chain_key_walk(i: &Inputs) -> Outcome {
    let from = ChainKey::kept(i.number("from"), secret(i, "from-key"));
    Ok(vec![bytes("out-chain-key", from.ratchet(i.number("to"))?.key().expose())])
}

fn epoch_open(i: &Inputs) -> Outcome {
    let bond = bond(i);
    let bytes_in = i.bytes("envelope");
    let envelope = Envelope::decode(&bytes_in)?;
    let verified = VerifiedEpochOpen::verify(&bond, &envelope)?;
    let (epoch, sequence) = (envelope.route.epoch, envelope.route.sequence);
    let chain = state::chain(i).ratchet(epoch)?;
    let open = verified.open(&chain)?;
    let ecdh = private(i, "server-encryption-private").agree(&open.epoch_key)?;
    let keys = verified.keys(&chain, &ecdh, &kem(i).decapsulate(&open.kem_ciphertext)?);
    if i.has("seal-random") {
        let opening = EpochKeys::opening(&chain, sequence);
        let mut rng = Replay::of(i, &["seal-random"]);
        let content = i.bytes("seal-content");
        let unsigned = seal_up(&bond, &opening, Outer::Key, 0, &content, &mut rng)?;
        assert!(unsigned.finish(&signature(i, "seal-signature"))? == bytes_in, "sealed anew");
    }
    if i.has("of-tpm") {
        open.certification()?;
    }
    let extra_data = open.extra_data(&bond, sequence, epoch);
    let (attest, attest_signature) = open.attest.unwrap_or_default();
    Ok(vec![
        bytes("out-epoch-key", open.epoch_key.point()),
        bytes("out-kem-ciphertext", open.kem_ciphertext),
        bytes("out-p256-id", open.p256_id.0),
        bytes("out-kem-id", open.kem_id.0),
        bytes("out-attest", attest),
        bytes("out-attest-signature", attest_signature),
        bytes("out-extra-data", extra_data),
        bytes("out-open-hash", keys.open_hash),
        bytes("out-answer-key", keys.answer_key().expose()),
        bytes("out-fetch-key", keys.fetch_key().expose()),
    ])
}

fn judge_opening_arrival(i: &Inputs) -> Outcome {
    let known = i.has("known").then(|| i.fixed("known"));
    let (epoch, last) = (i.number("epoch"), Some(i.number("last")));
    let word_of = match opening_arrival(epoch, last, known, i.fixed("this"))? {
        OpeningArrival::StoredAnswer => "stored-answer",
        OpeningArrival::Verify => "verify",
    };
    Ok(vec![word("out-arrival", word_of)])
}

fn judge_opening(i: &Inputs) -> Outcome {
    let at = |epoch: &str, clock: &str| {
        let clock = i.has(clock).then(|| clock_of(i.word(clock)));
        Opening { epoch: i.number(epoch), hash: [0; 32], clock }
    };
    opening(&at("epoch", "clock"), Some(&at("last", "last-clock")))?;
    Ok(vec![])
}

/// `reset_count restart_count clock_ms`
fn clock_of(word: &str) -> ClockInfo {
    let numbers: Vec<u64> = word.split(' ').map(|n| n.parse().unwrap()).collect();
    let [reset, restart, clock_ms] = numbers[..] else { panic!("{word}: not three numbers") };
    let (reset_count, restart_count) = (reset as u32, restart as u32);
    ClockInfo { clock_ms, reset_count, restart_count, safe: true }
}

fn judge_arrival(i: &Inputs) -> Outcome {
    let (epoch, open) = (i.number("epoch"), Some(i.number("open")));
    let has_key = i.number::<u8>("has-closed-key") == 1;
    let word_of = match arrival(epoch, open, has_key, taken(i), i.fixed("this"))? {
        Arrival::StoredAnswer => "stored-answer",
        Arrival::OpenEpoch => "open-epoch",
        Arrival::ClosedEpoch => "closed-epoch",
    };
    Ok(vec![word("out-arrival", word_of)])
}

fn judge_sealing(i: &Inputs) -> Outcome {
    Ok(vec![word("out-new", u8::from(sealing(taken(i), i.fixed("this"))?))])
}

fn taken(i: &Inputs) -> Option<[u8; 32]> {
    i.has("taken").then(|| i.fixed("taken"))
}

fn judge_counter(i: &Inputs) -> Outcome {
    let opened = i.number::<u8>("opened") == 1;
    let record = CounterRecord { intended: i.number("intended"), opened };
    let word_of = match counter(record, i.number("chip")) {
        CounterState::Agrees => "agrees",
        CounterState::DiskRolledBack => "disk-rolled-back",
        CounterState::ChipRolledBack => "chip-rolled-back",
    };
    Ok(vec![word("out-state", word_of)])
}
