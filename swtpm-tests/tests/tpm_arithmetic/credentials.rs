//! MakeCredential here, ActivateCredential in the chip.

use rand_core::OsRng;
use twinseal_scheme::tpm::{Credential, EndorsementKey, Name, make_credential};
use twinseal_swtpm_tests::Swtpm;

use crate::tools::{Bench, GENUINE, Key};

const SECRET: [u8; 32] = [0x5a; 32];

/// A bench with an attestation key, and an EK of each of four kinds: the two that
/// `swtpm_setup` makes, P-256 and RSA-3072.
fn bench() -> (Bench, Key, [Key; 4]) {
    let bench = Bench::new(Swtpm::start());
    let attributes = format!("{GENUINE}|restricted|sign");
    let ak = bench.primary("e", 0x8100_0010, "ecc256:ecdsa-sha256:null", &attributes);
    for (algorithm, handle) in [("ecc", "0x81010002"), ("rsa3072", "0x81010003")] {
        bench.tool(&format!("tpm2_createek -G {algorithm} -c @made.ctx"));
        bench.flush();
        bench.tool(&format!("tpm2_evictcontrol -C o -c @made.ctx {handle}"));
        bench.flush();
    }
    let eks = [0x8101_0001, 0x8101_0002, 0x8101_0003, 0x8101_0016].map(|h| bench.key_at(h));
    (bench, ak, eks)
}

/// What the chip makes of a credential file, if anything.
fn activate(bench: &Bench, ek: &Key, ak: &Key) -> Option<Vec<u8>> {
    // The low range is authorised by PolicySecret alone, the high range also by its empty
    // authValue.
    let low_range = matches!(ek.handle, 0x8101_0001 | 0x8101_0002);
    let mut auth = "";
    if low_range {
        bench.tool("tpm2_startauthsession --policy-session -S @session");
        bench.tool("tpm2_policysecret -S @session -c e");
        auth = "-P session:@session";
    }
    let opened = bench.tool_succeeds(&format!(
        "tpm2_activatecredential -C {} -c {} -i @credential -o @opened {auth}",
        ek.context(),
        ak.context(),
    ));
    if low_range {
        bench.tool("tpm2_flushcontext @session");
    }
    opened.then(|| bench.read("opened"))
}

/// The file format of the tools: magic, version, and both parts with their sizes.
fn write(bench: &Bench, made: &Credential) {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let file = [
        vec![0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1],
        sized(&made.credential_blob),
        sized(&made.encrypted_secret),
    ];
    bench.write("credential", &file.concat());
}

#[test]
fn the_chip_opens_ours_with_every_kind_of_ek() {
    let (bench, ak, eks) = bench();
    for key in &eks {
        let ek = EndorsementKey::parse(&key.public).unwrap();
        let made = make_credential(&ek, ak.parsed().name(), &SECRET, &mut OsRng).unwrap();
        write(&bench, &made);
        assert_eq!(activate(&bench, key, &ak), Some(SECRET.to_vec()), "{}", key.context());
    }
}

#[test]
fn the_chip_refuses_ours_for_another_name_another_chip_or_with_a_changed_byte() {
    let (bench, ak, eks) = bench();
    let other_name = eks[0].parsed().name().clone();
    for (index, key) in eks.iter().enumerate() {
        let ek = EndorsementKey::parse(&key.public).unwrap();
        let make = |name: &Name| make_credential(&ek, name, &SECRET, &mut OsRng).unwrap();
        write(&bench, &make(&other_name));
        assert_eq!(activate(&bench, key, &ak), None, "another Name");

        let mut changed = make(ak.parsed().name());
        *changed.credential_blob.last_mut().unwrap() ^= 1;
        write(&bench, &changed);
        assert_eq!(activate(&bench, key, &ak), None, "a changed byte");

        write(&bench, &make(ak.parsed().name()));
        assert_eq!(activate(&bench, &eks[(index + 1) % eks.len()], &ak), None, "another EK");
        assert!(activate(&bench, key, &ak).is_some());
    }
}

#[test]
fn ours_are_as_long_as_those_of_the_tools_which_the_chip_opens_too() {
    let (bench, ak, eks) = bench();
    bench.write("secret", &SECRET);
    let name: String = ak.parsed().name().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    for key in &eks {
        bench.write("ek", &key.sized_public());
        bench.tool(&format!("tpm2_makecredential -e @ek -s @secret -n {name} -o @credential"));
        assert_eq!(activate(&bench, key, &ak), Some(SECRET.to_vec()), "{}", key.context());
        let theirs = bench.read("credential");
        let ek = EndorsementKey::parse(&key.public).unwrap();
        let made = make_credential(&ek, ak.parsed().name(), &SECRET, &mut OsRng).unwrap();
        write(&bench, &made);
        let ours = bench.read("credential");
        assert_eq!(ours.len(), theirs.len());
        // Magic, version, both sizes, and the size within the blob.
        let hmac_len = usize::from(u16::from_be_bytes([ours[10], ours[11]]));
        assert_eq!(ours[..12], theirs[..12]);
        let secret_at = 10 + 2 + hmac_len + 34;
        assert_eq!(ours[secret_at..secret_at + 2], theirs[secret_at..secret_at + 2]);
    }
}
