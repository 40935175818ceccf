//! Answers, fetches, statements.

use twinseal_scheme::answer::{Ack, Answer, Fetch, FetchRoute};
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::id::{DeviceId, ServerId};
use twinseal_scheme::keys::SigningPublic;
use twinseal_scheme::server_keys::ServerKeys;

use super::state::{self, Replay, public, secret, signature};
use super::{Operation, Outcome};
use crate::format::{Field, Inputs, bytes, word};
use crate::wire::{array, bstr, uint};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "answer-open", input: Some("answer"), exact: true, run: answer_open },
    Operation { name: "answer-verify", input: Some("answer"), exact: true, run: answer_verify },
    Operation { name: "fetch", input: Some("fetch"), exact: true, run: fetch },
    Operation { name: "server-keys", input: Some("statement"), exact: true, run: server_keys },
    Operation { name: "device-statement", input: Some("statement"), exact: true, run: device },
];

fn answer_open(i: &Inputs) -> Outcome {
    let (key, request, sealed) = (secret(i, "answer-key"), i.bytes("request"), i.bytes("answer"));
    let answer = Answer::open(&key, &request, &sealed)?;
    if i.has("seal-random") {
        let mut rng = Replay::of(i, &["seal-random"]);
        assert!(answer.seal(&key, &request, &mut rng)? == sealed, "sealed anew");
    }
    Ok(outputs(answer))
}

fn answer_verify(i: &Inputs) -> Outcome {
    let id = DeviceId(i.fixed("device-id"));
    let (signing, request) = (public(i, "server-signing"), i.bytes("request"));
    Answer::verify(&signing, &id, &request, &i.bytes("answer")).map(outputs)
}

fn outputs(answer: Answer) -> Vec<Field> {
    let (kind, body) = match answer {
        Answer::Accepted => ("accepted", vec![]),
        Answer::Refused(code) => ("refused", code.into_bytes()),
        Answer::Downlink(envelope) => ("downlink", envelope),
        Answer::Nothing => ("nothing", vec![]),
        Answer::Revoked => ("revoked", vec![]),
        Answer::Quarantined => ("quarantined", vec![]),
    };
    vec![word("out-kind", kind), bytes("out-body", body)]
}

fn fetch(i: &Inputs) -> Outcome {
    let (_, keys) = state::epoch(i);
    let sealed_in = i.bytes("fetch");
    let (route, sealed) = Fetch::route(&sealed_in)?;
    let fetch = Fetch::open(&route, &sealed, &keys)?;
    let (device_id, generation) = (DeviceId(i.fixed("device-id")), i.number("generation"));
    let expected = FetchRoute { device_id, generation, epoch: i.number("epoch") };
    assert_eq!(route, expected);
    if i.has("seal-random") {
        let mut rng = Replay::of(i, &["seal-random"]);
        assert!(fetch.seal(&route, &keys, &mut rng)? == sealed_in, "sealed anew");
    }
    let ack =
        |ack: &Ack| array(&[bstr(ack.trade_id), uint(ack.index.into()), bstr(ack.inner_hash)]);
    let acks: Vec<_> = fetch.acks.iter().map(ack).collect();
    Ok(vec![word("out-wait-ms", fetch.wait_ms), bytes("out-acks", array(&acks))])
}

fn server_keys(i: &Inputs) -> Outcome {
    let statement = i.bytes("statement");
    let keys = ServerKeys::verify(&statement, &ServerId(i.fixed("server-id")))?;
    keys.at_least(i.number("least"))?;
    if i.has("seal-signature") {
        let again = keys.unsigned().finish(&signature(i, "seal-signature"));
        assert!(again == statement, "signed anew");
    }
    Ok(vec![
        word("out-sequence", keys.sequence),
        word("out-min-sequence", keys.min_sequence),
        bytes("out-signing-id", keys.signing.id().0),
        bytes("out-encryption-id", keys.encryption.id().0),
        bytes("out-kem-id", keys.kem.id().0),
        bytes("out-server-id", keys.server_id().0),
    ])
}

fn device(i: &Inputs) -> Outcome {
    let bytes_in = i.bytes("statement");
    let statement = DeviceStatement::verify(&bytes_in, &public(i, "server-signing"))?;
    if i.has("seal-signature") {
        let again = statement.unsigned().finish(&signature(i, "seal-signature"));
        assert!(again == bytes_in, "signed anew");
    }
    let signing = match &statement.signing {
        SigningPublic::Es256(key) => vec![bytes("out-signing", key.point())],
        key => vec![
            word("out-signing-algorithm", key.algorithm().number()),
            bytes("out-signing-spki", key.spki()),
        ],
    };
    let others = vec![
        bytes("out-server-id", statement.server_id.0),
        bytes("out-device-id", statement.device_id.0),
        bytes("out-serial", statement.serial.as_bytes()),
        word("out-generation", statement.generation),
        word("out-keyset", statement.keyset),
        bytes("out-decryption-id", statement.decryption.0),
        word("out-assurance", statement.assurance),
        bytes("out-verdict", statement.verdict),
        word("out-enrolled", statement.enrolled_s),
    ];
    Ok([signing, others].concat())
}
