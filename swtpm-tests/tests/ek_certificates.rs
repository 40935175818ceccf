//! EK certificates as they come, right and wrong: each in the NV memory of an emulated chip, sent
//! by a real agent, and judged by a real server. [`CASES`] is the list of verdicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{LazyLock, Mutex};
use std::thread;

use twinseal_swtpm_tests::{
    Device, EkAuthority, EkCertificate, EkKind, Server, Swtpm, User, enrol,
};

/// One certificate and what becomes of it.
struct Case {
    name: &'static str,
    /// Why this case: what it looks like in the field, or what an attacker wants with it.
    because: &'static str,
    ek: EkKind,
    change: fn(&mut EkCertificate),
    /// What is stored in the chip, made of the signed certificate.
    stored: fn(Vec<u8>) -> Vec<u8>,
    signer: Signer,
    verdict: Result<(), &'static str>,
}

#[derive(Clone, Copy)]
enum Signer {
    /// The root that the server trusts.
    Root,
    /// Another key under the same name.
    Namesake,
}

/// A good certificate for the preferred endorsement key, from which every case differs once.
const GOOD: Case = Case {
    name: "as it should be",
    because: "no subject, and the chip in a critical directoryName, as the TCG has it",
    ek: EkKind::EccP384,
    change: |_| (),
    stored: |der| der,
    signer: Signer::Root,
    verdict: Ok(()),
};

const CASES: &[Case] = &[
    GOOD,
    Case {
        name: "a SET out of order",
        because: "Nuvoton's: DER wants it sorted, and re-encoding would break the signature",
        change: |c| {
            c.extensions[3] = EkCertificate::chip(&[(3, "v"), (2, "m"), (1, "id:41434D45")])
        },
        ..GOOD
    },
    Case {
        name: "padding",
        because: "an NV index is often larger than its certificate",
        stored: |der| [der, vec![0xff; 200]].concat(),
        ..GOOD
    },
    Case {
        name: "padding of zeros",
        because: "the same, of another vendor",
        stored: |der| [der, vec![0; 33]].concat(),
        ..GOOD
    },
    Case {
        name: "bytes behind that are no padding",
        because: "whoever put them there wants something read that was not signed",
        stored: |der| [der, vec![0xff, 0x30]].concat(),
        verdict: Err("ek-cert-trailing"),
        ..GOOD
    },
    Case {
        name: "the NV wrapper",
        because: "TCG PC Client: a tag and a length in front",
        stored: |der| {
            let len = (der.len() as u16 + 2).to_be_bytes();
            [&[0x10, 0x01, 0x00][..], &len, &[0x10, 0x02], &der].concat()
        },
        ..GOOD
    },
    Case {
        name: "no name of the chip",
        because: "there are such; the key is what counts, and the deny list cannot name it",
        change: |c| c.extensions.truncate(3),
        ..GOOD
    },
    Case { name: "an RSA key", because: "what most chips have", ek: EkKind::Rsa2048, ..GOOD },
    Case {
        name: "an RSA key marked for OAEP",
        because: "some vendors name RSAES-OAEP as the key's algorithm",
        ek: EkKind::Rsa2048,
        change: |c| c.key = EkCertificate::marked_for_oaep(&c.key),
        ..GOOD
    },
    Case {
        name: "expired",
        because: "chips outlive certificates; an operator may accept it",
        change: |c| c.not_after = "20250101000000Z",
        verdict: Err("ek-cert-expired"),
        ..GOOD
    },
    Case {
        name: "not valid yet",
        because: "the same, from the other side",
        change: |c| c.not_before = "20390101000000Z",
        verdict: Err("ek-cert-expired"),
        ..GOOD
    },
    Case {
        name: "another root of the same name",
        because: "a name only finds the issuer; the signature proves it",
        signer: Signer::Namesake,
        verdict: Err("ek-chain-signature"),
        ..GOOD
    },
    Case {
        name: "an issuer that nobody knows",
        because: "a missing intermediate, or another root: nothing is fetched",
        change: |c| c.issuer = EkCertificate::name("nobody"),
        verdict: Err("ek-issuer-unknown"),
        ..GOOD
    },
    Case {
        name: "an authority as leaf",
        because: "an authority's key could certify any other",
        change: |c| c.extensions[1] = EkCertificate::basic_constraints(true),
        verdict: Err("ek-cert-authority"),
        ..GOOD
    },
    Case {
        name: "the key of another chip",
        because: "a genuine certificate, stolen together with nothing else",
        change: |c| c.key.clone_from(&OTHER_KEY),
        verdict: Err("ek-cert-other-key"),
        ..GOOD
    },
    Case {
        name: "a key that may only sign",
        because: "an endorsement key does nothing but agree or decipher",
        change: |c| c.extensions[0] = EkCertificate::key_usage(0x80),
        verdict: Err("ek-cert-key-usage"),
        ..GOOD
    },
    Case {
        name: "meant for TLS servers",
        because: "a root may issue other certificates too",
        change: |c| c.extensions[2] = EkCertificate::purpose(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        verdict: Err("ek-cert-purpose"),
        ..GOOD
    },
    Case {
        name: "an unknown critical extension",
        because: "it restricts something that is not understood",
        change: |c| c.extensions.push(EkCertificate::unheard_of()),
        verdict: Err("ek-cert-critical"),
        ..GOOD
    },
    Case {
        name: "cut short",
        because: "an NV index that is smaller than its certificate",
        stored: |der| der[..der.len() - 1].to_vec(),
        verdict: Err("ek-cert-form"),
        ..GOOD
    },
];

/// The endorsement key of a chip that is in no case.
static OTHER_KEY: LazyLock<Vec<u8>> =
    LazyLock::new(|| key(&chip(EkKind::EccP384), EkKind::EccP384));

/// Servers at work: each has cases of its own, so that its log is about one at a time.
const SERVERS: usize = 3;

#[test]
fn every_certificate_has_its_verdict() {
    let cases = Mutex::new(CASES.iter());
    let differ = Mutex::new(Vec::new());
    let work = || {
        let server = Server::start();
        server.trust(&EkAuthority::shared().root_pem_file());
        loop {
            let next = cases.lock().unwrap().next();
            let Some(case) = next else { return };
            let (found, verdict) = (judged(case, &server), case.verdict.map_err(str::to_owned));
            if found != verdict {
                let what = format!("{} ({}): {found:?}, not {verdict:?}", case.name, case.because);
                differ.lock().unwrap().push(what);
            }
        }
    };
    thread::scope(|scope| (0..SERVERS).for_each(|_| drop(scope.spawn(work))));
    let differ = differ.into_inner().unwrap();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Enrols a chip with the case's certificate; gives the reason in the server's log otherwise.
fn judged(case: &Case, server: &Server) -> Result<(), String> {
    static NAMESAKE: LazyLock<EkAuthority> = LazyLock::new(EkAuthority::generate);
    let chip = chip(case.ek);
    let usage = if case.ek == EkKind::Rsa2048 { 0x20 } else { 0x08 };
    let mut certificate = EkCertificate::of(key(&chip, case.ek), usage);
    (case.change)(&mut certificate);
    let signed = certificate.signed_by(match case.signer {
        Signer::Root => EkAuthority::shared(),
        Signer::Namesake => &NAMESAKE,
    });
    chip.write_certificate(case.ek.certificate_index(), &(case.stored)(signed));
    let mut device = Device::builder().chip(chip).start();
    device.start_courier(&[]);
    let before = server.log().len();
    let link = server.link(&format!("http://{}", server.device_address()));
    match enrol(&device, &link, &[]) {
        Ok(()) => {
            let serial = device.property(User::Operator, "", "", "HardwareSerial").unwrap();
            let shown = server.run(&["device", "show", "--serial", &serial]);
            assert_eq!(shown["assurance"], "tpm-ek", "{}: {shown}", case.name);
            Ok(())
        }
        Err(refusal) => {
            // The device learns one word, the operator all of it.
            assert!(refusal.contains("org.twinseal.Error.Rejected"), "{refusal}");
            assert!(!refusal.contains("ek-"), "{refusal}");
            let log = server.log()[before..].to_owned();
            let reason = log.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
            Err(reason.unwrap_or(&log).to_owned())
        }
    }
}

fn chip(kind: EkKind) -> Swtpm {
    Swtpm::builder().only(kind).no_certificates().start()
}

/// SubjectPublicKeyInfo of the endorsement key.
fn key(chip: &Swtpm, kind: EkKind) -> Vec<u8> {
    let file = chip.state_dir().join("ek.der");
    let path = file.to_string_lossy();
    chip.tool("tpm2_readpublic", &["-c", kind.handle(), "-f", "der", "-o", &path]);
    std::fs::read(&file).unwrap()
}
