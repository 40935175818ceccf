//! What a call ends with when it does not succeed, and the one place where failures of the bus
//! and errors of the agent become return values (`docs/dbus.md`, "Errors").

use cryptoki_sys::*;

use crate::bus::Failure;

/// A `CK_RV` that is not `CKR_OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rv(pub(crate) CK_RV);

pub(crate) type Result<T> = std::result::Result<T, Rv>;

/// Ends a function with this return value.
pub(crate) fn fail<T>(value: CK_RV) -> Result<T> {
    Err(Rv(value))
}

impl Rv {
    /// Where no key but another object was meant.
    pub(crate) fn of_object(self) -> Self {
        match self.0 {
            CKR_KEY_HANDLE_INVALID => Self(CKR_OBJECT_HANDLE_INVALID),
            _ => self,
        }
    }
}

impl From<Failure> for Rv {
    fn from(failure: Failure) -> Self {
        Self(match failure {
            Failure::NoBus => CKR_TOKEN_NOT_PRESENT,
            // Whether it was done is not known.
            Failure::Lost | Failure::Late => CKR_DEVICE_ERROR,
            Failure::Malformed => CKR_GENERAL_ERROR,
            Failure::Refused(name) => of_error(&name),
        })
    }
}

fn of_error(name: &str) -> CK_RV {
    if let Some(kind) = name.strip_prefix("org.twinseal.Error.") {
        return of_agents_error(kind);
    }
    match name.strip_prefix("org.freedesktop.DBus.Error.") {
        // The agent does not run.
        Some("ServiceUnknown" | "NameHasNoOwner") => CKR_TOKEN_NOT_PRESENT,
        // What was there is there no more.
        Some("UnknownObject" | "UnknownInterface") => CKR_KEY_HANDLE_INVALID,
        Some("AccessDenied") => CKR_ACTION_PROHIBITED,
        // The agent left while it worked; an older agent.
        Some("NoReply") => CKR_DEVICE_ERROR,
        Some("UnknownMethod" | "UnknownProperty") => CKR_FUNCTION_NOT_SUPPORTED,
        _ => CKR_GENERAL_ERROR,
    }
}

fn of_agents_error(kind: &str) -> CK_RV {
    match kind {
        "NotFound" => CKR_KEY_HANDLE_INVALID,
        "NotAllowed" => CKR_ACTION_PROHIBITED,
        "InvalidArgument" => CKR_DATA_INVALID,
        "TooLarge" => CKR_DATA_LEN_RANGE,
        "Rejected" => CKR_ENCRYPTED_DATA_INVALID,
        "Cancelled" => CKR_FUNCTION_CANCELED,
        "Busy" | "Timeout" => CKR_FUNCTION_FAILED,
        "ChipAbsent" => CKR_DEVICE_REMOVED,
        "ChipLockedOut" => CKR_PIN_LOCKED,
        _ => CKR_DEVICE_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_value() {
        let of = |name: &str| Rv::from(Failure::Refused(name.to_owned())).0;
        assert_eq!(of("org.freedesktop.DBus.Error.ServiceUnknown"), CKR_TOKEN_NOT_PRESENT);
        assert_eq!(of("org.freedesktop.DBus.Error.UnknownObject"), CKR_KEY_HANDLE_INVALID);
        assert_eq!(of("org.twinseal.Error.ChipAbsent"), CKR_DEVICE_REMOVED);
        assert_eq!(of("org.twinseal.Error.Internal"), CKR_DEVICE_ERROR);
        assert_eq!(of("com.example.Strange"), CKR_GENERAL_ERROR);
        assert_eq!(Rv::from(Failure::NoBus).0, CKR_TOKEN_NOT_PRESENT);
        assert_eq!(Rv::from(Failure::Late).of_object().0, CKR_DEVICE_ERROR);
        assert_eq!(Rv(CKR_KEY_HANDLE_INVALID).of_object().0, CKR_OBJECT_HANDLE_INVALID);
    }
}
