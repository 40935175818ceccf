//! The path from an EK certificate to one of the operator's roots (RFC 5280, section 6.1).

use super::EkPolicy;
use super::certificate::{Certificate, trim};
use crate::Reason;

/// The certificate authorities that the operator trusts, and those that he merely
/// supplies because chips do not carry them.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    roots: Vec<Authority>,
    intermediates: Vec<Authority>,
}

impl Authorities {
    /// None at all: no chip is known.
    pub fn new() -> Self {
        Authorities::default()
    }

    /// Trusts a certificate, in DER, for its name and key. Its own signature and validity
    /// do not count: it is trusted because the operator says so.
    ///
    /// # Errors
    /// [`Reason::EkCertForm`], [`Reason::EkCertTrailing`].
    pub fn add_root(&mut self, certificate: &[u8]) -> Result<(), Reason> {
        self.roots.push(Authority::parse(certificate)?);
        Ok(())
    }

    /// Knows an intermediate certificate, in DER, which some root must vouch for.
    ///
    /// # Errors
    /// [`Reason::EkCertForm`], [`Reason::EkCertTrailing`].
    pub fn add_intermediate(&mut self, certificate: &[u8]) -> Result<(), Reason> {
        self.intermediates.push(Authority::parse(certificate)?);
        Ok(())
    }
}

/// The links of a path in words, from the EK certificate upward. `sent` are intermediate
/// certificates from the chip's NV memory; unreadable ones are passed over.
///
/// # Errors
/// [`Reason::EkIssuerUnknown`] when nobody of the issuer's name is known; else what was
/// wrong with the last path that was tried: [`Reason::EkChainSignature`],
/// [`Reason::EkChainAlgorithm`], [`Reason::EkChainNotAuthority`],
/// [`Reason::EkChainKeyUsage`], [`Reason::EkChainPathLength`],
/// [`Reason::EkChainTooLong`], [`Reason::EkCertCritical`], [`Reason::EkCertExpired`].
pub(super) fn find_path(
    certificate: &Certificate<'_>,
    sent: &[&[u8]],
    policy: &EkPolicy<'_>,
) -> Result<Vec<String>, Reason> {
    let sent: Vec<_> =
        sent.iter().take(SENT_MAX).filter_map(|der| Authority::parse(der).ok()).collect();
    let mut search = Search { sent: &sent, policy, signatures_left: SIGNATURES_MAX };
    let mut path = search.above(certificate, 0)?;
    path.reverse();
    Ok(path)
}

/// A certificate in DER with its subject's name, so that finding an issuer parses nothing.
#[derive(Clone, Debug)]
struct Authority {
    der: Vec<u8>,
    subject: Vec<u8>,
}

impl Authority {
    fn parse(certificate: &[u8]) -> Result<Self, Reason> {
        let der = trim(certificate)?.der;
        let subject = Certificate::parse(der)?.subject();
        Ok(Authority { der: der.to_vec(), subject })
    }
}

/// Intermediates that are looked at of those that a device sends.
const SENT_MAX: usize = 16;
/// Authorities between a root and the EK certificate.
const DEPTH_MAX: usize = 4;
/// Signatures that are verified for one EK certificate.
const SIGNATURES_MAX: usize = 16;

struct Search<'a> {
    sent: &'a [Authority],
    policy: &'a EkPolicy<'a>,
    /// Bounds the work for certificates that are made to have many paths.
    signatures_left: usize,
}

impl Search<'_> {
    /// The path from `certificate` to a root, root first, with `depth` authorities below.
    fn above(
        &mut self,
        certificate: &Certificate<'_>,
        depth: usize,
    ) -> Result<Vec<String>, Reason> {
        let mut failure = Reason::EkIssuerUnknown;
        let authorities = self.policy.authorities;
        for root in named(&authorities.roots, certificate) {
            let outcome = self.signed_by(certificate, root);
            match outcome {
                Ok(issuer) => return Ok(vec![link(certificate, &issuer, "a trusted root")]),
                Err(reason) => failure = reason,
            }
        }
        for candidate in
            named(&authorities.intermediates, certificate).chain(named(self.sent, certificate))
        {
            match self.through(certificate, candidate, depth) {
                Ok(path) => return Ok(path),
                Err(reason) => failure = reason,
            }
        }
        Err(failure)
    }

    fn through(
        &mut self,
        certificate: &Certificate<'_>,
        candidate: &Authority,
        depth: usize,
    ) -> Result<Vec<String>, Reason> {
        if depth == DEPTH_MAX {
            return Err(Reason::EkChainTooLong);
        }
        let issuer = self.signed_by(certificate, candidate)?;
        issuer.may_issue(depth)?;
        issuer.critical_extensions()?;
        issuer.validity(self.policy)?;
        let mut path = self.above(&issuer, depth + 1)?;
        path.push(link(certificate, &issuer, "an intermediate"));
        Ok(path)
    }

    fn signed_by<'c>(
        &mut self,
        certificate: &Certificate<'_>,
        candidate: &'c Authority,
    ) -> Result<Certificate<'c>, Reason> {
        self.signatures_left = self.signatures_left.checked_sub(1).ok_or(Reason::EkChainTooLong)?;
        let issuer = Certificate::parse(&candidate.der)?;
        certificate.signed().verify(issuer.subject_key())?;
        Ok(issuer)
    }
}

/// Those of the issuer's name.
fn named<'a>(
    authorities: &'a [Authority],
    certificate: &Certificate<'_>,
) -> impl Iterator<Item = &'a Authority> {
    let issuer = certificate.issuer();
    authorities.iter().filter(move |authority| authority.subject == issuer)
}

fn link(certificate: &Certificate<'_>, issuer: &Certificate<'_>, what: &str) -> String {
    let subject = match certificate.subject_text() {
        text if text.is_empty() => "(no subject)".to_owned(),
        text => text,
    };
    format!("{subject} signed by {}, {what}", issuer.subject_text())
}
