//! Every label that separates one use of a key, hash or signature from another.
//!
//! One table, so that a collision or a forgotten version can be seen at a glance.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)*
        #[cfg(test)]
        const ALL: &[&str] = &[$($text,)*];
    };
}

labels! {
    // Key derivation.
    /// CK_0 from what the serial key agreed on.
    SERIAL_KEY = "twinseal/serial/v1";
    /// CK_e from CK_{e-1}.
    CHAIN = "twinseal/chain/v1";
    /// Z_e from the two agreements of an epoch-open.
    EPOCH = "twinseal/epoch/v1";
    /// One direction's key of one epoch.
    DIRECTION = "twinseal/dir/v1";
    /// The key that hedges salts.
    SALT = "twinseal/salt/v1";
    /// The key that hedges the IVs of answers, fetches and grants.
    IV = "twinseal/iv/v1";
    /// The key of authenticated answers, from the downward key.
    ANSWER = "twinseal/answer/v1";
    /// The key of fetches, from the upward key.
    FETCH = "twinseal/fetch/v1";
    /// Wraps the upward key of a closed epoch.
    CLOSED = "twinseal/closed/v1";
    /// The proof that a credential was activated (M3).
    ACTIVATE = "twinseal/activate/v1";
    /// The proof that CK_0 was computed (M5).
    CONFIRM = "twinseal/confirm/v1";
    /// The key of the grant (G), from CK_0.
    GRANT = "twinseal/grant/v1";
    /// The start of a trade's chain in one direction.
    TRADE = "twinseal/trade/v1";
    /// AlgorithmID of the key commitment in a COSE_KDF_Context.
    COMMITMENT = "twinseal-kc";

    // The hardware serial.
    /// S of a TPM.
    SERIAL = "twinseal/S/v1";
    /// S of a token.
    TOKEN_SERIAL = "twinseal/S/token/v1";
    /// What people compare of an S.
    SERIAL_CHECK = "twinseal/S/check/v1";

    /// What tells chips apart without their S.
    SERIAL_TAG = "twinseal/S/tag/v1";

    // First items of CBOR contexts.
    /// Binds CK_0 to server, device, serial and generation.
    SERIAL_CONTEXT = "twinseal-serial-v1";
    /// external_aad of every layer of a message.
    MESSAGE = "twinseal-msg-v1";
    /// external_aad of what the server signs outside a trade.
    BY_SERVER = "twinseal-server-v1";
    /// external_aad of what the device signs outside a trade.
    BY_DEVICE = "twinseal-device-v1";
    /// external_aad of the enrolment claim (M1).
    ENROL = "twinseal-enrol-v1";
    /// external_aad of a token's credential.
    CREDENTIAL = "twinseal-credential-v1";
    /// external_aad of a fetch.
    FETCH_CONTEXT = "twinseal-fetch-v1";
    /// What the AK certifies of a key at enrolment.
    CERTIFY = "twinseal-certify-v1";
    /// What the AK certifies at an epoch-open.
    EPOCH_ATTEST = "twinseal-epoch-v1";
    /// What the AK certifies of an application's key.
    ATTEST = "twinseal-attest-v1";
    /// An attestation of an application's key, with all that its verification needs.
    ATTESTATION = "twinseal-attestation-v1";
    /// What the old signing key signs for a re-enrolment.
    RE_ENROL = "twinseal-reenrol-v1";
    /// The body of a receipt.
    RECEIPT = "twinseal-receipt-v1";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_used_twice_or_begins_another() {
        for (i, a) in ALL.iter().enumerate() {
            for (j, b) in ALL.iter().enumerate() {
                assert!(i == j || !a.starts_with(b), "{a} begins with {b}");
            }
        }
    }
}
