//! What can be asked of a token alone.

use twinseal_scheme::enrol::TokenIdentity;

use crate::application::{KeyAlgorithm, Uses};
use crate::chip::Chip;
use crate::error::Error;
use crate::hardware::Lane;
use crate::token::TokenApplicationKey;
use crate::token::ask;
use crate::token::keys::{TokenId, TokenKeys};

/// As those for a TPM; instead of [`Error::Absent`] and [`Error::Failed`] it is [`Error::Token`].
impl Lane {
    /// What the token says of itself.
    ///
    /// # Errors
    /// [`Error::Misuse`] of a TPM.
    pub async fn token_identity(&self) -> Result<TokenIdentity, Error> {
        let asked = self.ask_chip(|chip| chip.token()?.run(|p| p.ask(ask::Identity))).await;
        let (manufacturer, model, number) = asked?;
        Ok(TokenIdentity { manufacturer, model, number })
    }

    /// Makes the keys of a new enrolment: in the token, not to be taken out, each for one thing.
    /// `ids` are drawn for them. They stay there until [`Lane::destroy_in_token`]; what fails leaves
    /// nothing there, unless the token's module or this process ends before.
    ///
    /// # Errors
    /// [`Error::Misuse`] of a TPM.
    pub async fn create_token_keys(&self, ids: [TokenId; 3]) -> Result<TokenKeys, Error> {
        // Making is not to be done twice: the connection is brought up by looking first.
        let make = move |chip: &mut Chip| {
            let token = chip.token()?;
            token.run(|p| p.ask(ask::Lockout))?;
            token.attempt(|p| p.create_keys(ids))
        };
        self.making_keys().ask_chip(make).await
    }

    /// Makes an application's key in a token, under an id that is drawn for it, as
    /// [`Lane::create_token_keys`] does.
    ///
    /// # Errors
    /// [`Error::Misuse`] of a TPM.
    pub async fn create_key_in_token(
        &self,
        id: TokenId,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<TokenApplicationKey, Error> {
        uses.check(algorithm)?;
        let make = move |chip: &mut Chip| {
            let token = chip.token()?;
            token.run(|p| p.ask(ask::Lockout))?;
            token.attempt(|p| p.ask(ask::CreateApplicationKey { id, algorithm, uses }))
        };
        self.making_keys().ask_chip(make).await
    }

    /// Takes whatever has one of these ids out of the token; does nothing where there is nothing.
    ///
    /// # Errors
    /// [`Error::Misuse`] of a TPM.
    pub async fn destroy_in_token(&self, ids: Vec<TokenId>) -> Result<(), Error> {
        let destroy =
            move |chip: &mut Chip| chip.token()?.run(|p| p.ask(ask::Destroy(ids.clone())));
        self.ask_chip(destroy).await
    }
}
