//! Trades that the server opens, and who listens for them.

use std::collections::HashMap;

use twinseal_scheme::direction::Direction;
use twinseal_scheme::trade::{Service, Stage};

use super::{Engine, lock};
use crate::store::TradeRow;
use crate::{Caller, Error, Event, Kind};

/// Who listens for which service: one connection each.
#[derive(Default)]
pub(super) struct Listeners(HashMap<Service, Listener>);

/// Somebody who listens.
#[derive(Clone)]
pub(super) struct Listener {
    pub uid: u32,
    pub connection: String,
}

impl Listeners {
    pub(super) fn of(&self, service: &Service) -> Option<Listener> {
        self.0.get(service).cloned()
    }

    /// A user may move to another of his connections; he may not take another user's place.
    fn add(&mut self, service: &Service, caller: &Caller) -> Result<(), Error> {
        if self.0.get(service).is_some_and(|listener| listener.uid != caller.uid) {
            return Err(Error::new(Kind::Busy, "another user listens for this service")
                .and("wait until he stops"));
        }
        let listener = Listener { uid: caller.uid, connection: caller.connection.clone() };
        self.0.insert(service.clone(), listener);
        Ok(())
    }

    fn gone(&mut self, connection: &str) {
        self.0.retain(|_, listener| listener.connection != connection);
    }
}

impl Engine {
    pub(crate) async fn listen(&self, caller: &Caller, service: &str) -> Result<(), Error> {
        let service = Service::new(service)?;
        self.access.service(caller, &service)?;
        lock(&self.listeners).add(&service, caller)?;
        let lane = self.lane.lock().await;
        let uid = caller.uid;
        let rows = self.store.run(move |tx| {
            let mut rows = tx.trades_for_listener(&service, uid)?;
            for row in &mut rows {
                row.owner = Some(uid);
                tx.put_trade(row, 0)?;
            }
            Ok(rows)
        });
        let rows = rows.await?;
        drop(lane);
        let is_offered = |row: &&TradeRow| {
            row.trade.opener() == Direction::Down && row.trade.stage() != Stage::Offered
        };
        rows.iter().filter(is_offered).for_each(|row| self.offer(row));
        Ok(())
    }

    /// Tells the listener of a trade that the server has opened for its service.
    pub(super) fn offer(&self, row: &TradeRow) {
        let trade = &row.trade;
        let listener = lock(&self.listeners).of(trade.service());
        if let Some(Listener { uid, connection }) = listener
            && row.owner == Some(uid)
        {
            let service = trade.service().as_str().to_owned();
            self.tell(Event::TradeOffered { connection, uid, trade: trade.id(), service });
        }
    }

    pub(crate) fn caller_gone(&self, connection: &str) {
        lock(&self.listeners).gone(connection);
        self.carrier_gone(connection);
    }
}
