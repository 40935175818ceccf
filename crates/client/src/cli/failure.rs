//! What can go wrong, as a person and as a script see it.

use std::path::Path;

use serde_json::{Value, json};
use twinseal_client::ErrorKind;

/// A failure: its kind, its text that ends with what to do next, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    text: String,
    pub(crate) exit_code: u8,
}

impl Failure {
    /// Of one of the contract's kinds.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind: kind.name(), text: text.into(), exit_code: exit_code(kind) }
    }

    /// A file that cannot be read or written, or that holds something else.
    pub(crate) fn file(file: &Path, error: impl std::fmt::Display) -> Self {
        let text = format!("{}: {error}: check the file and its name", file.display());
        Self::new(ErrorKind::InvalidArgument, text)
    }

    /// As the agent names errors: a D-Bus name and a text.
    pub(crate) fn of_name(name: &str, text: &str) -> Self {
        match ErrorKind::from_dbus_name(name) {
            Some(kind) => Self::new(kind, text),
            None => Self::standard(name, text),
        }
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: ErrorKind) -> bool {
        self.kind == kind.name()
    }

    /// For people.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// For scripts.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": { "kind": self.kind, "message": self.text }, "exit_code": self.exit_code })
    }

    fn no_agent(what: &dyn std::fmt::Display) -> Self {
        let text = format!("no agent answers ({what}): start the service twinseal-agent");
        Self { kind: "NoAgent", text, exit_code: 3 }
    }

    /// One of the bus's own errors.
    fn standard(name: &str, text: &str) -> Self {
        match name.rsplit('.').next().unwrap_or_default() {
            "ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Disconnected" => {
                Self::no_agent(&text)
            }
            "AccessDenied" => Self::new(
                ErrorKind::NotAllowed,
                format!("the bus does not let you ({text}): ask the operator of this machine"),
            ),
            "UnknownObject" => Self::new(
                ErrorKind::NotFound,
                "there is no such object for you: list what there is",
            ),
            _ => Self::new(ErrorKind::Internal, format!("{name}: {text}: see the agent's log")),
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, text, _) => {
                Self::of_name(name, text.as_deref().unwrap_or_default())
            }
            // A property's error comes like this.
            zbus::Error::FDO(fdo) => Self::from_fdo(fdo),
            other => Self::no_agent(other),
        }
    }
}

impl Failure {
    fn from_fdo(error: &zbus::fdo::Error) -> Self {
        use zbus::DBusError as _;
        if let zbus::fdo::Error::ZBus(error) = error {
            return Self::from(error.clone());
        }
        Self::of_name(&error.name(), error.description().unwrap_or_default())
    }
}

fn exit_code(kind: ErrorKind) -> u8 {
    use ErrorKind::*;
    match kind {
        Internal => 1,
        InvalidArgument | TooLarge => 2,
        NotAllowed => 4,
        Incomplete => 5,
        NotFound => 6,
        NotEnrolled | AwaitingApproval | Suspended | Revoked => 7,
        ChipAbsent | ChipCleared | ChipReplaced | ChipRolledBack | ChipLockedOut
        | ChipUnauthorised => 8,
        Rejected | Stale => 9,
        Busy | Cancelled | Timeout => 10,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_contract_names_each_kind_with_its_exit_code() {
        let contract = include_str!("../../../../docs/dbus.md");
        for kind in ErrorKind::ALL {
            let row = format!("| `{kind}` |");
            let row = contract.lines().find(|line| line.starts_with(&row)).unwrap();
            assert!(row.ends_with(&format!("| {} |", exit_code(*kind))), "{row}");
        }
    }

    #[test]
    fn errors_of_the_bus_say_what_to_do() {
        for (name, exit_code) in [
            ("org.freedesktop.DBus.Error.ServiceUnknown", 3),
            ("org.freedesktop.DBus.Error.AccessDenied", 4),
            ("org.freedesktop.DBus.Error.UnknownObject", 6),
            ("org.twinseal.Error.Rejected", 9),
            ("org.example.Other", 1),
        ] {
            assert_eq!(Failure::of_name(name, "text: do this").exit_code, exit_code, "{name}");
        }
    }
}
