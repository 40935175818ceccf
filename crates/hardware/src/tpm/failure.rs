//! From the TSS library's response codes to [`Error`].
//!
//! Codes: TPM 2.0 Library Part 2, section 6.6.3; layers: TSS 2.0 Overview, section 3.1.

use std::error::Error as _;

use tss_esapi::Error as TssError;

use crate::error::{Error, Hierarchy};

const LAYER_MASK: u32 = 0x00ff_0000;
const LAYER_TCTI: u32 = 0x000a_0000;
/// A resource manager that answers in the TPM's own codes.
const LAYER_MANAGER: u32 = 0x000b_0000;
/// Base codes of any layer that say that no response came which is one: no connection, input or
/// output error, malformed response, one that is too long for the library, one that is too short.
const NO_RESPONSE: [u32; 5] = [0x08, 0x0a, 0x11, 0x12, 0x13];

const FORMAT_ONE: u32 = 0x80;
const VALUE: u32 = 0x84;
const HANDLE: u32 = 0x8b;
const AUTH_FAIL: u32 = 0x8e;
const SIZE: u32 = 0x95;
const INTEGRITY: u32 = 0x9f;
const BAD_AUTH: u32 = 0xa2;
const ECC_POINT: u32 = 0xa7;

/// ASYMMETRIC, HASH, VALUE, KEY_SIZE, KDF, SCHEME, SYMMETRIC, CURVE.
const UNSUPPORTED: [u32; 8] = [0x81, 0x83, 0x84, 0x87, 0x8c, 0x92, 0x96, 0xa6];

const NV_READ_PUBLIC: &str = "TPM2_NV_ReadPublic";

const LOCKOUT: u32 = 0x921;
const NV_RATE: u32 = 0x920;
/// FAILURE.
pub(super) const FAILURE: u32 = 0x101;
/// INITIALIZE, CONTEXT_GAP, OBJECT_MEMORY, SESSION_MEMORY, MEMORY, SESSION_HANDLES.
const OUT_OF_PLACE: [u32; 6] = [0x100, 0x901, 0x902, 0x903, 0x904, 0x905];
const FIRST_REFERENCE: u32 = 0x910;
const LAST_REFERENCE: u32 = 0x91e;

/// Says which command it was that failed.
pub(super) trait Command<T> {
    /// Turns the library's error into ours.
    fn command(self, command: &'static str) -> Result<T, Error>;
}

impl<T> Command<T> for Result<T, TssError> {
    fn command(self, command: &'static str) -> Result<T, Error> {
        self.map_err(|error| sort(command, code_of(error)))
    }
}

/// The bare code; 0 where the wrapper refused something by itself.
pub(super) fn code_of(error: TssError) -> u32 {
    let text = match error {
        TssError::WrapperError(_) => None,
        // The wrapper keeps the number to itself, but prints it: "Response code value: 0x18b".
        TssError::Tss2Error(code) => code.source().map(ToString::to_string),
    };
    text.and_then(|text| {
        let (_, digits) = text.rsplit_once("0x")?;
        u32::from_str_radix(digits, 16).ok()
    })
    .unwrap_or(0)
}

/// Whether `error` is the TPM's answer `code`, whatever handle, session or parameter it is about.
pub(super) fn is(error: &Error, code: u32) -> bool {
    match error {
        Error::Failed { rc, .. } => base(*rc) == Some(code),
        _ => false,
    }
}

/// Nothing is defined at this NV index. The same code about an object says that it is loaded no
/// more, which is quite another thing.
pub(super) fn is_undefined(error: &Error) -> bool {
    matches!(error, Error::Failed { command: NV_READ_PUBLIC, .. }) && is(error, HANDLE)
}

/// Whether a code of the chip is about what it was given to work on: about a parameter (bit 6 of
/// format one), or the key's attributes, type or scheme. Those about a session or a handle that is
/// not there are not.
pub(super) fn is_about_caller(rc: u32) -> bool {
    const PARAMETER: u32 = 0x40;
    const ATTRIBUTES_TYPE_KEY_SCHEME: [u32; 4] = [0x82, 0x8a, 0x9c, 0x92];
    let Some(code) = base(rc) else { return false };
    let of_parameter = rc & FORMAT_ONE != 0 && rc & PARAMETER != 0;
    of_parameter || ATTRIBUTES_TYPE_KEY_SCHEME.contains(&code)
}

/// The chip says that it has failed.
pub(super) fn is_failure(error: &Error) -> bool {
    is(error, FAILURE)
}

/// The chip does not know the algorithm, curve or size that a template names.
pub(super) fn is_unsupported(error: &Error) -> bool {
    UNSUPPORTED.iter().any(|code| is(error, *code))
}

/// Whether a new connection may help: the chip is gone, or has forgotten what we had loaded, or is
/// full of somebody else's things, or the library is out of step. The command had no effect,
/// unless the layers below the TPM failed.
pub(super) fn wants_new_connection(error: &Error) -> bool {
    let (command, rc) = match error {
        Error::Failed { command, rc } | Error::Rejected { command, rc } => (command, rc),
        // Another chip may have come behind a transport that does not say so; what was loaded
        // in the one before means something else in it.
        Error::Absent { .. } | Error::Changed(_) => return true,
        _ => return false,
    };
    let Some(code) = base(*rc) else {
        return true;
    };
    match (code, *command) {
        // Not defined, rather than not there any more.
        (HANDLE, NV_READ_PUBLIC) => false,
        // So far nothing was wrong with the authorisation: the handle or the session is.
        (AUTH_FAIL | BAD_AUTH, _) => true,
        // Saved before a reset.
        (_, "TPM2_ContextLoad") | (HANDLE, _) => true,
        _ => (FIRST_REFERENCE..=LAST_REFERENCE).contains(&code) || OUT_OF_PLACE.contains(&code),
    }
}

/// Names the hierarchy whose authorisation was refused.
pub(super) fn of_hierarchy(error: Error, hierarchy: Hierarchy) -> Error {
    match error {
        Error::Unauthorised { command, .. } => Error::Unauthorised { hierarchy, command },
        error => error,
    }
}

fn sort(command: &'static str, rc: u32) -> Error {
    if is_transport(rc) {
        return Error::Absent { rc };
    }
    match (base(rc), command) {
        (Some(LOCKOUT), _) => Error::LockedOut,
        (Some(NV_RATE), _) => Error::Busy,
        (Some(AUTH_FAIL | BAD_AUTH), _) if takes_hierarchy(command) => {
            Error::Unauthorised { hierarchy: usual_hierarchy(command), command }
        }
        (Some(ECC_POINT), _)
        | (Some(INTEGRITY | VALUE | SIZE), "TPM2_ActivateCredential")
        | (Some(INTEGRITY), "TPM2_Load")
        | (Some(VALUE | SIZE), "TPM2_RSA_Decrypt")
        | (
            Some(AUTH_FAIL | BAD_AUTH),
            "TPM2_Sign" | "TPM2_ECDH_ZGen" | "TPM2_RSA_Decrypt" | "TPM2_ObjectChangeAuth",
        ) => Error::Rejected { command, rc },
        _ => Error::Failed { command, rc },
    }
}

/// The TPM's code, in format one without the number of the handle, session or parameter that it
/// is about; `None` for the code of another layer.
fn base(rc: u32) -> Option<u32> {
    match (rc & LAYER_MASK, rc & FORMAT_ONE) {
        (0 | LAYER_MANAGER, 0) => Some(rc & 0xffff),
        (0 | LAYER_MANAGER, _) => Some(rc & 0xbf),
        _ => None,
    }
}

fn is_transport(rc: u32) -> bool {
    let layer = rc & LAYER_MASK;
    let passed_on = base(rc).is_none() && NO_RESPONSE.contains(&(rc & 0xffff));
    layer == LAYER_TCTI || passed_on
}

fn takes_hierarchy(command: &str) -> bool {
    matches!(
        command,
        "TPM2_CreatePrimary"
            | "TPM2_NV_DefineSpace"
            | "TPM2_NV_UndefineSpace"
            | "TPM2_PolicySecret"
    )
}

/// That of TPM2_CreatePrimary is known to its caller only, see [`of_hierarchy`].
fn usual_hierarchy(command: &str) -> Hierarchy {
    match command {
        "TPM2_PolicySecret" => Hierarchy::Endorsement,
        _ => Hierarchy::Owner,
    }
}

#[cfg(test)]
mod tests {
    use tss_esapi::constants::response_code::Tss2ResponseCode;

    use super::*;

    fn from_library(rc: u32, command: &'static str) -> Error {
        sort(command, code_of(TssError::Tss2Error(Tss2ResponseCode::from(rc))))
    }

    #[test]
    fn the_number_survives_the_wrapper() {
        for rc in [0x18b, 0x902, 0x000a_000a, 0x0007_0012, 0x98e] {
            let error = TssError::Tss2Error(Tss2ResponseCode::from(rc));
            assert_eq!(code_of(error), rc);
        }
    }

    #[test]
    fn faults_are_sorted() {
        for (rc, command, code) in [
            (0x000a_000a, "TPM2_Sign", "absent"),
            (0x0007_000a, "TPM2_Sign", "absent"),
            (0x0008_0012, "TPM2_GetCapability", "absent"),
            (0x0007_000b, "TPM2_Sign", "failed"),
            (0x000b_0921, "TPM2_Sign", "locked-out"),
            (0x921, "TPM2_Sign", "locked-out"),
            (0x920, "TPM2_NV_Increment", "busy"),
            (0x9a2, "TPM2_CreatePrimary", "unauthorised"),
            (0x98e, "TPM2_NV_DefineSpace", "unauthorised"),
            (0x1df, "TPM2_ActivateCredential", "rejected"),
            (0x1e7, "TPM2_ECDH_ZGen", "rejected"),
            (0x1df, "TPM2_Load", "rejected"),
            (0x2c4, "TPM2_RSA_Decrypt", "rejected"),
            (0x101, "TPM2_Sign", "failed"),
            (0x18b, "TPM2_NV_ReadPublic", "failed"),
        ] {
            assert_eq!(from_library(rc, command).code(), code, "0x{rc:x} {command}");
        }
    }

    #[test]
    fn a_new_connection_is_for_lost_handles_and_full_slots() {
        for rc in [0x910, 0x918, 0x902, 0x000b_0903, 0x18b, 0x000a_000a, 0x0007_0007] {
            assert!(wants_new_connection(&from_library(rc, "TPM2_Sign")));
        }
        for rc in [0x98e, 0x9a2] {
            assert!(wants_new_connection(&from_library(rc, "TPM2_ECDH_ZGen")));
        }
        for rc in [0x101, 0x1df, 0x1e7] {
            assert!(!wants_new_connection(&from_library(rc, "TPM2_Sign")));
        }
        assert!(!wants_new_connection(&from_library(0x9a2, "TPM2_CreatePrimary")));
        assert!(wants_new_connection(&from_library(0x1df, "TPM2_ContextLoad")));
        assert!(!wants_new_connection(&from_library(0x18b, "TPM2_NV_ReadPublic")));
        assert!(is_undefined(&from_library(0x18b, "TPM2_NV_ReadPublic")));
        assert!(!is_undefined(&from_library(0x1cb, "TPM2_FlushContext")));
    }
}
