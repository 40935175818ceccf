//! EK certificates: who says that a chip is a chip (scheme, section 3, check 3).
//!
//! Vendors' certificates are often not quite DER: SETs out of order, padding behind the
//! end, keys marked as RSAES-OAEP, extensions that general verifiers refuse. So they are
//! **read leniently and verified strictly**: signatures over the bytes as they came, and no
//! more critical extensions than are understood. Nothing is ever fetched; revocation is the
//! operator's deny list.
//!
//! Source: RFC 5280, section 6.1, for paths; TCG, *EK Credential Profile for TPM Family
//! 2.0*, section 3, for the certificate of an endorsement key.

mod certificate;
mod chain;
pub(crate) mod signature;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendors_test;
mod verdict;

pub use chain::Authorities;
pub use verdict::{Assurance, ChipIdentity, Verdict};

use certificate::Certificate;
use verdict::Findings;

use crate::Reason;
use crate::tpm::EndorsementKey;

/// What the operator has decided about EK certificates.
#[derive(Clone, Copy)]
pub struct EkPolicy<'a> {
    /// The certificate authorities that the operator trusts or supplies.
    pub authorities: &'a Authorities,
    /// Now, in seconds since 1970.
    pub now_s: u64,
    /// Certificates may be used outside their validity: chips outlive certificates.
    pub accept_expired: bool,
    /// Chips to be refused whatever their certificate says.
    pub denied: &'a [DeniedChip],
    /// Simulators may be enrolled, as [`Assurance::Simulator`].
    pub accept_simulator: bool,
    /// The operator vouches for this very hardware serial, so that a chip without a usable
    /// chain gets in, as [`Assurance::TpmEkListed`].
    pub listed: bool,
}

/// A sort of chip, by what its EK certificate says. A field that is `None` fits any chip;
/// one without a single field fits all that say who made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeniedChip {
    /// Such as `id:49465800`.
    pub manufacturer: Option<String>,
    /// The vendor's name of the part.
    pub model: Option<String>,
    /// The firmware version at manufacture, such as `id:00070055`.
    pub version: Option<String>,
}

/// Judges what a device sent for its endorsement key: first the EK certificate, then
/// intermediate certificates that the chip carries, in any order. At most 16 are looked at.
///
/// All checks of the certificate are made and told, even when one has failed; the chain is
/// built when all have passed. When the operator has listed the hardware serial, a missing,
/// unreadable or unchained certificate does no harm; one for another key, or of a chip on
/// the deny list, does.
///
/// # Errors
/// None: a refusal is [`Verdict::outcome`].
pub fn judge(ek: &EndorsementKey, certificates: &[&[u8]], policy: &EkPolicy<'_>) -> Verdict {
    let mut findings = Findings::default();
    match certificates.split_first() {
        None => findings.fail(Reason::EkCertMissing),
        Some((first, others)) => match read(first, &mut findings) {
            Err(reason) => findings.fail(reason),
            Ok(certificate) => {
                examine(&certificate, ek, policy, &mut findings);
                follow(&certificate, others, policy, &mut findings);
            }
        },
    }
    findings.conclude(policy)
}

fn read<'a>(stored: &'a [u8], findings: &mut Findings) -> Result<Certificate<'a>, Reason> {
    let trimmed = certificate::trim(stored)?;
    findings.note(trimmed.describe());
    Certificate::parse(trimmed.der)
}

/// Everything about the certificate but who signed it.
fn examine(
    certificate: &Certificate<'_>,
    ek: &EndorsementKey,
    policy: &EkPolicy<'_>,
    findings: &mut Findings,
) {
    findings.note(format!("certificate issued by {}", certificate.issuer_text()));
    let key = certificate.endorsed_key().and_then(|key| match key == *ek.key() {
        true => Ok(()),
        false => Err(Reason::EkCertOtherKey),
    });
    findings.check("certifies the chip's endorsement key", key);
    findings.check("is no certificate authority", certificate.not_an_authority());
    findings.check("its key may do what an endorsement key does", certificate.key_usage(ek.key()));
    findings.check("is meant for an endorsement key", certificate.purpose());
    findings.check("asks for nothing that is not understood", certificate.critical_extensions());
    findings.check("is valid at this time", certificate.validity(policy));
    findings.identify(certificate.identity());
    let Some(chip) = findings.identity().cloned() else {
        return;
    };
    let denied = policy.denied.iter().any(|rule| rule.fits(&chip));
    findings.check("is not on the deny list", if denied { Err(Reason::EkDenied) } else { Ok(()) });
    if chip.is_simulator() && !policy.accept_simulator {
        findings.fail(Reason::EkSimulator);
    }
}

/// The path to one of the operator's roots.
fn follow(
    certificate: &Certificate<'_>,
    others: &[&[u8]],
    policy: &EkPolicy<'_>,
    findings: &mut Findings,
) {
    if findings.failed() {
        findings.note("chain not looked at, because of the above".to_owned());
        return;
    }
    match chain::find_path(certificate, others, policy) {
        Ok(path) => path.into_iter().for_each(|link| findings.pass(link)),
        Err(reason) => findings.fail(reason),
    }
}

impl DeniedChip {
    fn fits(&self, chip: &ChipIdentity) -> bool {
        let fits =
            |rule: &Option<String>, stated: &str| rule.as_deref().is_none_or(|r| r == stated);
        fits(&self.manufacturer, &chip.manufacturer)
            && fits(&self.model, &chip.model)
            && fits(&self.version, &chip.version)
    }
}
