//! Names, attests and the whole check of a device's keys, on keys that a chip made.

use std::array;

use twinseal_scheme::Reason;
use twinseal_scheme::keys::SigningAlgorithm;
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::tpm::{
    Attest, Certification, DeviceKeyClaims, EndorsementKey, Hierarchy, Name, Public, QualifiedName,
    Role, Signature, VerifiedDeviceKeys, verify_device_keys, verify_epoch_attest,
};
use twinseal_swtpm_tests::Swtpm;

use crate::tools::{Bench, GENUINE, Key};

const STORAGE: &str = "ecc256:aes128cfb";
const SIGN: &str = "ecc256:ecdsa-sha256:null";
const AGREE: &str = "ecc256:ecdh-sha256:null";

/// All keys of a device, as the agent makes them.
struct Device {
    bench: Bench,
    ek: Key,
    srk: Key,
    ak: Key,
    signing: Key,
    decryption: Key,
    serial: Key,
}

impl Device {
    fn make() -> Self {
        let bench = Bench::new(Swtpm::start());
        let with = |more: &str| format!("{GENUINE}|{more}");
        let srk = bench.primary("o", 0x8100_0001, STORAGE, &with("restricted|decrypt"));
        Device {
            ek: bench.key_at(0x8101_0016),
            ak: bench.primary("e", 0x8100_0010, SIGN, &with("restricted|sign")),
            signing: bench.child(&srk, 0x8100_0011, SIGN, &with("sign")),
            decryption: bench.child(&srk, 0x8100_0012, AGREE, &with("decrypt")),
            serial: bench.primary("e", 0x8100_0013, AGREE, &with("decrypt")),
            srk,
            bench,
        }
    }

    fn keys(&self) -> [&Key; 6] {
        [&self.ek, &self.srk, &self.ak, &self.signing, &self.decryption, &self.serial]
    }

    /// Certifications of signing, decryption and serial key.
    fn certify(&self) -> [(Vec<u8>, Vec<u8>); 3] {
        let roles = [
            (Role::Signing, &self.signing),
            (Role::Decryption, &self.decryption),
            (Role::Serial, &self.serial),
        ];
        roles.map(|(role, key)| {
            let extra_data = extra_data(role, self.ak.parsed().name(), key.parsed().name());
            self.bench.certify(key, &self.ak, &extra_data)
        })
    }

    fn verify(&self) -> Result<VerifiedDeviceKeys, Reason> {
        self.verify_with(&self.certify())
    }

    fn verify_with(
        &self,
        certifications: &[(Vec<u8>, Vec<u8>); 3],
    ) -> Result<VerifiedDeviceKeys, Reason> {
        let [certify_signing, certify_decryption, certify_serial] =
            certifications.each_ref().map(certification);
        let claims = DeviceKeyClaims {
            ek_public: &self.ek.public,
            srk_public: &self.srk.public,
            ak_public: &self.ak.public,
            signing_public: &self.signing.public,
            decryption_public: &self.decryption.public,
            serial_public: &self.serial.public,
            certify_signing,
            certify_decryption,
            certify_serial,
        };
        verify_device_keys(&claims, extra_data)
    }

    /// The same with another key in one place, at a handle of its own.
    fn with(self, change: impl FnOnce(&mut Device)) -> Self {
        let mut device = self;
        change(&mut device);
        device
    }
}

fn certification((attest, signature): &(Vec<u8>, Vec<u8>)) -> Certification<'_> {
    Certification { attest, signature }
}

/// Some data that depends on everything it should.
fn extra_data(role: Role, ak: &Name, name: &Name) -> [u8; 32] {
    let word = role.word().as_bytes();
    array::from_fn(|i| word[i % 3] ^ ak.as_bytes()[i + 2] ^ name.as_bytes()[i + 2].rotate_left(1))
}

#[test]
fn names_and_qualified_names_are_those_of_the_chip() {
    let device = Device::make();
    let rsa_ek = device.bench.key_at(0x8101_0001);
    for key in device.keys().into_iter().chain([&rsa_ek]) {
        assert_eq!(key.parsed().name().as_bytes(), key.name, "{}", key.context());
    }
    let endorsement = [&rsa_ek, &device.ek, &device.ak, &device.serial];
    for key in endorsement {
        let ours = QualifiedName::primary(Hierarchy::Endorsement, key.parsed().name());
        assert_eq!(ours.as_bytes(), key.qualified_name, "{}", key.context());
    }
    let storage = QualifiedName::primary(Hierarchy::Owner, device.srk.parsed().name());
    assert_eq!(storage.as_bytes(), device.srk.qualified_name);
    for key in [&device.signing, &device.decryption] {
        let ours = storage.child(key.parsed().name());
        assert_eq!(ours.as_bytes(), key.qualified_name, "{}", key.context());
    }
}

#[test]
fn a_chip_s_keys_are_accepted_and_an_epoch_attest_after_a_reset_is_later() {
    let mut device = Device::make();
    let keys = device.verify().unwrap();
    assert_eq!(keys.ak_name.as_bytes(), device.ak.name);
    assert_eq!(keys.serial.spki(), device.serial.parsed().key().spki_der());
    assert_eq!(keys.signing.key.spki(), device.signing.parsed().key().spki_der());
    // libtpms says since when it has been compatible, in the form of a date.
    assert_eq!(keys.chip.firmware_version >> 32, 0x2019_1023);

    device.bench.chip.restart();
    let made = device.bench.certify(&device.signing, &device.ak, &[7; 32]);
    let verify = |extra_data: &[u8; 32], signing_name: &Name| {
        let certification = certification(&made);
        let srk_name = &keys.srk_name;
        verify_epoch_attest(&device.ak.public, srk_name, signing_name, certification, extra_data)
    };
    let later = verify(&[7; 32], &keys.signing.name).unwrap();
    assert!(later.clock.is_later_than(&keys.chip.clock));
    assert_eq!(later.clock.reset_count, keys.chip.clock.reset_count + 1);
    assert_eq!(verify(&[8; 32], &keys.signing.name), Err(Reason::AttestExtraData));
    assert_eq!(verify(&[7; 32], &keys.decryption.name), Err(Reason::AttestName));
}

#[test]
fn rsa_keys_bound_to_a_scheme_are_accepted_and_unbound_ones_are_not() {
    let rsa = |signing: &'static str| {
        Device::make().with(move |device| {
            let with = |more: &str| format!("{GENUINE}|{more}");
            let (srk, oaep) = (&device.srk, "rsa2048:oaep-sha256:null");
            device.signing = device.bench.child(srk, 0x8100_0020, signing, &with("sign"));
            device.decryption = device.bench.child(srk, 0x8100_0021, oaep, &with("decrypt"));
        })
    };
    for (signing, algorithm) in [
        ("rsa2048:rsapss-sha256:null", SigningAlgorithm::Ps256),
        ("rsa2048:rsassa-sha256:null", SigningAlgorithm::Rs256),
    ] {
        let device = rsa(signing);
        let keys = device.verify().unwrap();
        assert_eq!(keys.signing.key.algorithm(), algorithm);
        // What tpm2-tools say the key is, we say too.
        let read = |key: &Key| {
            device.bench.tool(&format!("tpm2_readpublic -c {} -f der -o @spki", key.context()));
            device.bench.read("spki")
        };
        assert_eq!(keys.signing.key.spki(), read(&device.signing));
        assert_eq!(keys.decryption.key.spki(), read(&device.decryption));
    }
    assert_eq!(rsa("rsa2048:null:null").verify().err(), Some(Reason::SigningScheme));
}

#[test]
fn keys_that_a_chip_made_otherwise_are_refused() {
    let with = |more: &str| format!("{GENUINE}|{more}");
    let device = Device::make().with(|device| {
        let attributes = GENUINE.replace("|noda", "") + "|sign";
        device.signing = device.bench.child(&device.srk, 0x8100_0020, SIGN, &attributes);
    });
    assert_eq!(device.verify().err(), Some(Reason::SigningAttributes));

    let device = Device::make().with(|device| {
        device.ak = device.bench.primary("e", 0x8100_0020, SIGN, &with("sign"));
    });
    assert_eq!(device.verify().err(), Some(Reason::AkAttributes));

    let device = Device::make().with(|device| {
        device.ak = device.bench.primary("o", 0x8100_0020, SIGN, &with("restricted|sign"));
    });
    assert_eq!(device.verify().err(), Some(Reason::AttestSigner));

    let device = Device::make().with(|device| {
        device.serial = device.bench.child(&device.srk, 0x8100_0020, AGREE, &with("decrypt"));
    });
    assert_eq!(device.verify().err(), Some(Reason::AttestQualifiedName));
}

#[test]
fn what_a_chip_said_on_another_occasion_is_refused() {
    let device = Device::make();
    let genuine = device.certify();
    assert!(device.verify_with(&genuine).is_ok());

    let mut other = genuine.clone();
    other[2] = device.bench.certify(&device.serial, &device.ak, &[0; 32]);
    assert_eq!(device.verify_with(&other).err(), Some(Reason::AttestExtraData));

    let mut changed = genuine.clone();
    *changed[1].1.last_mut().unwrap() ^= 1;
    assert_eq!(device.verify_with(&changed).err(), Some(Reason::AttestSignature));

    let quote = "tpm2_quote -l sha256:0 -g sha256 -m @attest -s @signature -c";
    device.bench.tool(&format!("{quote} {}", device.ak.context()));
    let mut quoted = genuine;
    quoted[0] = (device.bench.read("attest"), device.bench.read("signature"));
    assert_eq!(device.verify_with(&quoted).err(), Some(Reason::AttestType));
}

#[test]
fn an_attest_of_the_tool_verifies_and_with_a_changed_byte_does_not() {
    let device = Device::make();
    let (object, signer) = (device.signing.context(), device.ak.context());
    device
        .bench
        .tool(&format!("tpm2_certify -c {object} -C {signer} -g sha256 -o @attest -s @signature"));
    let (mut attest, ak) = (device.bench.read("attest"), device.ak.parsed());
    let parsed = Attest::parse(&attest).unwrap();
    assert_eq!(parsed.name, device.signing.name);
    assert_eq!(parsed.qualified_name, device.signing.qualified_name);
    assert_eq!(parsed.qualified_signer, device.ak.qualified_name);
    let signature = Signature::parse(&device.bench.read("signature")).unwrap();
    assert_eq!(signature.verify(&ak, &attest), Ok(()));
    *attest.last_mut().unwrap() ^= 1;
    assert_eq!(signature.verify(&ak, &attest), Err(Reason::AttestSignature));
}

/// The checks of attributes rest on this: a chip certifies no public area of which it does
/// not have the private part, whatever that area says of itself.
#[test]
fn a_chip_certifies_nothing_that_was_loaded_from_outside() {
    let device = Device::make();
    device.bench.write("pub", &device.signing.sized_public());
    device.bench.tool("tpm2_loadexternal -C e -u @pub -c @outside.ctx");
    device.bench.flush();
    let certify = |object: &str| {
        let signer = device.ak.context();
        let line = format!("tpm2_certify -c {object} -C {signer} -g sha256 -o @a -s @s");
        device.bench.tool_succeeds(&line)
    };
    assert!(certify(&device.signing.context()));
    assert!(!certify("@outside.ctx"));
}

#[test]
fn the_serial_is_that_of_the_endorsement_seed() {
    let bench = Bench::new(Swtpm::start());
    let serial = |handle| {
        let key = bench.key_at(handle);
        EndorsementKey::parse(&key.public).unwrap().serial()
    };
    let (rsa, ecc) = (serial(0x8101_0001), serial(0x8101_0016));
    assert_ne!(rsa, ecc);
    assert_eq!(rsa, serial(0x8101_0001));
    bench.chip.change_endorsement_seed();
    bench.tool("tpm2_createek -G ecc384 -c @made.ctx -u @pub");
    let changed = Public::parse_sized(&bench.read("pub")).unwrap();
    assert_ne!(HardwareSerial::of_endorsement_key(changed.key()), ecc);
}
