//! The private TPM is what it says it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use twinseal_swtpm_tests::{EkAuthority, EkKind, Swtpm, Vendor, is_child, rerun_command};

#[test]
fn both_kinds_of_ek_are_certified_by_the_authority() {
    for (vendor, id) in [(Vendor::Acme, "id:41434D45"), (Vendor::Swtpm, "id:00001014")] {
        let chip = Swtpm::builder().vendor(vendor).start();
        for kind in EkKind::ALL {
            let file = read_certificate(&chip, kind.certificate_index());
            assert!(verifies(&file, None), "{vendor:?} {kind:?}");
            assert!(certificate_text(&file).contains(id), "{vendor:?} {kind:?}");
            assert_eq!(certified_key(&file), key_at(&chip, kind.handle()));
        }
    }
}

#[test]
fn a_stranger_among_authorities_is_not_trusted() {
    let stranger = EkAuthority::generate();
    let chip = Swtpm::builder().authority(&stranger).start();
    let file = read_certificate(&chip, EkKind::Rsa2048.certificate_index());
    assert!(!verifies(&file, None));
}

#[test]
fn an_intermediate_is_in_the_chip_and_completes_the_chain() {
    let chip = Swtpm::builder().intermediate().start();
    let file = read_certificate(&chip, EkKind::EccP384.certificate_index());
    let issuing = read_certificate(&chip, "0x01c00100");
    assert!(!verifies(&file, None));
    assert!(verifies(&file, Some(&issuing)));
}

#[test]
fn only_one_kind_or_no_certificates() {
    let chip = Swtpm::builder().only(EkKind::EccP384).start();
    assert_eq!(chip.tool("tpm2_getcap", &["handles-persistent"]).trim(), "- 0x81010016");
    assert_eq!(chip.tool("tpm2_getcap", &["handles-nv-index"]).trim(), "- 0x1C00016");

    let chip = Swtpm::builder().no_certificates().start();
    assert_eq!(chip.tool("tpm2_getcap", &["handles-nv-index"]).trim(), "");
    for kind in EkKind::ALL {
        key_at(&chip, kind.handle());
    }
}

#[test]
fn a_reset_keeps_the_chip_and_its_address() {
    let mut chip = Swtpm::start();
    let (tcti, key) = (chip.tcti(), key_at(&chip, "0x81010001"));
    chip.kill();
    assert!(!chip.try_tool("tpm2_getcap", &["handles-persistent"]).status.success());
    chip.restart();
    assert_eq!((chip.tcti(), key_at(&chip, "0x81010001")), (tcti, key));
}

#[test]
fn a_copy_is_the_same_chip_until_its_endorsement_seed_changes() {
    let chip = Swtpm::start();
    let copy = chip.copy();
    let make = |chip: &Swtpm, hierarchy: &str| {
        let context = chip.state_dir().join("primary");
        let public = chip.state_dir().join("primary.pem");
        let (context, public) = (context.to_string_lossy(), public.to_string_lossy());
        chip.tool(
            "tpm2_createprimary",
            &["-C", hierarchy, "-G", "ecc", "-c", &context, "-f", "pem", "-o", &public],
        );
        chip.tool("tpm2_flushcontext", &["-t"]);
        std::fs::read_to_string(&*public).unwrap()
    };
    assert_eq!(make(&chip, "e"), make(&copy, "e"));
    copy.change_endorsement_seed();
    assert_ne!(make(&chip, "e"), make(&copy, "e"));
    assert_eq!(make(&chip, "o"), make(&copy, "o"));
}

#[test]
fn many_at_once_each_have_their_own_ek() {
    let keys: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..6).map(|_| scope.spawn(|| key_at(&Swtpm::start(), "0x81010001"))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let different: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
}

/// The test starts itself again as a child, which starts a chip, says its process id and is
/// killed without a chance to clean up.
#[test]
fn the_daemon_dies_with_a_killed_test_process() {
    if is_child() {
        let chip = Swtpm::start();
        println!("\npid={}", chip.pid());
        std::thread::park();
    }
    let test = "the_daemon_dies_with_a_killed_test_process";
    let mut child = rerun_command(test, |program| Command::new(program))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("pid=").map(str::to_owned))
        .expect("the child names its chip");
    let alive =
        || std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "swtpm\n");
    assert!(alive());
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while alive() {
        assert!(std::time::Instant::now() < deadline, "the chip outlives its test");
        std::thread::yield_now();
    }
}

fn read_certificate(chip: &Swtpm, index: &str) -> std::path::PathBuf {
    let file = chip.state_dir().join(format!("{index}.der"));
    chip.tool("tpm2_nvread", &["-C", "o", "-o", &file.to_string_lossy(), index]);
    file
}

fn verifies(certificate: &Path, intermediate: Option<&Path>) -> bool {
    let mut openssl = Command::new("openssl");
    // OpenSSL does not know the TCG's critical directory name.
    openssl.args(["verify", "-ignore_critical", "-CAfile"]);
    openssl.arg(EkAuthority::shared().root_pem_file());
    if let Some(intermediate) = intermediate {
        openssl.arg("-untrusted").arg(intermediate);
    }
    openssl.arg(certificate).output().unwrap().status.success()
}

fn certificate_text(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-text", "-in"]).arg(certificate);
    String::from_utf8(openssl.output().unwrap().stdout).unwrap()
}

fn certified_key(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-pubkey", "-in"]).arg(certificate);
    String::from_utf8(openssl.output().unwrap().stdout).unwrap()
}

fn key_at(chip: &Swtpm, handle: &str) -> String {
    let file = chip.state_dir().join("key.pem");
    chip.tool("tpm2_readpublic", &["-c", handle, "-f", "pem", "-o", &file.to_string_lossy()]);
    std::fs::read_to_string(file).unwrap()
}
