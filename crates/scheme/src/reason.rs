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
    BadLink = "bad-link" => Malformed, "not an enrolment link";
    BadUserInfo = "bad-user-info" => Malformed, "user information with too many, too long or unprintable entries";
    WrongNonce = "wrong-nonce" => Rejected, "a nonce other than the one that was asked with";
    ChallengeStale = "challenge-stale" => Stale, "a challenge that has expired";
    WrongSerial = "wrong-serial" => Rejected, "a stated hardware serial that is not the endorsement key's";
    WrongTranscript = "wrong-transcript" => Rejected, "a message that answers another one than was sent";
    WrongCredential = "wrong-credential" => Rejected, "the credential was not activated by the claimed chip";
    WrongConfirmation = "wrong-confirmation" => Rejected, "the confirmation is not from the claimed chip";
    BadReEnrolment = "bad-re-enrolment" => Rejected, "the proof of a re-enrolment does not hold";
    NonceUsed = "nonce-used" => Rejected, "a challenge that another claim has answered";
    NotAdmitted = "not-admitted" => Rejected, "a claim without a good code, a listed serial or anybody who approves by hand";
    CodeNotGood = "code-not-good" => Rejected, "an enrolment code that is unknown, used, revoked or expired";
    SerialLive = "serial-live" => Rejected, "a hardware serial that is enrolled already";
    SerialRevoked = "serial-revoked" => Rejected, "a hardware serial that was revoked and not listed again";
    EnrolmentUnknown = "enrolment-unknown" => Rejected, "an enrolment that is not alive";
    EnrolmentOther = "enrolment-other" => Rejected, "other bytes than those that this enrolment has answered";
    DeviceUnknown = "device-unknown" => Rejected, "a device, or a generation of it, that is not known";
    DeviceRevoked = "device-revoked" => Rejected, "a device that was revoked";
    DeviceQuarantined = "device-quarantined" => Rejected, "a device whose chip's history contradicts itself";
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
    RsaNumber = "rsa-number" => Rejected, "a ciphertext that is not below the RSA modulus";
    TokenSerialEmpty = "token-serial-empty" => Rejected, "a token without a serial number";
    TokenSerialZero = "token-serial-zero" => Rejected, "a token whose serial number is all zeros";
    TokenKeyKind = "token-key-kind" => Rejected, "a token's key of a kind that the scheme does not allow";
    TokenNotAccepted = "token-not-accepted" => Rejected, "a token, where the operator accepts none";

    // The endorsement key's public area.
    EkKind = "ek-kind" => Rejected, "an endorsement key of a kind, size or name algorithm that no TCG template has";
    EkAttributes = "ek-attributes" => Rejected, "an endorsement key with other attributes than its TCG template";
    EkPolicy = "ek-policy" => Rejected, "an endorsement key with another policy than its TCG template";
    EkSymmetric = "ek-symmetric" => Rejected, "an endorsement key with another symmetric algorithm than its TCG template";
    EkScheme = "ek-scheme" => Rejected, "an endorsement key that is bound to a scheme";
    EkRoca = "ek-roca" => Rejected, "an endorsement key that can be factored (CVE-2017-15361)";

    // The certificate of the endorsement key, and the chain above it.
    EkCertMissing = "ek-cert-missing" => Rejected, "no EK certificate was sent";
    EkCertForm = "ek-cert-form" => Rejected, "a certificate that cannot be read";
    EkCertTrailing = "ek-cert-trailing" => Rejected, "bytes behind a certificate that are no padding";
    EkCertKey = "ek-cert-key" => Rejected, "an EK certificate for a kind of key that no TCG template has";
    EkCertOtherKey = "ek-cert-other-key" => Rejected, "an EK certificate for another key than the chip's";
    EkCertAuthority = "ek-cert-authority" => Rejected, "an EK certificate that is a certificate authority's";
    EkCertKeyUsage = "ek-cert-key-usage" => Rejected, "an EK certificate whose key may not do what an endorsement key does";
    EkCertPurpose = "ek-cert-purpose" => Rejected, "a certificate for other purposes than an endorsement key's";
    EkCertCritical = "ek-cert-critical" => Rejected, "a certificate with a critical extension that is not understood";
    EkCertExpired = "ek-cert-expired" => Rejected, "a certificate that is not valid at this time";
    EkDenied = "ek-denied" => Rejected, "a chip on the operator's deny list";
    EkSimulator = "ek-simulator" => Rejected, "a TPM simulator, where none is allowed";
    EkIssuerUnknown = "ek-issuer-unknown" => Rejected, "a certificate whose issuer is neither among the operator's certificates nor the chip's";
    EkChainSignature = "ek-chain-signature" => Rejected, "a certificate that its issuer did not sign";
    EkChainAlgorithm = "ek-chain-algorithm" => Rejected, "a certificate signed with an algorithm or key that is not accepted";
    EkChainNotAuthority = "ek-chain-not-authority" => Rejected, "a certificate issued by one that is no certificate authority";
    EkChainKeyUsage = "ek-chain-key-usage" => Rejected, "a certificate issued by an authority that may not sign certificates";
    EkChainPathLength = "ek-chain-path-length" => Rejected, "more authorities in a chain than one of them allows below itself";
    EkChainTooLong = "ek-chain-too-long" => Rejected, "a chain of more certificates or alternatives than are tried";

    // The public areas of a device's keys.
    SrkKind = "srk-kind" => Rejected, "a storage root key of a kind, size or name algorithm that the scheme does not allow";
    SrkAttributes = "srk-attributes" => Rejected, "a storage root key with other attributes than the scheme demands";
    SrkPolicy = "srk-policy" => Rejected, "a storage root key that a policy can authorise";
    SrkScheme = "srk-scheme" => Rejected, "a storage root key that is not bound to the algorithm that the scheme demands";
    AkKind = "ak-kind" => Rejected, "an attestation key of a kind, size or name algorithm that the scheme does not allow";
    AkAttributes = "ak-attributes" => Rejected, "an attestation key with other attributes than the scheme demands";
    AkPolicy = "ak-policy" => Rejected, "an attestation key that a policy can authorise";
    AkScheme = "ak-scheme" => Rejected, "an attestation key that is not bound to the algorithm that the scheme demands";
    SigningKind = "signing-kind" => Rejected, "a signing key of a kind, size or name algorithm that the scheme does not allow";
    SigningAttributes = "signing-attributes" => Rejected, "a signing key with other attributes than the scheme demands";
    SigningPolicy = "signing-policy" => Rejected, "a signing key that a policy can authorise";
    SigningScheme = "signing-scheme" => Rejected, "a signing key that is not bound to the algorithm that the scheme demands";
    KeyRoca = "key-roca" => Rejected, "a signing or decryption key that can be factored (CVE-2017-15361)";
    DecryptionKind = "decryption-kind" => Rejected, "a decryption key of a kind, size or name algorithm that the scheme does not allow";
    DecryptionAttributes = "decryption-attributes" => Rejected, "a decryption key with other attributes than the scheme demands";
    DecryptionPolicy = "decryption-policy" => Rejected, "a decryption key that a policy can authorise";
    DecryptionScheme = "decryption-scheme" => Rejected, "a decryption key that is not bound to the algorithm that the scheme demands";
    SerialKeyKind = "serial-key-kind" => Rejected, "a serial key of a kind, size or name algorithm that the scheme does not allow";
    SerialKeyAttributes = "serial-key-attributes" => Rejected, "a serial key with other attributes than the scheme demands";
    SerialKeyPolicy = "serial-key-policy" => Rejected, "a serial key that a policy can authorise";
    SerialKeyScheme = "serial-key-scheme" => Rejected, "a serial key that is not bound to the algorithm that the scheme demands";
    ApplicationKeyKind = "application-key-kind" => Rejected, "an application's key with another name algorithm than SHA-256";
    ApplicationKeyAttributes = "application-key-attributes" => Rejected, "an application's key that can leave its chip, was not made there, serves the chip itself, or is for nothing";
    ApplicationKeyPolicy = "application-key-policy" => Rejected, "an application's key that a policy can authorise";
    NamesNotDistinct = "names-not-distinct" => Rejected, "one key in two roles";

    // Attests.
    AttestMissing = "attest-missing" => Rejected, "an epoch-open of a TPM without an attest";
    AttestMagic = "attest-magic" => Rejected, "a signed structure that no TPM made";
    AttestType = "attest-type" => Rejected, "an attest of another type than a certification";
    AttestExtraData = "attest-extra-data" => Rejected, "an attest made for another occasion";
    AttestName = "attest-name" => Rejected, "an attest of another key";
    AttestQualifiedName = "attest-qualified-name" => Rejected, "an attest of a key that hangs elsewhere in the chip";
    AttestSigner = "attest-signer" => Rejected, "an attest by a key that is not a primary of the endorsement hierarchy";
    AttestScheme = "attest-scheme" => Rejected, "an attest signed under a scheme that is not the attestation key's";
    AttestSignature = "attest-signature" => Rejected, "an attest that the attestation key did not sign";

    // Contents and trades.
    BadService = "bad-service" => Malformed, "a service that is not a reverse-DNS name in lower case";
    BadContentType = "bad-content-type" => Malformed, "a content type that is too long, not printable ASCII, or given to a control message";
    BadIndex = "bad-index" => Malformed, "an index of zero";
    BadMessageType = "bad-message-type" => Malformed, "a message type that is not known";
    BadWithdrawal = "bad-withdrawal" => Malformed, "a withdrawal that names nothing, too much, out of order, or what is not before it";
    PayloadTooLarge = "payload-too-large" => Malformed, "a payload larger than one message may carry";
    UnexpectedPayload = "unexpected-payload" => Malformed, "an opening with a payload";
    WrongTrade = "wrong-trade" => Rejected, "a message of another trade";
    WrongService = "wrong-service" => Rejected, "a message that names another service than its trade";
    WrongOrder = "wrong-order" => Rejected, "a message whose layers are nested in another order than its trade's";
    OutOfTurn = "out-of-turn" => Rejected, "a message that is not the next one of its trade";
    NotOpened = "not-opened" => Rejected, "a trade whose first message does not open it, or is not there yet";
    OpenedTwice = "opened-twice" => Rejected, "a second opening of a trade";
    WrongKind = "wrong-kind" => Rejected, "a message that this kind of trade does not have";
    ReplyNotDue = "reply-not-due" => Rejected, "a reply that nobody waits for";
    PeerClosed = "peer-closed" => Rejected, "something new for a trade that the other side has closed";
    AfterClose = "after-close" => Rejected, "something other than a receipt after the sender's own close";
    ReceiptNotDue = "receipt-not-due" => Rejected, "a receipt before both sides have closed, or after it is complete";
    TradeEnded = "trade-ended" => Rejected, "a new message for a trade that has ended";
    TradeFull = "trade-full" => Rejected, "more messages than one trade may have";
    ChainMismatch = "chain-mismatch" => Rejected, "a close whose counts or chains are not those seen here";
    DiskRollback = "disk-rollback" => Rejected, "other content under an index that is taken: the sender's storage was rolled back";
    ReceiptOfAnother = "receipt-of-another" => Rejected, "a receipt of another trade or service";
    ReceiptMismatch = "receipt-mismatch" => Rejected, "a receipt whose counts or chains are not those seen here";
    ReceiptTimes = "receipt-times" => Malformed, "a receipt that closes before it opens";

    // Epochs.
    EpochClone = "epoch-clone" => Rejected, "another open of a known epoch, made later: a second chip counts the same epochs";
    EpochRollback = "epoch-rollback" => Rejected, "another open of a known epoch, made no later: the chip was rolled back";
    EpochOvertaken = "epoch-overtaken" => Stale, "the open of an epoch that later ones have overtaken";
    EpochClock = "epoch-clock" => Rejected, "a new epoch whose clock is not later than the last one's";
    EpochTooFar = "epoch-too-far" => Rejected, "an epoch more than 100,000 ahead";
    EpochNotOpen = "epoch-not-open" => Busy, "a message of an epoch that has not been opened yet";
    EpochClosed = "epoch-closed" => Stale, "a message of an epoch closed so long ago that its key is gone";
    SeqReused = "seq-reused" => Rejected, "other bytes under a sequence number that is taken";
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
