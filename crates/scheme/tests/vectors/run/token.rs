//! What a token claims, and what only it opens.

use sha2::{Digest, Sha256};
use twinseal_scheme::enrol::{
    ClaimedHardware, ClaimedToken, CredentialContext, CredentialOpening, VerifiedHardware,
};
use twinseal_scheme::id::{EnrolId, ServerId};
use twinseal_scheme::serial::HardwareSerial;

use super::state::{Replay, public, secret};
use super::{Operation, Outcome};
use crate::format::{Inputs, bytes};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "token", input: Some("token"), exact: true, run: token },
    Operation { name: "token-credential", input: Some("blob"), exact: true, run: credential },
];

fn token(i: &Inputs) -> Outcome {
    let statement = i.bytes("token");
    let claimed = ClaimedHardware::Token(ClaimedToken::new(statement.clone()));
    let serial = HardwareSerial::from_bytes(i.fixed("serial"));
    claimed.check_serial(&serial)?;
    let m0_hash = Sha256::digest(i.bytes("m0")).into();
    let server_id = ServerId(i.fixed("server-id"));
    let verified = claimed.verify(&m0_hash, &server_id, &serial)?;
    if let VerifiedHardware::Token(keys) = &verified
        && i.has("seal-signature")
    {
        let signature = i.bytes("seal-signature");
        let again = keys.unsigned(&m0_hash, &server_id)?.finish(&signature);
        assert!(again == statement, "signed anew");
    }
    Ok(vec![
        bytes("out-signing-spki", verified.signing().spki()),
        bytes("out-decryption-spki", verified.decryption().spki()),
        bytes("out-serial-key-spki", verified.serial().spki()),
        bytes("out-name", verified.name()),
    ])
}

fn credential(i: &Inputs) -> Outcome {
    let (blob, m1) = (i.bytes("blob"), i.bytes("m1"));
    let (server_id, enrol_id) = (ServerId(i.fixed("server-id")), EnrolId(i.fixed("enrol-id")));
    let context = CredentialContext { server_id: &server_id, enrol_id: &enrol_id, m1: &m1 };
    let opening = CredentialOpening::begin(&blob)?;
    let opened = opening.finish(&secret(i, "z"), &context)?;
    if i.has("seal-random") {
        let mut rng = Replay::of(i, &["seal-random"]);
        let again = context.seal(&public(i, "device-decryption"), &opened, &mut rng)?;
        assert!(again == blob, "sealed anew");
    }
    Ok(vec![bytes("out-credential", opened.expose())])
}
