//! A message of a trade, opened layer by layer for people to look at. It changes nothing, and
//! shows its owner no more than he has sealed or may open.

use twinseal_scheme::direction::Direction;
use twinseal_scheme::message::{Opened, open_up};
use twinseal_scheme::trade::Content;

use super::Engine;
use super::trades::nested_as;
use crate::{Caller, Error, Kind, TradeId};

impl Engine {
    pub(crate) async fn inspect(
        &self,
        caller: &Caller,
        id: TradeId,
        bytes: &[u8],
    ) -> Result<Opened, Error> {
        let epoch = self.epoch()?;
        let row = self.owned(caller, id).await?;
        let envelope = nested_as(&row.trade, bytes)?;
        let opened = match envelope.route.direction {
            Direction::Up => open_up(&epoch.bond, &epoch.keys, &envelope)?,
            Direction::Down => self.take_layers_off(&epoch, caller.uid.into(), &envelope).await?,
        };
        match Content::decode(&opened.content)?.trade == id {
            true => Ok(opened),
            false => {
                Err(Error::new(Kind::Rejected, "this message is of another trade")
                    .and("name that one"))
            }
        }
    }
}
