//! What a device says that its chip has said.

use std::sync::LazyLock;

use rand_core::OsRng;
use sha2::{Digest, Sha256};
use twinseal_scheme::Reason;
use twinseal_scheme::attestation::Attestation;
use twinseal_scheme::tpm::{
    Attest, EndorsementKey, HashAlgorithm, Name, Public, Signature, make_credential,
};

use crate::vectors::File;
use crate::{Target, vectors};

/// Public areas, attests and signatures; signatures also verified.
pub const STRUCTURES: Target = Target {
    name: "tpm-structures",
    run: structures,
    seeds: || {
        let chip = File::read("chip.txt");
        let names = ["ek-public", "srk-public", "ak-public", "signing-public", "serial-public"];
        [
            vectors::all("tpm-public", "public"),
            vectors::all("tpm-attest", "attest"),
            vectors::all("tpm-signature", "signature"),
            names.iter().filter_map(|name| chip.bytes(name)).collect(),
        ]
        .concat()
    },
    mutations: 6000,
};

/// A credential for any endorsement key that is taken.
pub const CREDENTIAL: Target = Target {
    name: "tpm-credential",
    run: credential,
    seeds: || {
        let chip = File::read("chip.txt").bytes("ek-public");
        [vectors::all("serial", "ek-public"), chip.into_iter().collect()].concat()
    },
    mutations: 2000,
};

/// What a device says of an application's key.
pub const ATTESTATIONS: Target = Target {
    name: "attestations",
    run: attestation,
    seeds: || vectors::all("attestation", "attestation"),
    mutations: 6000,
};

static SIGNER: LazyLock<Public> = LazyLock::new(|| {
    let area = File::read("chip.txt").bytes("ak-public").expect("ak-public");
    Public::parse(&area).expect("an attestation key")
});

fn structures(bytes: &[u8]) -> bool {
    let longer = [bytes, &[0]].concat();
    if let Ok(public) = Public::parse(bytes) {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let name = public.name().as_bytes();
        assert!(name[..2] != HashAlgorithm::Sha256.id().to_be_bytes() || name[2..] == hash);
        assert_eq!(Public::parse(&longer), Err(Reason::TpmTrailing));
        let sized = [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        assert_eq!(Public::parse_sized(&sized), Ok(public));
    }
    if let Ok(attest) = Attest::parse(bytes) {
        assert_eq!(encoded(&attest), bytes, "another encoding of the same attest");
        assert_eq!(Attest::parse(&longer), Err(Reason::TpmTrailing));
    }
    if let Ok(signature) = Signature::parse(bytes) {
        assert_eq!(Signature::parse(&longer), Err(Reason::TpmTrailing));
        assert!(signature.verify(&SIGNER, b"nothing that it has signed").is_err());
    }
    Public::parse(bytes).is_ok() || Attest::parse(bytes).is_ok() || Signature::parse(bytes).is_ok()
}

/// TPMS_ATTEST as TPM library, Part 2, section 10.12 marshals it.
fn encoded(attest: &Attest) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    [
        &[0xff, 0x54, 0x43, 0x47, 0x80, 0x17][..],
        &sized(&attest.qualified_signer),
        &sized(&attest.extra_data),
        &attest.clock.clock_ms.to_be_bytes(),
        &attest.clock.reset_count.to_be_bytes(),
        &attest.clock.restart_count.to_be_bytes(),
        &[u8::from(attest.clock.safe)],
        &attest.firmware_version.to_be_bytes(),
        &sized(&attest.name),
        &sized(&attest.qualified_name),
    ]
    .concat()
}

fn attestation(bytes: &[u8]) -> bool {
    let Ok(attestation) = Attestation::decode(bytes) else { return false };
    assert_eq!(attestation.encode(), bytes, "another encoding of the same attestation");
    let ak = File::read("chip.txt").bytes("ak-public").expect("ak-public");
    // By the right key, and for another nonce than it was made for.
    assert!(attestation.verify(&[1; 32], &ak).is_err());
    true
}

fn credential(bytes: &[u8]) -> bool {
    let Ok(ek) = EndorsementKey::parse(bytes) else { return false };
    let name = Name::from_trusted(&[&[0, 0x0b][..], &[1; 32]].concat()).expect("a Name");
    let made = make_credential(&ek, &name, &[7; 32], &mut OsRng).expect("a key that was taken");
    assert!(matches!(made.credential_blob.len(), 68 | 84));
    assert_eq!(ek.serial(), EndorsementKey::parse(bytes).expect("the same").serial());
    true
}
