//! Why something is refused: one closed table for the whole scheme.
//!
//! Every check that can fail names exactly one [`Reason`]. Its code is stable: it
//! stands in the operator's log, in the test vectors and in `docs/scheme.md`. A peer
//! never sees it; he sees the [`Outside`] word that it maps to, and nothing else.

use std::fmt;

/// What a peer is told of a refusal, and all that he is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outside {
    /// The bytes are not a message of this scheme.
    Malformed,
    /// The message is one of this scheme, and is not accepted.
    Rejected,
    /// The message belongs to a past that is over: an old challenge, a closed epoch.
    Stale,
    /// Try again later.
    Busy,
}

impl Outside {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Outside::Malformed => "malformed",
            Outside::Rejected => "rejected",
            Outside::Stale => "stale",
            Outside::Busy => "busy",
        }
    }
}

macro_rules! reasons {
    ($($name:ident = $code:literal => $outside:ident, $text:literal;)*) => {
        /// One reason for a refusal. See the module's documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $text] $name,)* }

        impl Reason {
            /// Every reason there is, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The stable code, in lower case with hyphens.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }

            /// What the peer is told.
            pub fn outside(self) -> Outside {
                match self { $(Reason::$name => Outside::$outside,)* }
            }

            fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    // Form: the bytes themselves.
    TooLarge = "too-large" => Malformed, "longer than the scheme allows";
    NotCbor = "not-cbor" => Malformed, "not one well-formed CBOR item without trailing bytes";
    NotDeterministic = "not-deterministic" => Malformed, "CBOR that is not in deterministic encoding";
    TooDeep = "too-deep" => Malformed, "CBOR nested deeper than eight levels";
    WrongShape = "wrong-shape" => Malformed, "an item, length or type that this message does not have";
    WrongTag = "wrong-tag" => Malformed, "not the COSE tag that belongs here";
    WrongHeader = "wrong-header" => Malformed, "a COSE header that is not exactly the expected one";
    WrongVersion = "wrong-version" => Malformed, "a version of the envelope that is not known";
    HighS = "high-s" => Malformed, "an ECDSA signature whose s is in the upper half";

    // Layers.
    WrongRoute = "wrong-route" => Rejected, "a routing header that does not agree with the record of the device";
    UnknownKey = "unknown-key" => Rejected, "a key or algorithm other than the one pinned at enrolment";
    BadPoint = "bad-point" => Rejected, "a point that is not on its curve";
    BadCommitment = "bad-commitment" => Rejected, "the serial layer is keyed by another chip, epoch, direction or context";
    BadSerialLayer = "bad-serial-layer" => Rejected, "the serial layer does not open";
    BadKeyLayer = "bad-key-layer" => Rejected, "the key layer does not open";
    BadDeviceSignature = "bad-device-signature" => Rejected, "the device's signature does not verify";
    EpochStale = "epoch-stale" => Stale, "an epoch that is over";
    UnknownServer = "unknown-server" => Rejected, "a server other than the pinned one";
    StatementStale = "statement-stale" => Stale, "a server_keys statement older than the last one seen";
    BadServerSignature = "bad-server-signature" => Rejected, "the server's signature does not verify";

    // TPM structures: the bytes themselves.
    TpmShort = "tpm-short" => Malformed, "a TPM structure that ends before its last field";
    TpmTrailing = "tpm-trailing" => Malformed, "bytes behind the end of a TPM structure";
    TpmSize = "tpm-size" => Malformed, "a field of a TPM structure that is not as long as its kind demands";
    TpmAlgorithm = "tpm-algorithm" => Malformed, "an algorithm in a TPM structure that this scheme does not know";
    TpmYesNo = "tpm-yes-no" => Malformed, "a yes or no in a TPM structure that is neither";
    RsaExponent = "rsa-exponent" => Malformed, "an RSA exponent other than 65537";
    RsaModulus = "rsa-modulus" => Malformed, "an RSA modulus that is even or not of exactly 2048, 3072 or 4096 bits";

    // Tokens.
    TokenSerialEmpty = "token-serial-empty" => Rejected, "a token without a serial number";
    TokenSerialZero = "token-serial-zero" => Rejected, "a token whose serial number is all zeros";

    // The endorsement key's public area.
    EkKind = "ek-kind" => Rejected, "an endorsement key of a kind, size or name algorithm that no TCG template has";
    EkAttributes = "ek-attributes" => Rejected, "an endorsement key with other attributes than its TCG template";
    EkPolicy = "ek-policy" => Rejected, "an endorsement key with another policy than its TCG template";
    EkSymmetric = "ek-symmetric" => Rejected, "an endorsement key with another symmetric algorithm than its TCG template";
    EkScheme = "ek-scheme" => Rejected, "an endorsement key that is bound to a scheme";
    EkRoca = "ek-roca" => Rejected, "an endorsement key that can be factored (CVE-2017-15361)";

    // Attests.
    AttestMagic = "attest-magic" => Rejected, "a signed structure that no TPM made";
    AttestType = "attest-type" => Rejected, "an attest of another type than a certification";
    AttestScheme = "attest-scheme" => Rejected, "an attest signed under a scheme that is not the attestation key's";
    AttestSignature = "attest-signature" => Rejected, "an attest that the attestation key did not sign";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.code())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_plain() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for code in codes {
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
    }
}
