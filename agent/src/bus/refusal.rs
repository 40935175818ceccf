//! What a call is answered with when it is not done.

use twinseal_client::ErrorKind;
use zbus::Message;

/// A D-Bus error: its name, and a text for a person that ends with what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    name: String,
    text: String,
}

impl Refusal {
    /// One of the contract's own errors.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            name: kind.dbus_name(),
            text: text.into(),
        }
    }

    pub(super) fn unknown_object() -> Self {
        Self::standard("UnknownObject", "there is no such object: see Introspect".to_owned())
    }

    pub(super) fn unknown_interface(name: &str) -> Self {
        Self::standard("UnknownInterface", format!("no interface {name} here: see Introspect"))
    }

    pub(super) fn unknown_method(name: &str) -> Self {
        Self::standard("UnknownMethod", format!("no method {name} here: see Introspect"))
    }

    pub(super) fn unknown_property(name: &str) -> Self {
        Self::standard("UnknownProperty", format!("no property {name} here: see Introspect"))
    }

    pub(super) fn read_only(name: &str) -> Self {
        Self::standard("PropertyReadOnly", format!("property {name} can only be read"))
    }

    /// The arguments have other types than the method's, or an option is not known.
    pub(super) fn bad_arguments(error: zbus::Error) -> Self {
        Self::new(
            ErrorKind::InvalidArgument,
            format!("the arguments do not fit ({error}): see Introspect"),
        )
    }

    /// Something that must not happen. The caller learns nothing more, the log does.
    pub(super) fn internal(error: impl std::error::Error) -> Self {
        tracing::error!(%error, "no reply could be made");
        Self::new(ErrorKind::Internal, "the agent failed: see its log")
    }

    pub(super) fn reply_to(&self, call: &Message) -> zbus::Result<Message> {
        Message::error(&call.header(), self.name.as_str()).build(&(self.text.as_str(),))
    }

    fn standard(name: &str, text: String) -> Self {
        Self {
            name: format!("org.freedesktop.DBus.Error.{name}"),
            text,
        }
    }
}
