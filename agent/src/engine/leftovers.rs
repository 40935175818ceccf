//! What a token may hold and nobody needs: keys of enrolments that are over, deleted keys of
//! applications, and whatever was being made when the agent was killed.
//!
//! An id is on record before anything is made under it, and goes off the record in the
//! transaction that keeps what was made. So what is on record when nobody makes anything is
//! nobody's, and is destroyed. A TPM needs none of this: its keys are blobs in the agent's state.

use tokio::sync::MutexGuard;
use twinseal_hardware::{TokenId, draw_token_ids};

use super::Engine;
use crate::Error;

/// Ids for what is about to be made. As long as this lives, nobody else makes anything.
pub(super) struct DrawnIds<'a, const N: usize> {
    pub(super) ids: [TokenId; N],
    _making: MutexGuard<'a, ()>,
}

impl Engine {
    /// Draws ids, and puts them on record.
    pub(super) async fn draw_ids<const N: usize>(&self) -> Result<DrawnIds<'_, N>, Error> {
        let _making = self.making.lock().await;
        let ids = draw_token_ids();
        self.store.run(move |tx| tx.put_leftovers(&ids)).await?;
        Ok(DrawnIds { ids, _making })
    }

    /// Takes out of the token what nobody needs. What cannot be done now is done when things are
    /// settled again.
    pub(super) async fn sweep(&self) {
        if !self.is_token() {
            return;
        }
        let Ok(_nobody_makes) = self.making.try_lock() else { return };
        if let Err(error) = self.sweep_now().await {
            tracing::warn!("keys that nobody needs stay in the token for now: {error}");
        }
    }

    async fn sweep_now(&self) -> Result<(), Error> {
        let ids = self.store.run(|tx| tx.leftovers()).await?;
        if ids.is_empty() {
            return Ok(());
        }
        self.chip().destroy_in_token(ids.clone()).await?;
        tracing::info!(ids = ids.len(), "the token holds nothing that nobody needs");
        self.store.run(move |tx| tx.forget_leftovers(&ids)).await
    }
}
