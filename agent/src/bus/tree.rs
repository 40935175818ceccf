//! Which objects a caller sees: the agent, and below `u<uid>/` his own trades and jobs, and the keys
//! that he may use.

use std::sync::Arc;

use twinseal_client::ROOT_PATH;
use zbus::{Connection, OwnedObjectPath};

use super::interface::Pending;
use super::object::{Object, Objects, Request};
use super::session::Session;
use super::{courier, job, key, polkit, root, trade};
use crate::{Agent, ApplicationKeyId, Error, JobId, Kind, TradeId};

/// The agent's objects.
pub(super) struct Tree {
    pub(super) agent: Agent,
    /// For questions to polkit.
    pub(super) bus: Connection,
    pub(super) asking: Arc<polkit::Asking>,
}

impl Objects for Tree {
    fn find<'a>(&'a self, request: &'a Request, path: &'a str) -> Pending<'a, Option<Object>> {
        Box::pin(async move {
            let agent = self.agent.clone();
            let caller = request.session.caller();
            match Place::parse(path, caller.uid)? {
                Place::Root => {
                    let view = root::View {
                        agent,
                        caller,
                        request: request.clone(),
                        bus: self.bus.clone(),
                        asking: Arc::clone(&self.asking),
                    };
                    let view = Arc::new(view);
                    let object = Object::default().with(&*root::INTERFACE, Arc::clone(&view));
                    Some(object.with(&*courier::INTERFACE, view))
                }
                Place::Trade(id) => {
                    let trade = agent.trade(&caller, id).await.ok()?;
                    let view = trade::View { agent, caller, trade };
                    Some(Object::default().with(&*trade::INTERFACE, Arc::new(view)))
                }
                Place::Key(id) => {
                    let key = agent.key(&caller, id).await.ok()?;
                    let view = key::View { agent, caller, key };
                    Some(Object::default().with(&*key::INTERFACE, Arc::new(view)))
                }
                Place::Job(id) => {
                    let job = agent.job(&caller, id).ok()?;
                    let view = job::View { agent, caller, job };
                    Some(Object::default().with(&*job::INTERFACE, Arc::new(view)))
                }
            }
        })
    }

    fn paths<'a>(&'a self, session: &'a Session) -> Pending<'a, Vec<String>> {
        Box::pin(async move {
            let caller = session.caller();
            let held = self.agent.holdings(&caller).await.unwrap_or_default();
            let jobs = self.agent.jobs(&caller);
            let trades = held.trades.iter().map(|trade| trade_path(caller.uid, *trade));
            let keys = held.keys.iter().map(|key| key_path(caller.uid, *key));
            let jobs = jobs.iter().map(|job| job_path(caller.uid, job.id));
            [ROOT_PATH.to_owned()].into_iter().chain(trades).chain(keys).chain(jobs).collect()
        })
    }

    fn left(&self, session: &Session) {
        self.agent.caller_gone(&session.name);
    }
}

/// The path of a trade of user `uid`.
pub(super) fn trade_path(uid: u32, trade: TradeId) -> String {
    format!("{ROOT_PATH}/u{uid}/trade/{trade}")
}

/// The path of a key as user `uid` sees it.
pub(super) fn key_path(uid: u32, key: ApplicationKeyId) -> String {
    format!("{ROOT_PATH}/u{uid}/key/{key}")
}

/// The path of a job of user `uid`.
pub(super) fn job_path(uid: u32, job: JobId) -> String {
    format!("{ROOT_PATH}/u{uid}/job/{job}")
}

/// A path of ours as a value for the bus.
pub(super) fn object_path(path: String) -> Result<OwnedObjectPath, Error> {
    path.try_into().map_err(|_| Kind::Internal.into())
}

/// A path, read.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Root,
    Trade(TradeId),
    Key(ApplicationKeyId),
    Job(JobId),
}

impl Place {
    /// `None` for what is nobody's path, and for what is another user's. Only the one spelling
    /// of a path that [`trade_path`], [`key_path`] and [`job_path`] give is read.
    fn parse(path: &str, uid: u32) -> Option<Self> {
        let below = path.strip_prefix(ROOT_PATH)?;
        if below.is_empty() {
            return Some(Self::Root);
        }
        let own = below.strip_prefix(&format!("/u{uid}/"))?;
        match own.split_once('/')? {
            ("trade", id) => {
                id.parse().ok().filter(|id| trade_path(uid, *id) == path).map(Self::Trade)
            }
            ("key", id) => id.parse().ok().filter(|id| key_path(uid, *id) == path).map(Self::Key),
            ("job", id) => id.parse().ok().filter(|id| job_path(uid, *id) == path).map(Self::Job),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_owners_alone_and_has_one_spelling() {
        let id = TradeId([0xab; 16]);
        let key = ApplicationKeyId([0xcd; 16]);
        assert_eq!(Place::parse("/org/twinseal/Agent1", 7), Some(Place::Root));
        assert_eq!(Place::parse(&trade_path(7, id), 7), Some(Place::Trade(id)));
        assert_eq!(Place::parse(&job_path(7, 12), 7), Some(Place::Job(12)));
        assert_eq!(Place::parse(&key_path(7, key), 7), Some(Place::Key(key)));
        for other in [
            trade_path(8, id),
            trade_path(77, id),
            job_path(0, 12),
            key_path(8, key),
            key_path(7, key).replace("cd", "CD"),
            trade_path(7, id).to_uppercase(),
            trade_path(7, id).replace("ab", "AB"),
            job_path(7, 12).replace("/12", "/012"),
            format!("{}/x", job_path(7, 12)),
            "/org/twinseal/Agent1/u7".to_owned(),
            "/org/twinseal/Agent1/u7/trade".to_owned(),
            "/org/twinseal/Agent1/u07/job/12".to_owned(),
            "/org/twinseal/Agent10".to_owned(),
            "/".to_owned(),
        ] {
            assert_eq!(Place::parse(&other, 7), None, "{other}");
        }
    }
}
