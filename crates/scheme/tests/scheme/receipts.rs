//! Receipts: two signatures, and everything that an auditor needs to believe them.

use crate::parties::{Parties, signing_key};
use twinseal_scheme::Reason;
use twinseal_scheme::cose::Unsigned;
use twinseal_scheme::device_statement::DeviceStatement;
use twinseal_scheme::direction::Direction;
use twinseal_scheme::id::{DeviceId, ServerId, TradeId};
use twinseal_scheme::keys::SigningKey;
use twinseal_scheme::receipt::{SignedReceipt, UnsignedReceipt};
use twinseal_scheme::trade::{Chain, Receipt, ReceiptFacts, Service};

fn sign(key: &SigningKey, unsigned: Unsigned) -> Vec<u8> {
    let signature = key.sign(unsigned.to_sign()).unwrap();
    unsigned.finish(&signature)
}

fn statement(parties: &Parties, device_id: DeviceId) -> Vec<u8> {
    let bond = &parties.bond;
    let statement = DeviceStatement {
        server_id: bond.server_id,
        device_id,
        serial: bond.serial,
        generation: bond.generation,
        keyset: bond.keyset,
        signing: bond.signing.clone(),
        decryption: bond.decryption.id(),
        assurance: "tpm-ek".into(),
        verdict: "chain verified".into(),
        enrolled_s: 1,
    };
    sign(&parties.server_signing, statement.unsigned())
}

fn receipt(parties: &Parties, device_statement: Vec<u8>, signer: &SigningKey) -> Vec<u8> {
    let (bond, trade) = (&parties.bond, TradeId([4; 16]));
    let receipt = Receipt {
        trade,
        service: Service::new("com.example.till").unwrap(),
        up: Chain::start(Direction::Up, trade),
        down: Chain::start(Direction::Down, trade),
        facts: ReceiptFacts {
            server_id: bond.server_id,
            device_id: bond.device_id,
            serial: bond.serial,
            generation: bond.generation,
            signing_key: bond.signing.id(),
            decryption_key: bond.decryption.id(),
            opened_s: 10,
            closed_s: 20,
            device_statement,
            server_keys: sign(&parties.identity, parties.server_keys.unsigned()),
        },
    };
    let unsigned = UnsignedReceipt::new(&receipt);
    let signature = signer.sign(&unsigned.to_sign()).unwrap();
    unsigned.finish(signature)
}

#[test]
fn a_receipt_is_verified_by_who_knows_the_server_alone() {
    let parties = Parties::new([1; 32]);
    let bond = &parties.bond;
    let by_server = receipt(&parties, statement(&parties, bond.device_id), &parties.server_signing);
    let half = SignedReceipt::verify(&by_server, &bond.server_id).unwrap();
    assert!(!half.is_countersigned());

    let stranger = signing_key().sign_digest(&half.digest()).unwrap();
    let refused = half.clone().countersign(stranger.to_vec());
    assert_eq!(refused.err(), Some(Reason::BadDeviceSignature));

    let signature = parties.sign_digest(&half.digest());
    let whole = half.countersign(signature).unwrap().encode();
    let read = SignedReceipt::verify(&whole, &bond.server_id).unwrap();
    assert!(read.is_countersigned() && read.device.assurance == "tpm-ek");

    let other = SignedReceipt::verify(&whole, &ServerId([0; 32]));
    assert_eq!(other.err(), Some(Reason::UnknownServer));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        assert!(SignedReceipt::verify(&bytes, &bond.server_id).is_err(), "byte {at}");
    }
}

#[test]
fn a_receipt_of_another_signer_or_about_another_device_is_none() {
    let parties = Parties::new([1; 32]);
    let bond = &parties.bond;
    let good = statement(&parties, bond.device_id);
    let forged = receipt(&parties, good, &signing_key());
    let verify = |bytes: &[u8]| SignedReceipt::verify(bytes, &bond.server_id).err();
    assert_eq!(verify(&forged), Some(Reason::BadServerSignature));

    let other = statement(&parties, DeviceId([0; 16]));
    let mixed = receipt(&parties, other, &parties.server_signing);
    assert_eq!(verify(&mixed), Some(Reason::ReceiptMismatch));
}
