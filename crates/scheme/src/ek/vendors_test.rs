//! The vendors' own certificates, where there are some: `TWINSEAL_EK_ROOTS` names a folder with
//! PEM files. They are not in the tree; without them this test only says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::certificate::{Certificate, trim};
use super::{Authorities, EkPolicy, chain};
use crate::Reason;

#[test]
fn vendors_certificates_are_read_and_lead_to_a_root() {
    let Some(folder) = std::env::var_os("TWINSEAL_EK_ROOTS").map(PathBuf::from) else {
        return println!("no vendors' certificates: TWINSEAL_EK_ROOTS is not set");
    };
    let certificates = certificates(&folder);
    assert!(!certificates.is_empty(), "no certificate in {}", folder.display());
    let mut outcomes = BTreeMap::<&str, Vec<String>>::new();
    let authorities = authorities(&certificates);
    for der in &certificates {
        // Every certificate that a vendor has issued to an authority of his is read.
        let certificate = Certificate::parse(trim(der).unwrap().der).unwrap();
        // Of a root its own signature does not count.
        let outcome = match path(&certificate, &authorities) {
            _ if is_root(&certificate) => "a root",
            Ok(_) => "leads to a root",
            Err(reason) => reason.code(),
        };
        let text = format!("{} by {}", certificate.subject_text(), certificate.issuer_text());
        outcomes.entry(outcome).or_default().push(text);
    }
    for (outcome, certificates) in &outcomes {
        println!("{:>4} {outcome}", certificates.len());
        if !matches!(*outcome, "a root" | "leads to a root") {
            certificates.iter().for_each(|text| println!("     {text}"));
        }
    }
    // SHA-1 is refused, and whose root nobody has is unknown. Nothing is wrong with any other.
    let excused = [Reason::EkChainAlgorithm.code(), Reason::EkIssuerUnknown.code()];
    let known = ["a root", "leads to a root"];
    let other: Vec<_> =
        outcomes.keys().filter(|o| !known.contains(*o) && !excused.contains(*o)).collect();
    assert!(other.is_empty(), "{other:?}");
}

fn authorities(certificates: &[Vec<u8>]) -> Authorities {
    let mut authorities = Authorities::new();
    for der in certificates {
        let root = is_root(&Certificate::parse(trim(der).unwrap().der).unwrap());
        if root { authorities.add_root(der) } else { authorities.add_intermediate(der) }.unwrap();
    }
    authorities
}

fn path(certificate: &Certificate<'_>, authorities: &Authorities) -> Result<Vec<String>, Reason> {
    let policy = EkPolicy {
        authorities,
        now_s: 1_780_000_000,
        accept_expired: true,
        denied: &[],
        accept_simulator: false,
        listed: false,
    };
    chain::find_path(certificate, &[], &policy)
}

fn is_root(certificate: &Certificate<'_>) -> bool {
    certificate.issuer() == certificate.subject()
}

/// All certificates of all files below, each once.
fn certificates(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(certificates(&path));
        } else if path.extension().is_some_and(|extension| extension == "pem") {
            let file = CertificateDer::pem_file_iter(&path).unwrap();
            found.extend(file.map(|der| der.unwrap().to_vec()));
        }
    }
    found.sort();
    found.dedup();
    found
}
