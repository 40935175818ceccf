//! Envelopes and their layers.

use twinseal_scheme::epoch::ClosedEpoch;
use twinseal_scheme::keys::DecryptionPublic;
use twinseal_scheme::message::{
    DownOpening, Envelope, Opened, Outer, open_up, open_up_closed, seal_down, seal_up,
};

use super::state::{self, Replay, bond, public, secret};
use super::{Operation, Outcome};
use crate::format::{Field, Inputs, bytes, word};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "envelope", input: Some("envelope"), exact: false, run: envelope },
    Operation { name: "open-up", input: Some("envelope"), exact: true, run: up },
    Operation { name: "open-up-closed", input: Some("envelope"), exact: true, run: up_closed },
    Operation { name: "open-down", input: Some("envelope"), exact: true, run: down },
];

fn envelope(i: &Inputs) -> Outcome {
    let Envelope { route, body, hash } = Envelope::decode(&i.bytes("envelope"))?;
    Ok(vec![
        word("out-outer", route.outer.number()),
        word("out-direction", route.direction.number()),
        bytes("out-device-id", route.device_id.0),
        word("out-generation", route.generation),
        word("out-keyset", route.keyset),
        word("out-sequence", route.sequence),
        word("out-epoch", route.epoch),
        word("out-seq", route.seq),
        bytes("out-body", body),
        bytes("out-hash", hash),
    ])
}

fn up(i: &Inputs) -> Outcome {
    let (bond, (_, keys)) = (bond(i), state::epoch(i));
    let envelope = i.bytes("envelope");
    let opened = open_up(&bond, &keys, &Envelope::decode(&envelope)?)?;
    if i.has("seal-outer") {
        let mut rng = Replay::of(i, &["seal-random"]);
        let (outer, seq) = (outer(i), i.number("seal-seq"));
        let unsigned = seal_up(&bond, &keys, outer, seq, &opened.content, &mut rng)?;
        assert!(unsigned.finish(&i.bytes("seal-signature"))? == envelope, "sealed anew");
    }
    Ok(outputs(opened))
}

fn up_closed(i: &Inputs) -> Outcome {
    let (bond, (z, keys)) = (bond(i), state::epoch(i));
    let wrapped = ClosedEpoch::wrap(&keys, &z, &mut rand_core::OsRng)?;
    let (epoch, sequence, hash) = (keys.epoch, keys.sequence, keys.open_hash);
    let closed = ClosedEpoch::unwrap(&wrapped, &z, epoch, sequence, hash)?;
    open_up_closed(&bond, &closed, &Envelope::decode(&i.bytes("envelope"))?).map(outputs)
}

/// As a chip would: it gives `z` for what it is shown, a point or an encrypted key.
fn down(i: &Inputs) -> Outcome {
    let (bond, (_, keys)) = (bond(i), state::epoch(i));
    let envelope = i.bytes("envelope");
    let opening = DownOpening::begin(&bond, &keys, &Envelope::decode(&envelope)?)?;
    state::decrypts(i, "decryption", opening.encapsulation())?;
    let opened = opening.finish(&secret(i, "z"), &public(i, "server-signing"))?;
    if i.has("seal-outer") {
        let drawn: &[&str] = match bond.decryption {
            DecryptionPublic::EcdhEs(_) => &["seal-random", "seal-ephemeral-private"],
            DecryptionPublic::RsaOaep(..) => {
                &["seal-random", "seal-content-random", "seal-oaep-seed"]
            }
        };
        let mut rng = Replay::of(i, drawn);
        let (outer, seq) = (outer(i), i.number("seal-seq"));
        let unsigned = seal_down(&bond, &keys, outer, seq, &opened.content);
        let sealed = unsigned.finish(&i.fixed("seal-signature"), &mut rng)?;
        assert!(sealed == envelope, "sealed anew");
    }
    Ok(outputs(opened))
}

fn outer(i: &Inputs) -> Outer {
    Outer::of_word(i.word("seal-outer")).unwrap()
}

fn outputs(opened: Opened) -> Vec<Field> {
    let mut fields = vec![bytes("out-content", opened.content), bytes("out-inner", opened.inner)];
    fields.extend(opened.server_signed.map(|signed| bytes("out-server-signed", signed)));
    fields
}
