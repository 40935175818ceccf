//! What callers see of what is stored, kept in memory as long as nothing stored has changed, so
//! that who looks around waits for no disk.

use std::collections::HashMap;
use std::sync::Arc;

use twinseal_scheme::id::{ApplicationKeyId, TradeId};

use super::{Engine, lock};
use crate::{Caller, Error};

/// What there is for one caller.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The trades that are his.
    pub trades: Vec<TradeId>,
    /// The keys that he may use.
    pub keys: Vec<ApplicationKeyId>,
}

/// A caller, as far as it decides what he sees: his user and his groups.
type Viewer = (u32, Vec<u32>);

/// Of callers who have asked, with the number of changes of before it was read.
#[derive(Default)]
pub(super) struct KnownHoldings(HashMap<Viewer, (u64, Arc<Holdings>)>);

const KNOWN_MAX: usize = 64;

impl KnownHoldings {
    fn look_up(&self, viewer: &Viewer, changes: u64) -> Option<Arc<Holdings>> {
        let (read_at, known) = self.0.get(viewer)?;
        (*read_at == changes).then(|| Arc::clone(known))
    }

    fn remember(&mut self, viewer: Viewer, changes: u64, holdings: &Arc<Holdings>) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(viewer, (changes, Arc::clone(holdings)));
    }
}

impl Engine {
    pub(crate) async fn holdings(&self, caller: &Caller) -> Result<Arc<Holdings>, Error> {
        let viewer = (caller.uid, caller.gids.clone());
        let changes = self.store.changes();
        if let Some(known) = lock(&self.known_holdings).look_up(&viewer, changes) {
            return Ok(known);
        }
        let caller = caller.clone();
        let read = self.store.run(move |tx| {
            Ok(Holdings { trades: tx.trade_ids(caller.uid)?, keys: tx.key_ids(&caller)? })
        });
        let read = Arc::new(read.await?);
        lock(&self.known_holdings).remember(viewer, changes, &read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_the_viewers_own_and_of_no_other_time() {
        let (alice, bob) = ((2001, vec![2001, 1503]), (2001, vec![2001]));
        let held = Arc::new(Holdings { trades: vec![TradeId([1; 16])], keys: vec![] });
        let mut known = KnownHoldings::default();
        known.remember(alice.clone(), 7, &held);
        assert_eq!(known.look_up(&alice, 7), Some(held));
        assert_eq!(known.look_up(&alice, 8), None);
        assert_eq!(known.look_up(&bob, 7), None, "in a group less");
    }
}
