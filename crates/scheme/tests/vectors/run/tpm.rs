//! TPM structures, the keys of a claim, hardware serials.

use twinseal_scheme::Reason;
use twinseal_scheme::enrol::{ClaimedKey, ClaimedKeys};
use twinseal_scheme::id::ServerId;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::tpm::{
    Attest, Certification, ChipState, ClockInfo, EndorsementKey, Name, Public, Signature,
    make_credential, verify_epoch_attest,
};

use super::state::Replay;
use super::{Operation, Outcome};
use crate::format::{Field, Inputs, bytes, word};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "tpm-public", input: Some("public"), exact: false, run: public },
    Operation { name: "tpm-attest", input: Some("attest"), exact: false, run: attest },
    Operation { name: "tpm-signature", input: Some("signature"), exact: true, run: signature },
    Operation { name: "serial-of-token", input: None, exact: false, run: token },
    Operation { name: "serial-of-ek", input: Some("ek-public"), exact: false, run: ek },
    Operation { name: "device-keys", input: Some("signing-attest"), exact: true, run: device_keys },
    Operation { name: "epoch-attest", input: Some("attest"), exact: true, run: epoch_attest },
    Operation { name: "make-credential", input: None, exact: false, run: credential },
];

fn public(i: &Inputs) -> Outcome {
    let public = Public::parse(&i.bytes("public"))?;
    Ok(vec![
        bytes("out-name", public.name().as_bytes()),
        bytes("out-spki", public.key().spki_der()),
    ])
}

fn attest(i: &Inputs) -> Outcome {
    let attest = Attest::parse(&i.bytes("attest"))?;
    Ok(vec![
        bytes("out-qualified-signer", attest.qualified_signer),
        bytes("out-extra-data", attest.extra_data),
        clock(&attest.clock),
        word("out-safe", u8::from(attest.clock.safe)),
        word("out-firmware-version", attest.firmware_version),
        bytes("out-name", attest.name),
        bytes("out-qualified-name", attest.qualified_name),
    ])
}

fn clock(clock: &ClockInfo) -> Field {
    let ClockInfo { reset_count, restart_count, clock_ms, .. } = clock;
    word("out-clock", format!("{reset_count} {restart_count} {clock_ms}"))
}

fn signature(i: &Inputs) -> Outcome {
    let signer = Public::parse(&i.bytes("public")).unwrap();
    Signature::parse(&i.bytes("signature"))?.verify(&signer, &i.bytes("message"))?;
    Ok(vec![])
}

fn token(i: &Inputs) -> Outcome {
    let text = |key: &str| String::from_utf8(i.bytes(key)).unwrap();
    let serial = HardwareSerial::of_token(&text("manufacturer"), &text("model"), &text("serial"))?;
    Ok(vec![bytes("out-serial", serial.as_bytes())])
}

fn ek(i: &Inputs) -> Outcome {
    let serial = EndorsementKey::parse(&i.bytes("ek-public"))?.serial();
    assert_eq!(HardwareSerial::from_text(&serial.to_text()), Ok(serial));
    Ok(vec![bytes("out-serial", serial.as_bytes())])
}

pub fn claimed_keys(i: &Inputs) -> ClaimedKeys {
    let key = |name: &str| ClaimedKey {
        public: i.bytes(&format!("{name}-public")),
        attest: i.bytes(&format!("{name}-attest")),
        signature: i.bytes(&format!("{name}-attest-signature")),
    };
    ClaimedKeys {
        ek_public: i.bytes("ek-public"),
        srk_public: i.bytes("srk-public"),
        ak_public: i.bytes("ak-public"),
        signing: key("signing"),
        decryption: key("decryption"),
        serial: key("serial-key"),
    }
}

fn device_keys(i: &Inputs) -> Outcome {
    let keys = claimed_keys(i);
    let serial = HardwareSerial::from_bytes(i.fixed("serial"));
    keys.check_serial(&serial)?;
    let server_id = ServerId(i.fixed("server-id"));
    let keys = keys.verify(&i.fixed("m0-hash"), &server_id, &serial)?;
    Ok(vec![
        bytes("out-srk-name", keys.srk_name.as_bytes()),
        bytes("out-ak-name", keys.ak_name.as_bytes()),
        bytes("out-signing-name", keys.signing.name.as_bytes()),
        bytes("out-signing-spki", keys.signing.key.spki()),
        bytes("out-decryption-name", keys.decryption.name.as_bytes()),
        bytes("out-decryption-spki", keys.decryption.key.spki()),
        bytes("out-serial-key-name", keys.serial_name.as_bytes()),
        bytes("out-serial-key-spki", keys.serial.spki()),
    ])
}

fn epoch_attest(i: &Inputs) -> Outcome {
    let name = |key: &str| Name::from_trusted(&i.bytes(key)).unwrap();
    let (attest, signature) = (i.bytes("attest"), i.bytes("attest-signature"));
    let certification = Certification { attest: &attest, signature: &signature };
    let (srk, signing) = (name("srk-name"), name("signing-name"));
    let expected = i.fixed("extra-data");
    let ChipState { clock: read, .. } =
        verify_epoch_attest(&i.bytes("ak-public"), &srk, &signing, certification, &expected)?;
    Ok(vec![clock(&read)])
}

fn credential(i: &Inputs) -> Outcome {
    let ek = EndorsementKey::parse(&i.bytes("ek-public"))?;
    let name = Name::from_trusted(&i.bytes("name")).ok_or(Reason::WrongShape)?;
    let mut rng = Replay::of(i, &["seal-random"]);
    let made = make_credential(&ek, &name, &i.fixed("credential"), &mut rng)?;
    Ok(vec![
        bytes("out-credential-blob", made.credential_blob),
        bytes("out-encrypted-secret", made.encrypted_secret),
    ])
}
