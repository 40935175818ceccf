//! What a call is answered with when it is not done.

use zbus::Message;

use crate::{Error, Kind};

/// A D-Bus error: its name, and a text for a person that ends with what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    name: String,
    text: String,
}

impl Refusal {
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
        let detail = format!("the arguments do not fit ({error})");
        Error::new(Kind::InvalidArgument, detail).and("see Introspect").into()
    }

    /// Something that must not happen. The caller learns nothing more, the log does.
    pub(super) fn internal(error: impl std::error::Error) -> Self {
        tracing::error!(%error, "no reply could be made");
        Error::from(Kind::Internal).into()
    }

    /// The D-Bus name, and the text.
    pub(super) fn into_parts(self) -> (String, String) {
        (self.name, self.text)
    }

    pub(super) fn reply_to(&self, call: &Message) -> zbus::Result<Message> {
        Message::error(&call.header(), self.name.as_str()).build(&(self.text.as_str(),))
    }

    fn standard(name: &str, text: String) -> Self {
        Self { name: format!("org.freedesktop.DBus.Error.{name}"), text }
    }
}

/// The one mapping of the agent's errors to names on the bus.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { name: format!("org.twinseal.Error.{}", error.kind.name()), text: error.to_string() }
    }
}
