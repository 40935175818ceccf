//! Whether an administrator lets a caller do something: polkit's word, or no.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Flags;
use zbus::names::BusName;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::object::Request;
use crate::{Error, Kind};

/// The action of enrolling this device (`agent/dist/org.twinseal.policy`).
pub(super) const ENROL: &str = "org.twinseal.enrol";

/// The action of giving its token the PIN.
pub(super) const UNLOCK: &str = "org.twinseal.unlock";

/// The users about whom polkit is being asked: about each once at a time, so that nobody keeps it
/// from answering for others.
#[derive(Default)]
pub(super) struct Asking(Mutex<HashSet<u32>>);

/// A question under way.
struct Question<'a> {
    asking: &'a Asking,
    uid: u32,
}

impl Asking {
    fn begin(&self, uid: u32) -> Result<Question<'_>, Error> {
        match self.lock().insert(uid) {
            true => Ok(Question { asking: self, uid }),
            false => Err(Error::new(Kind::Busy, "an administrator is being asked already")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.asking.lock().remove(&self.uid);
    }
}

/// Asks polkit. The subject is the caller's connection, never a process.
///
/// # Errors
/// [`Kind::NotAllowed`] for everything but a clear yes to a caller who is still there: a no, no
/// polkit, a failing one, and a caller who has left. [`Kind::Busy`] while this user is asked about.
pub(super) async fn authorise(
    asking: &Asking,
    bus: &Connection,
    request: &Request,
    action: &str,
) -> Result<(), Error> {
    let _question = asking.begin(request.session.uid)?;
    let refused = match check(bus, request, action).await {
        Ok(Verdict::Yes) => return Ok(()),
        Ok(Verdict::No) => "an administrator has to allow this",
        Ok(Verdict::Gone) => "the caller has left",
        Err(error) => {
            tracing::warn!(%error, "polkit does not answer");
            "polkit does not answer, so nobody may do this"
        }
    };
    tracing::warn!(action, uid = request.session.uid, refused, "not authorised");
    Err(Error::new(Kind::NotAllowed, refused).and("ask the administrator of this machine"))
}

enum Verdict {
    Yes,
    No,
    Gone,
}

async fn check(bus: &Connection, request: &Request, action: &str) -> zbus::Result<Verdict> {
    let header = request.message.header();
    let subject = Subject::new_for_message_header(&header)
        .map_err(|error| zbus::Error::Failure(error.to_string()))?;
    // A password is asked for only when the caller said that somebody is there to type it.
    let flags = match header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH) {
        true => CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
        false => CheckAuthorizationFlags::empty(),
    };
    let polkit = AuthorityProxy::new(bus).await?;
    let result = polkit.check_authorization(&subject, action, &HashMap::new(), flags, "").await?;
    if !result.is_authorized {
        return Ok(Verdict::No);
    }
    // The bus is asked, because its signal about the caller may still be on its way.
    let caller = BusName::Unique(request.session.name.as_ref());
    match DBusProxy::new(bus).await?.name_has_owner(caller).await? {
        true => Ok(Verdict::Yes),
        false => Ok(Verdict::Gone),
    }
}
