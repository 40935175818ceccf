//! What a token claims, and what only it opens.

use sha2::{Digest, Sha256};
use twinseal_scheme::enrol::{
    ClaimedHardware, ClaimedToken, CredentialContext, CredentialOpening, VerifiedHardware,
};
use twinseal_scheme::id::{EnrolId, ServerId};
use twinseal_scheme::keys::{DecryptionAlgorithm, SigningAlgorithm};
use twinseal_scheme::serial::HardwareSerial;

use super::state::{Replay, decryption_key, decrypts, secret};
use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};

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
    let (signing, decryption, serial) =
        (verified.signing(), verified.decryption(), verified.serial());
    let mut outputs = vec![
        bytes("out-signing-spki", signing.spki()),
        bytes("out-decryption-spki", decryption.spki()),
        bytes("out-serial-key-spki", serial.spki()),
        bytes("out-name", verified.name()),
    ];
    // Of P-256 the key says how it is used.
    if signing.algorithm() != SigningAlgorithm::Es256 {
        outputs.push(word("out-signing-algorithm", signing.algorithm().number()));
    }
    for (name, key) in [("decryption", decryption), ("serial-key", serial)] {
        if key.algorithm() != DecryptionAlgorithm::EcdhEs {
            outputs.push(word(&format!("out-{name}-algorithm"), key.algorithm().number()));
        }
    }
    Ok(outputs)
}

fn credential(i: &Inputs) -> Outcome {
    let (blob, m1) = (i.bytes("blob"), i.bytes("m1"));
    let (server_id, enrol_id) = (ServerId(i.fixed("server-id")), EnrolId(i.fixed("enrol-id")));
    let context = CredentialContext { server_id: &server_id, enrol_id: &enrol_id, m1: &m1 };
    let key = decryption_key(i, "device-decryption");
    let opening = CredentialOpening::begin(&key, &blob)?;
    decrypts(i, "decryption", opening.encapsulation())?;
    let opened = opening.finish(&secret(i, "z"), &context)?;
    if i.has("seal-random") {
        let drawn = ["seal-random", "seal-oaep-seed"];
        let mut rng = Replay::of(i, if i.has(drawn[1]) { &drawn } else { &drawn[..1] });
        let again = context.seal(&key, &opened, &mut rng)?;
        assert!(again == blob, "sealed anew");
    }
    Ok(vec![bytes("out-credential", opened.expose())])
}
