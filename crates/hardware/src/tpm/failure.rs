//! From the TSS library's response codes to [`Error`].
//!
//! Codes: TPM 2.0 Library Part 2, section 6.6.3; layers: TSS 2.0 Overview, section 3.1.

use std::error::Error as _;

use tss_esapi::Error as TssError;

use crate::error::Error;

const LAYER_MASK: u32 = 0x00ff_0000;
const LAYER_TPM: u32 = 0;
const LAYER_TCTI: u32 = 0x000a_0000;
/// ESYS found no answer that it could take apart, or the transport's code passed through it.
const GENERAL_FAILURE_IO: [u32; 3] = [0x0a, 0x08, 0x0b];

const FORMAT_ONE: u32 = 0x80;
const VALUE: u32 = 0x84;
const HANDLE: u32 = 0x8b;
const AUTH_FAIL: u32 = 0x8e;
const SIZE: u32 = 0x95;
const INTEGRITY: u32 = 0x9f;
const BAD_AUTH: u32 = 0xa2;
const ECC_POINT: u32 = 0xa7;

const INITIALIZE: u32 = 0x100;
const LOCKOUT: u32 = 0x921;
const NV_RATE: u32 = 0x920;
const OBJECT_MEMORY: u32 = 0x902;
const SESSION_MEMORY: u32 = 0x903;
const MEMORY: u32 = 0x904;
const SESSION_HANDLES: u32 = 0x905;
const CONTEXT_GAP: u32 = 0x901;
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
        Error::Failed { rc, .. } | Error::Rejected { rc, .. } => base(*rc) == code,
        _ => false,
    }
}

/// Nothing is defined at this handle.
pub(super) fn is_undefined(error: &Error) -> bool {
    is(error, HANDLE)
}

/// Whether the chip has forgotten what we had loaded, or somebody else's things fill it up, or it
/// has gone: a new connection may help, and the command had no effect unless it is
/// [`Error::Absent`].
pub(super) fn wants_new_connection(error: &Error) -> bool {
    match error {
        Error::Absent { .. } => true,
        Error::Failed { command, rc } => {
            let stale_context = *command == "TPM2_ContextLoad";
            stale_context || wants_new_slots(*rc)
        }
        _ => false,
    }
}

fn wants_new_slots(rc: u32) -> bool {
    (FIRST_REFERENCE..=LAST_REFERENCE).contains(&rc)
        || matches!(
            rc,
            INITIALIZE | OBJECT_MEMORY | SESSION_MEMORY | MEMORY | SESSION_HANDLES | CONTEXT_GAP
        )
}

fn sort(command: &'static str, rc: u32) -> Error {
    let is_tpm = matches!(rc & LAYER_MASK, LAYER_TPM);
    match rc {
        _ if !is_tpm && is_transport(rc) => Error::Absent { rc },
        LOCKOUT => Error::LockedOut,
        NV_RATE => Error::Busy,
        _ if !is_tpm => Error::Failed { command, rc },
        _ => match (base(rc), command) {
            (AUTH_FAIL | BAD_AUTH, _) if takes_hierarchy(command) => {
                Error::Unauthorised { command }
            }
            (ECC_POINT, _)
            | (INTEGRITY | VALUE | SIZE, "TPM2_ActivateCredential")
            | (INTEGRITY | AUTH_FAIL | BAD_AUTH, "TPM2_Load" | "TPM2_Sign" | "TPM2_ECDH_ZGen") => {
                Error::Rejected { command, rc }
            }
            _ => Error::Failed { command, rc },
        },
    }
}

/// Format-one codes without the number of the handle, session or parameter that they are about.
fn base(rc: u32) -> u32 {
    match rc & FORMAT_ONE {
        0 => rc,
        _ => rc & 0xbf,
    }
}

fn is_transport(rc: u32) -> bool {
    rc & LAYER_MASK == LAYER_TCTI || GENERAL_FAILURE_IO.contains(&(rc & 0xffff))
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
            (0x921, "TPM2_Sign", "locked-out"),
            (0x920, "TPM2_NV_Increment", "busy"),
            (0x9a2, "TPM2_CreatePrimary", "unauthorised"),
            (0x98e, "TPM2_NV_DefineSpace", "unauthorised"),
            (0x1df, "TPM2_ActivateCredential", "rejected"),
            (0x1e7, "TPM2_ECDH_ZGen", "rejected"),
            (0x1df, "TPM2_Load", "rejected"),
            (0x101, "TPM2_Sign", "failed"),
            (0x18b, "TPM2_NV_ReadPublic", "failed"),
        ] {
            assert_eq!(from_library(rc, command).code(), code, "0x{rc:x} {command}");
        }
    }

    #[test]
    fn a_new_connection_is_for_lost_handles_and_full_slots() {
        for rc in [0x910, 0x918, 0x902, 0x903, 0x000a_000a] {
            assert!(wants_new_connection(&from_library(rc, "TPM2_Sign")));
        }
        for rc in [0x101, 0x98e, 0x1df] {
            assert!(!wants_new_connection(&from_library(rc, "TPM2_Sign")));
        }
        assert!(wants_new_connection(&from_library(0x1df, "TPM2_ContextLoad")));
    }
}
