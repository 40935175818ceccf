//! Enrolment, message by message.

use sha2::{Digest, Sha256};
use twinseal_scheme::Secret;
use twinseal_scheme::enrol::{
    Activation, ActivationProof, Challenge, ClaimOpening, ClaimedHardware, ClaimedKey,
    Confirmation, ConfirmationKey, Grant, GrantKey, Offer, Request, Standing, re_enrolment_proof,
    verify_re_enrolment_proof,
};
use twinseal_scheme::epoch::ChainKey;
use twinseal_scheme::id::{EnrolId, KeyId};
use twinseal_scheme::keys::Encapsulation;

use super::state::{
    self, Replay, bond, chain, decryption_key, public, secret, signature, signing_key,
};
use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};
use crate::wire::{NULL, array, bstr, map, tstr, uint};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "q", input: Some("q"), exact: false, run: q },
    Operation { name: "m0-accept", input: Some("m0"), exact: true, run: m0_accept },
    Operation { name: "m0-recognise", input: Some("m0"), exact: true, run: m0_recognise },
    Operation { name: "m1", input: Some("m1"), exact: true, run: m1 },
    Operation { name: "m2", input: Some("m2"), exact: true, run: m2 },
    Operation { name: "m3", input: Some("m3"), exact: true, run: m3 },
    Operation { name: "m4", input: Some("m4"), exact: true, run: m4 },
    Operation { name: "m5", input: Some("m5"), exact: true, run: m5 },
    Operation { name: "g", input: Some("g"), exact: true, run: g },
    Operation { name: "re-enrolment", input: Some("proof"), exact: true, run: re_enrolment },
];

fn hash(i: &Inputs, key: &str) -> [u8; 32] {
    Sha256::digest(i.bytes(key)).into()
}

fn q(i: &Inputs) -> Outcome {
    let request = Request::decode(&i.bytes("q"))?;
    assert_eq!(Request::decode(&request.encode()), Ok(request));
    Ok(vec![bytes("out-nonce-d", request.nonce_d)])
}

fn m0_accept(i: &Inputs) -> Outcome {
    let request = Request { nonce_d: i.fixed("nonce-d") };
    let id = bond(i).server_id;
    let accepted = Challenge::accept(&i.bytes("m0"), &request, &id, i.number("least"))?;
    Ok(vec![
        word("out-sequence", accepted.server_keys.sequence),
        bytes("out-m0-hash", accepted.m0_hash()),
        bytes("out-statement", accepted.statement),
    ])
}

fn m0_recognise(i: &Inputs) -> Outcome {
    let signing = public(i, "server-signing");
    let nonce = Challenge::recognise(&i.bytes("m0"), &signing, i.number("now"))?;
    Ok(vec![bytes("out-nonce-s", nonce)])
}

fn m1(i: &Inputs) -> Outcome {
    let m1 = i.bytes("m1");
    let (signing, id) = (public(i, "server-signing"), bond(i).server_id);
    let opening = ClaimOpening::begin(&m1, &signing, i.number("now"))?;
    let nonce_s = *opening.nonce_s();
    let z = state::private(i, "server-encryption-private").agree(opening.ephemeral())?;
    let claim = opening.finish(&z, &id)?;
    if i.has("seal-ephemeral-private") {
        let request = Request { nonce_d: i.fixed("nonce-d") };
        let challenge = Challenge::accept(&i.bytes("m0"), &request, &id, 0)?;
        let mut rng = Replay::of(i, &["seal-ephemeral-private"]);
        assert!(claim.seal(&challenge, &mut rng)? == m1, "sealed anew");
    }
    let mut entries: Vec<_> = claim.user_info.entries().iter().collect();
    entries.sort_by_key(|(name, _)| (name.len(), *name));
    let entries: Vec<_> = entries.iter().map(|(name, value)| (tstr(name), tstr(value))).collect();
    let again = claim.re_enrolment.map_or(NULL.to_vec(), |again| {
        array(&[bstr(again.device_id.0), uint(again.generation.into()), bstr(again.proof)])
    });
    Ok(vec![
        bytes("out-nonce-s", nonce_s),
        bytes("out-serial", claim.serial.as_bytes()),
        bytes("out-user-info", map(&entries)),
        bytes("out-code", claim.code.map_or(NULL.to_vec(), |code| tstr(&code))),
        bytes("out-re-enrolment", again),
        bytes("out-hardware", hardware(&claim.hardware)),
    ])
}

fn hardware(hardware: &ClaimedHardware) -> Vec<u8> {
    let tpm = match hardware {
        ClaimedHardware::Token(token) => return array(&[uint(2), bstr(token.statement())]),
        ClaimedHardware::Tpm(tpm) => tpm,
    };
    let certificates: Vec<_> = tpm.certificates.iter().map(bstr).collect();
    array(&[
        uint(1),
        bstr(&tpm.keys.ek_public),
        array(&certificates),
        bstr(&tpm.keys.srk_public),
        bstr(&tpm.keys.ak_public),
        certified(&tpm.keys.signing),
        certified(&tpm.keys.decryption),
        certified(&tpm.keys.serial),
    ])
}

fn certified(key: &ClaimedKey) -> Vec<u8> {
    array(&[bstr(&key.public), bstr(&key.attest), bstr(&key.signature)])
}

fn m2(i: &Inputs) -> Outcome {
    let signing = public(i, "server-signing");
    let activation = Activation::verify(&i.bytes("m2"), &signing, &i.bytes("m1"))?;
    Ok(vec![
        bytes("out-enrol-id", activation.enrol_id.0),
        bytes("out-credential-blob", activation.credential_blob),
        bytes("out-encrypted-secret", activation.encrypted_secret),
    ])
}

fn m3(i: &Inputs) -> Outcome {
    let m3 = i.bytes("m3");
    let expected = ActivationProof::new(
        EnrolId(i.fixed("enrol-id")),
        &secret(i, "credential"),
        &hash(i, "m0"),
        &i.bytes("m1"),
        &i.bytes("m2"),
    );
    ActivationProof::decode(&m3)?.verify(&expected)?;
    assert!(expected.encode() == m3, "made anew");
    Ok(vec![])
}

fn offer(i: &Inputs) -> Result<Offer, twinseal_scheme::Reason> {
    let serial_key = decryption_key(i, "device-serial");
    Offer::verify(&i.bytes("m4"), &public(i, "server-signing"), &i.bytes("m3"), &serial_key)
}

fn m4(i: &Inputs) -> Outcome {
    let offer = offer(i)?;
    let mut outputs = vec![
        bytes("out-enrol-id", offer.enrol_id.0),
        bytes("out-device-id", offer.device_id.0),
        word("out-generation", offer.generation),
    ];
    let e = offer.encapsulation.bytes();
    match &offer.encapsulation {
        Encapsulation::EcdhEs(_) => outputs.push(bytes("out-point", e)),
        Encapsulation::RsaOaep(..) => {
            outputs.push(bytes("out-ciphertext", e));
            outputs.push(bytes("out-chain-key", drawn_again(i, &offer).key().expose()));
        }
    }
    Ok(outputs)
}

/// CK_0 of an offer to an RSA key, which the server draws and the token decrypts.
fn drawn_again(i: &Inputs, offer: &Offer) -> ChainKey {
    state::decrypts(i, "serial", &offer.encapsulation).unwrap();
    let (bond, proof) = (bond(i), ActivationProof::decode(&i.bytes("m3")).unwrap());
    let key = decryption_key(i, "device-serial");
    let (id, serial) = (&bond.server_id, &bond.serial);
    let mut rng = Replay::of(i, &["seal-random", "seal-oaep-seed"]);
    let (again, secrets) =
        Offer::draw(&proof, bond.device_id, bond.generation, id, serial, &key, &mut rng).unwrap();
    let again = again.unsigned(&i.bytes("m3")).finish(&signature(i, "seal-signature"));
    assert!(again == i.bytes("m4"), "drawn anew");
    assert_eq!(secrets.chain, ChainKey::of_bond(&secret(i, "z"), &bond));
    secrets.chain
}

fn m5(i: &Inputs) -> Outcome {
    let m5 = i.bytes("m5");
    let hashes = ["m0", "m1", "m2", "m3", "m4"].map(|message| hash(i, message));
    let expected = ConfirmationKey::new(&chain(i)).confirm(&hashes);
    let confirmation = Confirmation::verify(&m5, &signing_key(i, "device-signing"), &expected)?;
    assert_eq!(Confirmation::route(&m5), Ok(confirmation.enrol_id));
    Ok(vec![
        bytes("out-enrol-id", confirmation.enrol_id.0),
        word("out-epoch-base", confirmation.epoch_base),
    ])
}

fn g(i: &Inputs) -> Outcome {
    let (sealed, m5, key) = (i.bytes("g"), i.bytes("m5"), GrantKey::new(&chain(i)));
    let grant = Grant::open(&sealed, &key, &m5, &public(i, "server-signing"))?;
    let bond = bond(i);
    let ids: [KeyId; 3] =
        [bond.signing.id(), bond.decryption.id(), public(i, "device-serial").id()];
    grant.agrees_with(&offer(i)?, &bond.server_id, &bond.serial, &ids)?;
    if i.has("seal-random") {
        let mut rng = Replay::of(i, &["seal-random"]);
        let again = grant.seal(&signature(i, "seal-signature"), &key, &m5, &mut rng)?;
        assert!(again == sealed, "sealed anew");
    }
    let standing = match grant.standing {
        Standing::AwaitingApproval => "awaiting",
        Standing::Active => "active",
        Standing::Denied => "denied",
    };
    Ok(vec![word("out-standing", standing), word("out-assurance", grant.assurance)])
}

fn re_enrolment(i: &Inputs) -> Outcome {
    let bond = bond(i);
    let name = i.bytes("ak-name");
    let generation = i.number("old-generation");
    let expected = re_enrolment_proof(
        bond.signing.algorithm(),
        &hash(i, "m0"),
        &bond.device_id,
        generation,
        &bond.serial,
        &name,
    );
    verify_re_enrolment_proof(&i.bytes("proof"), &signing_key(i, "old-signing"), &expected)?;
    Ok(vec![])
}

/// CK_0 drawn on the server's side is what the chip computes.
#[test]
fn both_sides_of_an_offer_compute_one_chain_key() {
    use crate::crypto::Key;
    let serial_key = Key::new("device serial key");
    let parties = crate::parties::Parties::new();
    let vector = crate::format::Vector::good("", "", "", vec![]).with("parties");
    let i = Inputs::of(&vector);
    let bond = bond(&i);
    let mut rng = Replay::of(&i, &["offer-private"]);
    let (id, serial) = (&bond.server_id, &bond.serial);
    let key = decryption_key(&i, "device-serial");
    let proof = ActivationProof::new(EnrolId([0; 16]), &Secret::new([0; 32]), &[0; 32], &[], &[]);
    let (offer, secrets) =
        Offer::draw(&proof, bond.device_id, bond.generation, id, serial, &key, &mut rng).unwrap();
    assert_eq!(offer.encapsulation.bytes(), parties.offer.point());
    assert_eq!(secrets.chain.key(), &Secret::new(parties.chain_of(&serial_key)));
}
