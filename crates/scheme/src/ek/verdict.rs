//! The verdict on an EK certificate, as the operator reads it.

use std::fmt;
use std::str::FromStr;

use super::EkPolicy;
use crate::Reason;

/// How far the claim "this is one particular chip" is to be trusted; the greater, the
/// better. A class never rises by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// A TPM simulator: no hardware at all. For tests only.
    Simulator,
    /// A PKCS#11 token, which can prove no identity of its own.
    Token,
    /// A TPM without a usable certificate chain, whose serial the operator listed.
    TpmEkListed,
    /// A TPM whose EK certificate leads to one of the operator's roots.
    TpmEk,
}

impl Assurance {
    /// Every class, the best first.
    pub const ALL: [Assurance; 4] =
        [Assurance::TpmEk, Assurance::TpmEkListed, Assurance::Token, Assurance::Simulator];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Assurance::TpmEk => "tpm-ek",
            Assurance::TpmEkListed => "tpm-ek-listed",
            Assurance::Token => "token",
            Assurance::Simulator => "simulator",
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Assurance {
    type Err = Reason;

    fn from_str(word: &str) -> Result<Self, Reason> {
        let found = Assurance::ALL.into_iter().find(|class| class.word() == word);
        found.ok_or(Reason::WrongShape)
    }
}

/// Manufacturer, model and version of a chip, as the subject alternative name of its EK
/// certificate states them (EK profile, section 3.1.2): only printable ASCII, other
/// characters are escaped. Empty where nothing is stated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChipIdentity {
    /// `id:` and the TCG's vendor id in hexadecimal.
    pub manufacturer: String,
    /// The vendor's name of the part.
    pub model: String,
    /// `id:` and the firmware version at manufacture.
    pub version: String,
}

impl ChipIdentity {
    /// swtpm's certificates say `id:00001014`, IBM's number; libtpms itself says "IBM".
    pub(super) fn is_simulator(&self) -> bool {
        ["id:00001014", "id:49424D00"].iter().any(|id| self.manufacturer.eq_ignore_ascii_case(id))
    }
}

/// What was found about an EK certificate. [`fmt::Display`] gives [`Verdict::lines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The assurance that the certificate gives, or why it gives none.
    pub outcome: Result<Assurance, Reason>,
    /// The chip, where the certificate says what it is.
    pub identity: Option<ChipIdentity>,
    /// Every finding in a line of its own, beginning with `pass`, `fail` or `note`; the
    /// last line is the outcome. They contain no serial and no control characters, and are
    /// less than 4 KiB in all.
    pub lines: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Findings as they are made.
#[derive(Default)]
pub(super) struct Findings {
    lines: Vec<String>,
    failures: Vec<Reason>,
    identity: Option<ChipIdentity>,
}

impl Findings {
    pub(super) fn note(&mut self, text: String) {
        self.lines.push(format!("note: {text}"));
    }

    pub(super) fn pass(&mut self, text: String) {
        self.lines.push(format!("pass: {text}"));
    }

    pub(super) fn fail(&mut self, reason: Reason) {
        self.lines.push(format!("fail: {reason}"));
        self.failures.push(reason);
    }

    pub(super) fn check(&mut self, what: &str, result: Result<(), Reason>) {
        match result {
            Ok(()) => self.pass(what.to_owned()),
            Err(reason) => self.fail(reason),
        }
    }

    pub(super) fn identify(&mut self, identity: Option<ChipIdentity>) {
        match &identity {
            Some(chip) => self.note(format!(
                "manufacturer {}, model {}, version {}",
                chip.manufacturer, chip.model, chip.version
            )),
            None => self.note("does not say who made the chip".to_owned()),
        }
        self.identity = identity;
    }

    pub(super) fn identity(&self) -> Option<&ChipIdentity> {
        self.identity.as_ref()
    }

    pub(super) fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The first failure decides, unless the operator's own word outweighs all of them.
    pub(super) fn conclude(mut self, policy: &EkPolicy<'_>) -> Verdict {
        let simulator = self.identity.as_ref().is_some_and(ChipIdentity::is_simulator);
        let outcome = match self.failures.first() {
            None if simulator => Ok(Assurance::Simulator),
            None => Ok(Assurance::TpmEk),
            Some(_) if policy.listed && !self.failures.iter().any(is_final) => {
                Ok(Assurance::TpmEkListed)
            }
            Some(_) => {
                let decisive = self.failures.iter().find(|reason| is_final(reason));
                Err(decisive.or(self.failures.first()).copied().unwrap_or(Reason::EkCertMissing))
            }
        };
        self.lines.push(match outcome {
            Ok(Assurance::TpmEkListed) => {
                "outcome: tpm-ek-listed, because the operator listed this hardware serial"
                    .to_owned()
            }
            Ok(class) => format!("outcome: {class}"),
            Err(reason) => format!("outcome: refused, {}", reason.code()),
        });
        Verdict { outcome, identity: self.identity, lines: self.lines }
    }
}

/// Not to be outweighed by a listed serial: the certificate shows that something is wrong,
/// not merely that nobody is known to vouch.
fn is_final(reason: &Reason) -> bool {
    matches!(reason, Reason::EkCertOtherKey | Reason::EkDenied | Reason::EkSimulator)
}
