//! The judgement of EK certificates, on those that swtpm's own tools issue.

use std::process::Command;

use twinseal_scheme::Reason;
use twinseal_scheme::ek::{Assurance, Authorities, EkPolicy, Verdict, judge};
use twinseal_scheme::tpm::EndorsementKey;
use twinseal_swtpm_tests::{EkAuthority, EkKind, Swtpm, Vendor};

use crate::tools::Bench;

/// Late in 2033.
const NOW_S: u64 = 2_000_000_000;

fn authorities(authority: &EkAuthority) -> Authorities {
    let mut convert = Command::new("openssl");
    convert.args(["x509", "-outform", "der", "-in"]).arg(authority.root_pem_file());
    let mut authorities = Authorities::new();
    authorities.add_root(&convert.output().unwrap().stdout).unwrap();
    authorities
}

fn nv(bench: &Bench, index: &str) -> Vec<u8> {
    bench.tool(&format!("tpm2_nvread {index} -o @nv"));
    bench.read("nv")
}

fn verdict(bench: &Bench, kind: EkKind, others: &[&[u8]], accept_simulator: bool) -> Verdict {
    let handle = u32::from_str_radix(&kind.handle()[2..], 16).unwrap();
    let ek = EndorsementKey::parse(&bench.key_at(handle).public).unwrap();
    let certificate = nv(bench, kind.certificate_index());
    let authorities = authorities(EkAuthority::shared());
    let policy = EkPolicy {
        authorities: &authorities,
        now_s: NOW_S,
        accept_expired: false,
        denied: &[],
        accept_simulator,
        listed: false,
    };
    let certificates: Vec<_> =
        [&certificate[..]].into_iter().chain(others.iter().copied()).collect();
    judge(&ek, &certificates, &policy)
}

#[test]
fn a_chip_with_a_certificate_of_the_authority_is_a_tpm() {
    let bench = Bench::new(Swtpm::start());
    for kind in EkKind::ALL {
        let verdict = verdict(&bench, kind, &[], false);
        assert_eq!(verdict.outcome, Ok(Assurance::TpmEk), "{verdict}");
        assert_eq!(verdict.identity.unwrap().manufacturer, "id:41434D45");
    }
}

#[test]
fn an_intermediate_from_the_chip_completes_the_chain() {
    let bench = Bench::new(Swtpm::builder().intermediate().start());
    let intermediate = nv(&bench, "0x01c00100");
    for kind in EkKind::ALL {
        let complete = verdict(&bench, kind, &[&intermediate], false);
        assert_eq!(complete.outcome, Ok(Assurance::TpmEk), "{complete}");
        let incomplete = verdict(&bench, kind, &[], false);
        assert_eq!(incomplete.outcome, Err(Reason::EkIssuerUnknown), "{incomplete}");
    }
}

#[test]
fn a_simulator_says_so_itself() {
    let bench = Bench::new(Swtpm::builder().vendor(Vendor::Swtpm).start());
    for kind in EkKind::ALL {
        assert_eq!(verdict(&bench, kind, &[], true).outcome, Ok(Assurance::Simulator));
        assert_eq!(verdict(&bench, kind, &[], false).outcome, Err(Reason::EkSimulator));
    }
}

#[test]
fn another_authority_of_the_same_name_is_not_trusted() {
    let stranger = EkAuthority::generate();
    let bench = Bench::new(Swtpm::builder().authority(&stranger).start());
    for kind in EkKind::ALL {
        let verdict = verdict(&bench, kind, &[], false);
        assert_eq!(verdict.outcome, Err(Reason::EkChainSignature), "{verdict}");
    }
}

#[test]
fn a_chip_with_another_endorsement_seed_has_a_certificate_for_another_key() {
    let bench = Bench::new(Swtpm::start());
    bench.chip.change_endorsement_seed();
    bench.tool("tpm2_createek -G ecc384 -c 0x81010016");
    let verdict = verdict(&bench, EkKind::EccP384, &[], false);
    assert_eq!(verdict.outcome, Err(Reason::EkCertOtherKey), "{verdict}");
}
