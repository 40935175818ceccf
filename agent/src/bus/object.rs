//! The objects that one caller sees.
//!
//! Objects are not registered anywhere. For every call they are looked up anew, in the name of
//! the caller: what is not his does not exist, in no answer of any interface.

use std::sync::Arc;

use zbus::Message;

use super::interface::{Interface, Member, Pending};
use super::refusal::Refusal;
use super::session::Session;

/// Where the objects come from.
pub trait Objects: Send + Sync + 'static {
    /// The object at `path`, if there is one for this caller.
    fn find<'a>(&'a self, request: &'a Request, path: &'a str) -> Pending<'a, Option<Object>>;

    /// The paths of all objects of this caller.
    fn paths<'a>(&'a self, session: &'a Session) -> Pending<'a, Vec<String>>;

    /// A connection that has called before has left the bus.
    fn left(&self, session: &Session);
}

/// A call, and who makes it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who.
    pub session: Session,
    /// The call as it came.
    pub message: Message,
}

/// One object as one caller sees it: its interfaces.
#[derive(Default)]
pub struct Object(Vec<Box<dyn Member>>);

impl Object {
    /// Adds an interface, whose methods will be called on `view`.
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(
        mut self,
        interface: &'static Interface<T>,
        view: Arc<T>,
    ) -> Self {
        self.0.push(Box::new((interface, view)));
        self
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &dyn Member> {
        self.0.iter().map(AsRef::as_ref)
    }

    pub(super) fn member(&self, interface: &str) -> Result<&dyn Member, Refusal> {
        let found = self.members().find(|member| member.name() == interface);
        found.ok_or_else(|| Refusal::unknown_interface(interface))
    }
}
