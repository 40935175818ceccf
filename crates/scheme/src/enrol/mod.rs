//! Enrolment: how a device and a server come to a [`crate::bond::Bond`] (docs/scheme.md section 3;
//! claims 1, 2 and 19, steps 611 to 613 of the patent).
//!
//! ```text
//! Q   device → server   a nonce: a device has no clock to trust
//! M0  server → device   challenge, with the server_keys statement
//! M1  device → server   claim: keys, serial, user information, sealed to the server
//! M2  server → device   a credential that only the claimed chip can activate, or open
//! M3  device → server   proof that it did
//! M4  server → device   offer: a point for the serial key, a device id
//! M5  device → server   confirmation, by the new signing key
//! G   server → device   grant
//! ```
//!
//! Each file holds one message, its making and its checking. Every message is bound to all
//! before it by hashes, so that a transcript can only be continued by who was in it.

mod activation;
mod challenge;
mod claim;
mod claimed_keys;
mod grant;
mod hardware;
pub mod judge;
mod offer;
mod token;
mod user_info;

pub(crate) use claim::CODE_MAX;

pub use activation::{Activation, ActivationProof};
pub use challenge::{AcceptedChallenge, Challenge, Request};
pub use claim::{Claim, ClaimOpening, ReEnrolment, re_enrolment_proof, verify_re_enrolment_proof};
pub use claimed_keys::{ClaimedKey, ClaimedKeys, certify_extra_data};
pub use grant::{Grant, GrantKey, Standing};
pub use hardware::{ClaimedHardware, ClaimedTpm, VerifiedHardware};
pub use judge::DeviceState;
pub use offer::{Confirmation, ConfirmationKey, Offer, OfferSecrets};
pub use token::{ClaimedToken, CredentialContext, CredentialOpening, TokenIdentity, TokenKeys};
pub use user_info::UserInfo;

/// Version of the enrolment messages.
const VERSION: u8 = 1;
/// The longest enrolment message, bytes: a claim with a chain of certificates.
pub const ENROL_MAX: usize = 64 * 1024;
