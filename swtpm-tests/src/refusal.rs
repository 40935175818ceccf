//! What a call on the bus is refused with.

/// An error that a call met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its D-Bus name, such as `org.twinseal.Error.NotAllowed`.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Refusal {
    /// From what `gdbus` prints: `Error: GDBus.Error:NAME: TEXT`.
    pub(crate) fn read(stderr: &[u8]) -> Self {
        let said = String::from_utf8_lossy(stderr).trim().to_owned();
        let parts = said.split_once("GDBus.Error:").and_then(|(_, rest)| rest.split_once(": "));
        match parts {
            Some((name, text)) => Self { name: name.to_owned(), text: text.to_owned() },
            None => Self { name: String::new(), text: said },
        }
    }
}
